//! All tokens that are let in here.

use super::AdminFile;
use crate::{audit::Audit, config::TokenMode, tls::TlsState};
use oribi_access::{
    ADMIN_FILE, ANONYMOUS, Access, Certificate, Denied, Digest, Doorkeeper, LastDenied, Passport,
    Presented, Rights, ShownCertificate, Token, Usage,
};
use oribi_cluster::{Catalog, Node};
use oribi_model::Clock;
use parking_lot::Mutex;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;

/// By which way somebody asked.
const VIAS: [&str; 2] = ["http", "mqtt"];
/// Why somebody was not let in.
const REASONS: [&str; 5] = ["missing", "malformed", "cut", "unknown", "expired"];
/// After so long others are asked again for tokens that are not known here.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);
/// One line of the log a token in this time.
const LOG_PAUSE_NS: i64 = 60_000_000_000;

/// Who was not let in, by way and reason.
#[derive(Debug, Default)]
pub(crate) struct Failures([[AtomicU64; REASONS.len()]; VIAS.len()]);

impl Failures {
    /// Counts one.
    pub(crate) fn count(&self, via: &str, denied: Denied) {
        let at = |names: &[&str], name: &str| names.iter().position(|one| *one == name);
        if let (Some(via), Some(reason)) = (at(&VIAS, via), at(&REASONS, denied.as_str())) {
            self.0[via][reason].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of them: way, reason, count.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let of = |(via, counts): (&'static str, &[AtomicU64; REASONS.len()])| {
            let counts: Vec<u64> = counts.iter().map(|one| one.load(Ordering::Relaxed)).collect();
            REASONS.into_iter().zip(counts).map(move |(reason, count)| (via, reason, count))
        };
        VIAS.into_iter().zip(&self.0).flat_map(of).collect::<Vec<_>>().into_iter()
    }
}

/// The tokens of the catalog and of the node's file.
pub(crate) struct Keyring {
    mode: TokenMode,
    node: Arc<Node>,
    clock: Arc<dyn Clock>,
    file: AdminFile,
    audit: Arc<Audit>,
    /// Which certificates are revoked.
    tls: Option<Arc<TlsState>>,
    /// The token that the file stands for.
    admin: Arc<Token>,
    usages: Mutex<HashMap<u64, Arc<Usage>>>,
    refreshed: tokio::sync::Mutex<Option<Instant>>,
    /// The next moment at which a token ends by itself, ns since the Unix epoch.
    next_end_ns: AtomicI64,
    ended: AtomicU64,
    failures: Failures,
    /// Publishes that were denied.
    denied_publishes: AtomicU64,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("mode", &self.mode).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The tokens of `node` and of `file`.
    pub(crate) fn new(
        mode: TokenMode,
        node: Arc<Node>,
        clock: Arc<dyn Clock>,
        file: AdminFile,
        audit: Arc<Audit>,
        tls: Option<Arc<TlsState>>,
    ) -> Keyring {
        let name = format!("{ADMIN_FILE}@{}", node.identity().node.0);
        let admin = Token {
            id: 0,
            version: 0,
            name: name.clone(),
            digest: None,
            previous: None,
            rights: Rights::everything(),
            expires_ns: None,
            created_ns: 0,
            created_by: name,
            note: String::new(),
        };
        Keyring {
            mode,
            node,
            clock,
            file,
            audit,
            tls,
            admin: Arc::new(admin),
            usages: Mutex::default(),
            refreshed: tokio::sync::Mutex::default(),
            next_end_ns: AtomicI64::new(i64::MAX),
            ended: AtomicU64::new(0),
            failures: Failures::default(),
            denied_publishes: AtomicU64::new(0),
        }
    }

    /// Whether tokens are asked for.
    pub(crate) fn mode(&self) -> TokenMode {
        self.mode
    }

    /// Now, ns since the Unix epoch.
    pub(crate) fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }

    /// Who was not let in.
    pub(crate) fn failures(&self) -> &Failures {
        &self.failures
    }

    /// Publishes that were denied so far.
    pub(crate) fn denied_publishes(&self) -> u64 {
        self.denied_publishes.load(Ordering::Relaxed)
    }

    /// What is counted of a token here.
    pub(crate) fn usage(&self, id: u64) -> Arc<Usage> {
        self.usages.lock().entry(id).or_default().clone()
    }

    /// Watches the file, and for tokens that end, until `stop`.
    pub(crate) async fn watch(self: Arc<Self>, stop: CancellationToken) {
        const PAUSE: Duration = Duration::from_millis(250);
        let mut epoch = None;
        loop {
            self.file.look();
            let now_ns = self.clock.now_ns();
            let is_over = self.next_end_ns.load(Ordering::Relaxed) <= now_ns;
            if is_over || epoch != Some(self.node.catalog().token_epoch()) {
                let catalog = self.node.catalog();
                let ends = catalog.tokens().filter_map(|token| token.next_end_ns(now_ns));
                self.next_end_ns.store(ends.min().unwrap_or(i64::MAX), Ordering::Relaxed);
                self.ended.fetch_add(u64::from(is_over), Ordering::AcqRel);
                epoch = Some(catalog.token_epoch());
                self.forget_gone(&catalog);
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn find(&self, digest: &Digest) -> Result<Arc<Token>, Denied> {
        if self.file.holds(digest) {
            return Ok(self.admin.clone());
        }
        let (catalog, now_ns) = (self.node.catalog(), self.clock.now_ns());
        let token = catalog.token_of(digest).ok_or(Denied::Unknown)?;
        match token.is_shown_by(digest, now_ns) {
            _ if token.has_expired(now_ns) => Err(Denied::Expired),
            true => Ok(token.clone()),
            false => Err(Denied::Unknown),
        }
    }

    /// The token of who shows none.
    fn anonymous(&self) -> Result<Arc<Token>, Denied> {
        let (catalog, now_ns) = (self.node.catalog(), self.clock.now_ns());
        let token = catalog.token(ANONYMOUS).filter(|token| !token.has_expired(now_ns));
        token.cloned().ok_or(Denied::Missing)
    }

    /// Forgets what was counted of tokens that are gone.
    fn forget_gone(&self, catalog: &Catalog) {
        let ids: HashSet<u64> = catalog.tokens().map(|token| token.id).collect();
        self.usages.lock().retain(|id, _| *id == self.admin.id || ids.contains(id));
    }

    /// The token that stands for a certificate.
    fn of_certificate(&self, certificate: &Certificate) -> Result<Arc<Token>, Denied> {
        if self.tls.as_ref().is_some_and(|tls| tls.revokes(certificate)) {
            return Err(Denied::Unknown);
        }
        let (catalog, now_ns) = (self.node.catalog(), self.clock.now_ns());
        let token = catalog.token_of_certificate(&certificate.identity).ok_or(Denied::Unknown)?;
        if token.has_expired(now_ns) { Err(Denied::Expired) } else { Ok(token.clone()) }
    }

    /// A certificate as it is shown with a token, or for one.
    fn beside(&self, token: &Token, certificate: &Arc<Certificate>) -> ShownCertificate {
        let is_revoked = self.tls.as_ref().is_some_and(|tls| tls.revokes(certificate));
        let identity = &certificate.identity;
        let is_of_token = match &token.rights.certificate {
            Some(pattern) => pattern.fits(identity),
            // It only has to be that of nobody else.
            None => self.node.catalog().token_of_certificate(identity).is_none(),
        };
        let is_of_token = is_of_token && !is_revoked;
        ShownCertificate { certificate: certificate.clone(), is_of_token }
    }

    fn pass(
        &self,
        token: Arc<Token>,
        shown: Option<Digest>,
        certificate: Option<&Arc<Certificate>>,
    ) -> Access {
        let usage = self.usage(token.id);
        usage.used(self.clock.now_ns());
        let certificate = certificate.map(|certificate| self.beside(&token, certificate));
        Access::Of(Arc::new(Passport { token, shown, certificate, usage }))
    }
}

impl Doorkeeper for Keyring {
    fn admit(&self, shown: Presented<'_>) -> Result<Access, Denied> {
        if self.mode == TokenMode::Off {
            return Ok(Access::Open);
        }
        let (text, certificate) = match shown {
            Presented::Nothing => return Ok(self.pass(self.anonymous()?, None, None)),
            Presented::Certificate(certificate) => {
                return Ok(self.pass(self.of_certificate(certificate)?, None, Some(certificate)));
            }
            Presented::Secret(text) => (text, None),
            Presented::Both(certificate, text) => (text, Some(certificate)),
        };
        let digest = Digest::of_shown(text)?;
        Ok(self.pass(self.find(&digest)?, Some(digest), certificate))
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async {
            let mut refreshed = self.refreshed.lock().await;
            if refreshed.is_some_and(|at| at.elapsed() < REFRESH_PAUSE) {
                return true;
            }
            let is_current = self.node.catalog_now().await.is_ok();
            *refreshed = is_current.then(Instant::now);
            is_current
        })
    }

    fn still(&self, access: &Access) -> bool {
        let Access::Of(passport) = access else { return self.mode == TokenMode::Off };
        let Passport { token, shown, certificate, .. } = &**passport;
        let now = match (shown, certificate) {
            (Some(digest), _) => self.find(digest),
            (None, Some(shown)) => self.of_certificate(&shown.certificate),
            (None, None) => self.anonymous(),
        };
        let is_same = now.is_ok_and(|now| now.id == token.id && now.rights == token.rights);
        let beside = |shown: &ShownCertificate| self.beside(token, &shown.certificate) == *shown;
        is_same && certificate.as_ref().is_none_or(beside)
    }

    fn epoch(&self) -> u64 {
        let others = self.ended.load(Ordering::Acquire).wrapping_add(self.file.generation());
        let others = others.wrapping_add(self.tls.as_ref().map_or(0, |tls| tls.generation()));
        self.node.catalog().token_epoch().wrapping_add(others)
    }

    fn turned_away(&self, via: &'static str, from: Option<IpAddr>, denied: Denied) {
        self.failures.count(via, denied);
        self.audit.turned_away(via, from, denied.as_str());
    }

    fn kept_out(&self, access: &Access, client_id: &str) {
        self.note(access, "CONNECT", client_id);
    }

    fn refused(&self, access: &Access, what: &str, client_id: &str) {
        if !client_id.is_empty() {
            self.denied_publishes.fetch_add(1, Ordering::Relaxed);
        }
        self.note(access, what, client_id);
    }
}

impl Keyring {
    fn note(&self, access: &Access, what: &str, client_id: &str) {
        let Access::Of(passport) = access else { return };
        let time_ns = self.clock.now_ns();
        let (what, client_id) = (what.to_owned(), client_id.to_owned());
        let denied = LastDenied { time_ns, what: what.clone(), client_id };
        if passport.usage.refused(denied, LOG_PAUSE_NS) {
            tracing::warn!(token = passport.token.name, what, "a token was not enough");
        }
    }
}
