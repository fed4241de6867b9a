//! Where clients come in, and who lets them.

use oribi_access::{Certificate, Doorkeeper, OpenDoor};
use std::{fmt, sync::Arc};
use tokio_rustls::TlsAcceptor;

/// Where clients come in, and who lets them.
#[derive(Debug)]
pub struct Doors {
    /// Clients in clear text.
    pub plain: std::net::TcpListener,
    /// Clients over TLS.
    pub tls: Option<TlsDoor>,
    /// Who knows the tokens.
    pub keeper: Arc<dyn Doorkeeper>,
}

/// Where clients over TLS come in.
pub struct TlsDoor {
    /// The socket.
    pub socket: std::net::TcpListener,
    /// The certificate of the moment, and all else that a handshake takes.
    pub handshakes: Arc<dyn Handshakes>,
}

/// Handshakes as of now, since certificates change while a node runs.
pub trait Handshakes: Send + Sync + 'static {
    /// What the next one takes.
    fn acceptor(&self) -> TlsAcceptor;

    /// Whom the certificate of a client names, DER, which was checked already; `None` for nobody.
    fn identify(&self, certificate: &[u8]) -> Option<Certificate>;
}

impl fmt::Debug for TlsDoor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsDoor").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl From<std::net::TcpListener> for Doors {
    /// One door, open to everybody.
    fn from(plain: std::net::TcpListener) -> Doors {
        Doors { plain, tls: None, keeper: Arc::new(OpenDoor) }
    }
}
