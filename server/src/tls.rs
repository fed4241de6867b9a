//! TLS of the listeners: which certificate is shown, and how it changes while the node runs.

mod clients;
mod made;
mod pair;
mod rsa;

use crate::{
    audit::{Audit, Record},
    config::{TlsOptions, TlsVersion},
};
use anyhow::{Context, Result};
use arc_swap::ArcSwapOption;
use clients::{Clients, Revoked};
use made::Made;
use oribi_access::Certificate;
use oribi_connectors::mqtt_listener::Handshakes;
use pair::{Choice, Leaf, Stamp};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{NoServerSessionStorage, danger::ClientCertVerifier},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    signal::unix::{SignalKind, signal},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// Between two looks at the files.
const LOOK_PAUSE: Duration = Duration::from_secs(10);

/// The certificate of the moment, and what is counted of handshakes.
pub(crate) struct TlsState {
    source: Source,
    options: TlsOptions,
    shown: ArcSwapOption<Shown>,
    /// Grows with each certificate and each list of revoked ones.
    generation: AtomicU64,
    counters: Counts,
}

/// Where the certificate comes from.
enum Source {
    /// The user's own.
    Files { cert: PathBuf, key: PathBuf },
    /// The node makes it, in this folder.
    Made { dir: PathBuf },
}

/// What listeners show now.
struct Shown {
    http: Arc<ServerConfig>,
    mqtt: Arc<ServerConfig>,
    /// Of all files that are watched.
    stamp: Option<Stamp>,
    revoked: Revoked,
    /// Seconds since the Unix epoch.
    expires_s: i64,
    fingerprint: String,
    authority: Option<Vec<u8>>,
}

/// What is counted of handshakes and of certificates.
#[derive(Debug, Default)]
struct Counts {
    done: AtomicU64,
    failed: AtomicU64,
    reload_failures: AtomicU64,
}

impl fmt::Debug for TlsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsState").field("counters", &self.counters).finish_non_exhaustive()
    }
}

impl TlsState {
    /// TLS as the options want it. The user's own certificate is read now; one of the node's own is
    /// there once [`TlsState::load`] was called.
    ///
    /// # Errors
    /// Files that cannot be used.
    pub(crate) fn open(options: &TlsOptions, data_dir: &Path) -> Result<TlsState> {
        let dir = data_dir.join("tls");
        let is_there = dir.is_dir();
        let (source, is_known) = match (&options.cert_file, &options.key_file) {
            (Some(cert), Some(key)) => {
                (Source::Files { cert: cert.clone(), key: key.clone() }, true)
            }
            _ => (Source::Made { dir }, is_there),
        };
        let (options, shown) = (options.clone(), ArcSwapOption::empty());
        let (generation, counters) = Default::default();
        let state = TlsState { source, options, shown, generation, counters };
        // What is wrong with them is told before anything is made.
        Clients::read(&state.options)?;
        if is_known {
            state.load()?;
        }
        Ok(state)
    }

    /// Reads the certificate, and makes one where the node has none of its own.
    ///
    /// # Errors
    /// Files that cannot be used; what was shown before stays.
    pub(crate) fn load(&self) -> Result<()> {
        let stamp = self.stamp();
        let (leaves, authority) = match &self.source {
            Source::Files { cert, key } => (vec![pair::read(cert, key)?], None),
            Source::Made { dir } => {
                let made = Made::open(dir, &self.options.names);
                let Made { leaves, authority } = made
                    .with_context(|| format!("cannot make a certificate in {}", dir.display()))?;
                (leaves, Some(authority))
            }
        };
        let expires_s = leaves.iter().map(|leaf| leaf.expires_s).min().unwrap_or_default();
        let fingerprint = leaves.first().map(|leaf| leaf.fingerprint.clone()).unwrap_or_default();
        let mut http = self.config(&leaves, None)?;
        http.alpn_protocols = [&b"h2"[..], b"http/1.1"].map(<[u8]>::to_vec).to_vec();
        // A client that names other protocols than those of a list would be refused: MQTT has none.
        let clients = Clients::read(&self.options)?;
        let mqtt = self.config(&leaves, clients.as_ref().map(|clients| &clients.verifier))?;
        let revoked = clients.map(Clients::into_revoked).unwrap_or_default();
        let (http, mqtt) = (Arc::new(http), Arc::new(mqtt));
        let shown = Shown { http, mqtt, stamp, revoked, expires_s, fingerprint, authority };
        self.shown.store(Some(Arc::new(shown)));
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    fn config(
        &self,
        leaves: &[Leaf],
        verifier: Option<&Arc<dyn ClientCertVerifier>>,
    ) -> Result<ServerConfig> {
        let versions: &[_] = match self.options.min_version {
            TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
            TlsVersion::V1_3 => &[&rustls::version::TLS13],
        };
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .context("cannot use these versions of TLS")?;
        let choice = Arc::new(Choice::of(leaves));
        let Some(verifier) = verifier else {
            let mut config = builder.with_no_client_auth().with_cert_resolver(choice);
            config.ticketer = ring::Ticketer::new().context("cannot make tickets of sessions")?;
            config.send_tls13_tickets = 1;
            return Ok(config);
        };
        let mut config =
            builder.with_client_cert_verifier(verifier.clone()).with_cert_resolver(choice);
        // A session that goes on would outlive the revocation of its certificate.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// Of the files that are looked at as they are now.
    fn stamp(&self) -> Option<Stamp> {
        let pair = match &self.source {
            Source::Files { cert, key } => vec![cert, key],
            Source::Made { .. } => Vec::new(),
        };
        let TlsOptions { client_ca_file, client_crl_file, .. } = &self.options;
        let files: Vec<&PathBuf> =
            pair.into_iter().chain(client_ca_file).chain(client_crl_file).collect();
        Stamp::of(&files)
    }

    /// Does the handshake of a client of HTTP.
    ///
    /// # Errors
    /// What the client does wrong, or the socket.
    pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        socket: S,
    ) -> std::io::Result<TlsStream<S>> {
        let shown = self.shown.load_full().ok_or(std::io::ErrorKind::NotConnected)?;
        let done = TlsAcceptor::from(shown.http.clone()).accept(socket).await;
        let counter = if done.is_ok() { &self.counters.done } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        done
    }

    /// What the MQTT listener does handshakes by; `None` before there is a certificate.
    pub(crate) fn mqtt(self: &Arc<Self>) -> Option<Arc<dyn Handshakes>> {
        let first = self.shown.load_full()?;
        Some(Arc::new(Devices { state: self.clone(), first }))
    }

    /// Whether the certificate of a client is revoked by now.
    pub(crate) fn revokes(&self, certificate: &Certificate) -> bool {
        self.shown.load().as_ref().is_some_and(|shown| shown.revoked.has(certificate))
    }

    /// Grows whenever certificates may be revoked that were not.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The certificate of the authority that the node made, PEM.
    pub(crate) fn authority(&self) -> Option<Vec<u8>> {
        self.shown.load().as_ref()?.authority.clone()
    }

    /// SHA-256 of the certificate, and where its authority's is.
    pub(crate) fn describe(&self) -> Option<(String, Option<PathBuf>)> {
        let authority = match &self.source {
            Source::Made { dir } => Some(dir.join("ca.pem")),
            Source::Files { .. } => None,
        };
        Some((self.shown.load().as_ref()?.fingerprint.clone(), authority))
    }

    /// Handshakes done, handshakes that failed, and certificates that could not be read again.
    pub(crate) fn counts(&self) -> [u64; 3] {
        let Counts { done, failed, reload_failures } = &self.counters;
        [done, failed, reload_failures].map(|count| count.load(Ordering::Relaxed))
    }

    /// When the certificate ends, seconds since the Unix epoch.
    pub(crate) fn expires_s(&self) -> Option<i64> {
        self.shown.load().as_ref().map(|shown| shown.expires_s)
    }

    /// Reads the files again when they change and at each SIGHUP, and renews what the node made, until
    /// `stop`.
    pub(crate) async fn watch(self: Arc<Self>, audit: Arc<Audit>, stop: CancellationToken) {
        let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
        self.note(&audit, None).await;
        let mut told = None;
        loop {
            let is_told = tokio::select! {
                () = tokio::time::sleep(LOOK_PAUSE) => false,
                _ = hangups.recv() => true,
                () = stop.cancelled() => return,
            };
            let state = self.clone();
            // Keys of RSA take a while to be made.
            let looked = tokio::task::spawn_blocking(move || {
                (is_told || state.has_changed()).then(|| state.reload())
            });
            match looked.await {
                Ok(None) => {}
                // Files that stay broken are looked at again and again.
                Ok(Some(Err(wrong))) if told.as_ref() == Some(&wrong) => {}
                Ok(Some(reloaded)) => {
                    told = reloaded.err();
                    self.note(&audit, told.clone()).await;
                }
                Err(wrong) => {
                    tracing::error!(%wrong, "the look at the certificate ended abnormally");
                }
            }
        }
    }

    /// Notes which certificate is shown, or why another one is not.
    async fn note(&self, audit: &Arc<Audit>, reason: Option<String>) {
        let object = self.describe().map(|(sha256, _)| sha256);
        let result = if reason.is_none() { "ok" } else { "refused" };
        let (event, via) = ("certificate_loaded", "file");
        let entry = Record { event, via, object, result, reason, ..Record::default() };
        if let Err(wrong) = audit.note(entry).await {
            tracing::warn!(%wrong, event, "an entry is not in the audit log");
        }
    }

    fn has_changed(&self) -> bool {
        let shown = self.shown.load();
        let Some(shown) = shown.as_ref() else { return false };
        let is_due = match &self.source {
            Source::Files { .. } => false,
            Source::Made { dir } => Made::is_due(dir),
        };
        is_due || self.stamp() != shown.stamp
    }

    fn reload(&self) -> Result<(), String> {
        match self.load() {
            Ok(()) => {
                let sha256 = self.describe().map(|(sha256, _)| sha256).unwrap_or_default();
                tracing::info!(sha256, "the certificate was read again");
                Ok(())
            }
            Err(wrong) => {
                self.counters.reload_failures.fetch_add(1, Ordering::Relaxed);
                tracing::error!("the certificate stays as it is: {wrong:#}");
                Err(format!("{wrong:#}"))
            }
        }
    }
}

/// Handshakes of devices.
struct Devices {
    state: Arc<TlsState>,
    first: Arc<Shown>,
}

impl Handshakes for Devices {
    fn acceptor(&self) -> TlsAcceptor {
        let now = self.state.shown.load_full();
        TlsAcceptor::from(now.as_ref().unwrap_or(&self.first).mqtt.clone())
    }

    fn identify(&self, certificate: &[u8]) -> Option<Certificate> {
        clients::identify(certificate)
    }
}

#[cfg(test)]
mod tests;
