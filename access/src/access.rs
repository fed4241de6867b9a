//! Who asks, once that is known, and who is not let in.

use crate::{BadSecret, Digest, May, Presented, ShownCertificate, Token, TopicRules};
use std::{
    fmt,
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

/// Who asks.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anybody: tokens are off.
    Open,
    /// Who shows a token.
    Of(Arc<Passport>),
}

/// A token that was shown.
#[derive(Debug)]
pub struct Passport {
    /// The token as it was then.
    pub token: Arc<Token>,
    /// By which secret; `None`: by none.
    pub shown: Option<Digest>,
    /// The certificate that its client showed as well, or instead.
    pub certificate: Option<ShownCertificate>,
    /// What is counted of the token.
    pub usage: Arc<Usage>,
}

/// What is counted of a token on this node. Times are ns since the Unix epoch, 0 for never.
#[derive(Debug, Default)]
pub struct Usage {
    /// When it was shown last.
    pub last_used_ns: AtomicI64,
    /// How often it was shown.
    pub uses: AtomicU64,
    /// How often it was not enough.
    pub denied: AtomicU64,
    last_denied: Mutex<Option<LastDenied>>,
    told_ns: AtomicI64,
}

/// What a token was not enough for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastDenied {
    /// When, ns since the Unix epoch.
    pub time_ns: i64,
    /// The topic, the table or the right.
    pub what: String,
    /// The MQTT client; empty where it came otherwise.
    pub client_id: String,
}

impl Usage {
    /// Notes that the token was shown.
    pub fn used(&self, now_ns: i64) {
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.last_used_ns.store(now_ns, Ordering::Relaxed);
    }

    /// Notes that it was not enough; whether that is to be said, which it is once in `pause_ns`.
    pub fn refused(&self, denied: LastDenied, pause_ns: i64) -> bool {
        self.denied.fetch_add(1, Ordering::Relaxed);
        let (now_ns, told_ns) = (denied.time_ns, self.told_ns.load(Ordering::Relaxed));
        *self.last_denied.lock().unwrap_or_else(PoisonError::into_inner) = Some(denied);
        let is_due = told_ns == 0 || now_ns.saturating_sub(told_ns) >= pause_ns;
        if is_due {
            self.told_ns.store(now_ns, Ordering::Relaxed);
        }
        is_due
    }

    /// What it was not enough for last.
    pub fn last_denied(&self) -> Option<LastDenied> {
        self.last_denied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a request would have needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// `read`, `write`, `admin`, `ops` or `all`.
    pub may: &'static str,
    /// The database as asked.
    pub db: Option<String>,
    /// The table as asked.
    pub table: Option<String>,
}

impl Needs {
    /// A right on a table.
    pub fn table(may: May, db: &str, table: &str) -> Needs {
        Needs { may: may.as_str(), db: Some(db.into()), table: Some(table.into()) }
    }

    /// A right on a database as a whole.
    pub fn database(may: May, db: &str) -> Needs {
        Needs::table(may, db, "*")
    }

    /// `ops` or `all`.
    pub fn plain(may: &'static str) -> Needs {
        Needs { may, db: None, table: None }
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the token may not do this: {}", self.may)?;
        match (&self.db, &self.table) {
            (Some(db), Some(table)) => {
                write!(f, " on table {table:?} of database {db:?} is needed")
            }
            _ => f.write_str(" is needed"),
        }
    }
}

impl Access {
    /// The name of the token; `None` where anybody may ask.
    pub fn name(&self) -> Option<&str> {
        self.token().map(|token| token.name.as_str())
    }

    /// The token.
    pub fn token(&self) -> Option<&Arc<Token>> {
        match self {
            Access::Open => None,
            Access::Of(passport) => Some(&passport.token),
        }
    }

    /// Whether nothing is refused.
    pub fn is_unlimited(&self) -> bool {
        self.token().is_none_or(|token| token.rights.all)
    }

    /// Whether this may be done with a table.
    pub fn may(&self, asked: May, db: &str, table: &str) -> bool {
        self.token().is_none_or(|token| token.rights.may(asked, db, table))
    }

    /// Whether the database stands in lists.
    pub fn reaches(&self, db: &str) -> bool {
        self.token().is_none_or(|token| token.rights.reaches(db))
    }

    /// Whether rows may be stored anywhere in a database; in any where it is `None`.
    pub fn may_write_in(&self, db: Option<&str>) -> bool {
        self.token().is_none_or(|token| token.rights.may_write_in(db))
    }

    /// Lets through who may do this with a table. Whether there is one does not matter.
    ///
    /// # Errors
    /// What is needed.
    pub fn check(&self, asked: May, db: &str, table: &str) -> Result<(), Needs> {
        self.may(asked, db, table).then_some(()).ok_or_else(|| Needs::table(asked, db, table))
    }

    /// Lets through who may do this with a database as a whole.
    ///
    /// # Errors
    /// What is needed.
    pub fn check_database(&self, asked: May, db: &str) -> Result<(), Needs> {
        let may = self.token().is_none_or(|token| token.rights.may_all(asked, db));
        may.then_some(()).ok_or_else(|| Needs::database(asked, db))
    }

    /// Lets through who may ask for figures and keep a node running.
    ///
    /// # Errors
    /// What is needed.
    pub fn check_ops(&self) -> Result<(), Needs> {
        let may = self.token().is_none_or(|token| token.rights.may_ops());
        may.then_some(()).ok_or_else(|| Needs::plain("ops"))
    }

    /// Lets through who may do everything.
    ///
    /// # Errors
    /// What is needed.
    pub fn check_all(&self) -> Result<(), Needs> {
        self.is_unlimited().then_some(()).ok_or_else(|| Needs::plain("all"))
    }

    /// Whether an MQTT client may come in with the certificate that it shows, or with none.
    pub fn allows_certificate(&self) -> bool {
        let Access::Of(passport) = self else { return true };
        match &passport.certificate {
            Some(shown) => shown.is_of_token,
            None => passport.token.rights.certificate.is_none(),
        }
    }

    /// Who it is in patterns of an MQTT client: where a certificate stands for the token, its identity.
    pub fn user(&self) -> Option<&str> {
        let Access::Of(passport) = self else { return None };
        let shown = passport.certificate.as_ref();
        let shown = shown.filter(|_| passport.token.rights.certificate.is_some());
        Some(shown.map_or(&passport.token.name, |shown| &shown.certificate.identity))
    }

    /// The topics that a client of this id may publish to; `None` where it may not have this id.
    pub fn topics(&self, client_id: &str) -> Option<TopicRules> {
        let (Some(token), Some(user)) = (self.token(), self.user()) else {
            return Some(TopicRules::open());
        };
        let rights = &token.rights;
        let fits = |pattern: &crate::Glob| {
            let pattern = pattern.with("%u", user);
            pattern.is_ok_and(|pattern| pattern.fits(client_id))
        };
        if !rights.clients.is_empty() && !rights.clients.iter().any(fits) {
            return None;
        }
        TopicRules::new(&rights.topics, user, client_id)
    }
}

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nothing was shown.
    #[error("a token is needed, and none came")]
    Missing,
    /// What was shown cannot be a token.
    #[error("{0}")]
    Bad(#[from] BadSecret),
    /// No token has this secret.
    #[error("the token is not known")]
    Unknown,
    /// It was one.
    #[error("the token has expired")]
    Expired,
    /// Which tokens there are is not known now; it is to be tried again.
    #[error("the tokens of the cluster are not at hand")]
    NotNow,
}

impl Denied {
    /// The reason as a stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            Denied::Missing => "missing",
            Denied::Bad(BadSecret::Malformed) => "malformed",
            Denied::Bad(BadSecret::Cut(_)) => "cut",
            Denied::Unknown => "unknown",
            Denied::Expired => "expired",
            Denied::NotNow => "not_now",
        }
    }
}

/// Knows the tokens.
pub trait Doorkeeper: Send + Sync + fmt::Debug + 'static {
    /// Lets in who shows a token.
    ///
    /// # Errors
    /// Why not.
    fn admit(&self, shown: Presented<'_>) -> Result<Access, Denied>;

    /// Learns which tokens were made elsewhere meanwhile; whether that was possible.
    fn refresh(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;

    /// Whether who was let in would be so again, with the same rights.
    fn still(&self, access: &Access) -> bool;

    /// Changes with every token, and whenever one of them ends by itself.
    fn epoch(&self) -> u64;

    /// Counts somebody who was not let in by this way, from this address where it is known.
    fn turned_away(&self, via: &'static str, from: Option<IpAddr>, denied: Denied);

    /// Notes that a token was not enough for its client to connect.
    fn kept_out(&self, access: &Access, client_id: &str);

    /// Notes that a token was not enough for something that came from this client.
    fn refused(&self, access: &Access, what: &str, client_id: &str);
}

/// What a request has changed, among the extensions of its answer where its path does not say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deed {
    /// What was done; `None` is what the path does anyway.
    pub event: Option<&'static str>,
    /// To what.
    pub object: String,
}

/// Lets everybody in, as a node does whose tokens are off.
#[derive(Debug, Default)]
pub struct OpenDoor;

impl Doorkeeper for OpenDoor {
    fn admit(&self, _shown: Presented<'_>) -> Result<Access, Denied> {
        Ok(Access::Open)
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }

    fn still(&self, _access: &Access) -> bool {
        true
    }

    fn epoch(&self) -> u64 {
        0
    }

    fn turned_away(&self, _via: &'static str, _from: Option<IpAddr>, _denied: Denied) {}

    fn kept_out(&self, _access: &Access, _client_id: &str) {}

    fn refused(&self, _access: &Access, _what: &str, _client_id: &str) {}
}

/// Lets in who shows a token, after asking once more for those that are not known here.
///
/// # Errors
/// Why not.
pub async fn admit(door: &dyn Doorkeeper, shown: Presented<'_>) -> Result<Access, Denied> {
    match door.admit(shown) {
        Err(Denied::Unknown) if door.refresh().await => door.admit(shown),
        Err(Denied::Unknown) => Err(Denied::NotNow),
        admitted => admitted,
    }
}
