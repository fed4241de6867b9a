//! The handshake between two nodes, and what it tells each of the other.

use super::{
    Admission, ClusterKey, KeyError, KeyHolder, NodeKey, PassName, SEAL_BYTES, Socket, Standing,
    admission::{self, Direction, Failures, UNSEALED, WRONG_SECRET},
    key::{NAMELESS, pin_of},
};
use crate::{ClusterId, KeyPin, NodeIdentity};
use oribi_model::{Clock, NodeId, SystemClock};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::{CertifiedKey, SingleCertAndKey},
};
use std::{io, net::IpAddr, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

const PROTOCOL: &[u8] = b"oribi-node/1";
const EXPORT_LABEL: &[u8] = b"EXPERIMENTAL oribi join";
const EXPORT_BYTES: usize = 32;

/// A connection between two nodes, after the handshake.
pub type Stream = TlsStream<Socket>;

/// How the connections of a node are secured, in both directions.
pub struct NodeTls {
    calling: Arc<ClientConfig>,
    called: Arc<ServerConfig>,
    admission: Admission,
    failures: Failures,
    pin: KeyPin,
    /// Of which passes are made.
    cluster_key: Option<Arc<KeyHolder>>,
}

/// What the handshake has told of the other side. That it has the key is proven; whose key that is,
/// is for others to know.
#[derive(Debug, Clone)]
pub struct Peer {
    pin: KeyPin,
    certificate: CertificateDer<'static>,
    exported: [u8; EXPORT_BYTES],
    address: IpAddr,
    is_of_this_machine: bool,
}

impl NodeTls {
    /// With this key, as this node; `None` as one that is to be given an id.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn new(
        key: &NodeKey,
        identity: Option<NodeIdentity>,
        admission: Admission,
    ) -> Result<NodeTls, KeyError> {
        let name = identity.map_or_else(
            || NAMELESS.to_owned(),
            |identity| name_of(identity.cluster, identity.node),
        );
        NodeTls::showing(key.certified(&name, identity)?, key.pin(), admission)
    }

    pub(super) fn showing(
        shown: CertifiedKey,
        pin: KeyPin,
        admission: Admission,
    ) -> Result<NodeTls, KeyError> {
        let provider = Arc::new(ring::default_provider());
        let calling = calling(&provider, shown.clone()).map_err(KeyError::Unsuited)?;
        let called = called(&provider, shown).map_err(KeyError::Unsuited)?;
        let (calling, called) = (Arc::new(calling), Arc::new(called));
        let failures = Failures::default();
        Ok(NodeTls { calling, called, admission, failures, pin, cluster_key: None })
    }

    /// The same, and whoever has a pass that was made of this key may join.
    pub(crate) fn admitting_by(self, cluster_key: Arc<KeyHolder>) -> NodeTls {
        NodeTls { cluster_key: Some(cluster_key), ..self }
    }

    /// The key of this node.
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    /// Does the handshake of the side that has called.
    ///
    /// # Errors
    /// What the other side does wrong, or the socket. [`io::ErrorKind::InvalidData`]: it is no node.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<(Stream, Peer)> {
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let name = ServerName::try_from(NAMELESS).map_err(io::Error::other)?;
        let connector = TlsConnector::from(self.calling.clone());
        let stream = TlsStream::from(connector.connect(name, Socket::new(stream)).await?);
        let peer = Peer::of(&stream, ends.0.ip(), ends.1.ip())?;
        Ok((stream, peer))
    }

    /// Does the handshake of the side that was called.
    ///
    /// # Errors
    /// As [`NodeTls::connect`].
    pub async fn accept(&self, stream: TcpStream) -> io::Result<(Stream, Peer)> {
        let ends = (stream.local_addr()?, stream.peer_addr()?);
        let acceptor = TlsAcceptor::from(self.called.clone());
        let stream = TlsStream::from(acceptor.accept(Socket::new(stream)).await?);
        let peer = Peer::of(&stream, ends.0.ip(), ends.1.ip())?;
        Ok((stream, peer))
    }

    /// The pass that this node shows when it asks.
    pub(crate) fn pass(&self) -> Option<PassName> {
        self.admission.pass()
    }

    /// What goes before something that is said over a connection; in an answer it depends on the pass that
    /// was shown.
    pub(crate) fn seal(
        &self,
        peer: &Peer,
        direction: Direction,
        pass: Option<PassName>,
        said: &[u8],
    ) -> [u8; SEAL_BYTES] {
        match pass.filter(|_| direction == Direction::Answered) {
            Some(pass) => match self.held().and_then(|held| pass.key(&held)) {
                Some(key) => admission::seal(&key, peer, direction, said),
                None => UNSEALED,
            },
            None => self.admission.seal(peer, direction, said),
        }
    }

    /// What is to be made of something that was said, by its seal and the pass that is shown with it. An
    /// address that has called with too many wrong ones waits for a minute.
    pub(crate) fn judge(
        &self,
        peer: &Peer,
        direction: Direction,
        pass: Option<PassName>,
        seal: &[u8; SEAL_BYTES],
        said: &[u8],
    ) -> Standing {
        if direction == Direction::Asked && self.failures.must_wait(peer.address) {
            return Standing::unproven("too many wrong secrets from this address; wait a minute");
        }
        let standing = match pass.filter(|_| direction == Direction::Asked) {
            Some(pass) => self.judge_pass(peer, pass, seal, said),
            None => self.admission.judge(peer, direction, seal, said),
        };
        if standing == WRONG_SECRET {
            self.failures.note(peer.address);
        }
        standing
    }

    fn judge_pass(
        &self,
        peer: &Peer,
        pass: PassName,
        seal: &[u8; SEAL_BYTES],
        said: &[u8],
    ) -> Standing {
        let Some(held) = self.held() else {
            return Standing::Undecided("it waits for the key of the cluster");
        };
        let Some(key) = pass.key(&held) else {
            return Standing::unproven(
                "the secret to join was made by another cluster, or before this one had its present \
                 cluster key; oribi cluster join-secret makes another one",
            );
        };
        match admission::proven(&key, peer, Direction::Asked, seal, said) {
            Standing::Proven if pass.has_ended(SystemClock.now_ns()) => Standing::Unproven(
                format!(
                    "the secret to join has expired at {}; oribi cluster join-secret makes another one",
                    pass.until()
                )
                .into(),
            ),
            standing => standing,
        }
    }

    fn held(&self) -> Option<ClusterKey> {
        self.cluster_key.as_ref().and_then(|holder| holder.held())
    }
}

impl Peer {
    fn of(stream: &Stream, here: IpAddr, there: IpAddr) -> io::Result<Peer> {
        let connection = stream.get_ref().1;
        let is_node = connection.alpn_protocol() == Some(PROTOCOL);
        let shown = connection.peer_certificates().and_then(|chain| chain.first());
        let certificate = shown.filter(|_| is_node).ok_or(io::ErrorKind::InvalidData)?.clone();
        let parsed = ParsedCertificate::try_from(&certificate).map_err(io::Error::other)?;
        let pin = pin_of(&parsed.subject_public_key_info());
        let bytes = [0; EXPORT_BYTES];
        let exported = match stream {
            TlsStream::Client(stream) => {
                stream.get_ref().1.export_keying_material(bytes, EXPORT_LABEL, None)
            }
            TlsStream::Server(stream) => {
                stream.get_ref().1.export_keying_material(bytes, EXPORT_LABEL, None)
            }
        };
        let exported = exported.map_err(io::Error::other)?;
        let is_of_this_machine = [here, there].iter().all(|end| end.to_canonical().is_loopback());
        Ok(Peer { pin, certificate, exported, address: there, is_of_this_machine })
    }

    /// The key that it has.
    pub fn pin(&self) -> KeyPin {
        self.pin
    }

    /// Whether its certificate names it as this node.
    pub fn is_named(&self, cluster: ClusterId, node: NodeId) -> bool {
        let Ok(parsed) = ParsedCertificate::try_from(&self.certificate) else { return false };
        ServerName::try_from(name_of(cluster, node))
            .is_ok_and(|name| verify_server_name(&parsed, &name).is_ok())
    }

    pub(super) fn is_of_this_machine(&self) -> bool {
        self.is_of_this_machine
    }

    pub(super) fn exported(&self) -> &[u8] {
        &self.exported
    }
}

fn name_of(cluster: ClusterId, node: NodeId) -> String {
    format!("n{node}.{cluster}.oribi")
}

/// What both sides make of certificates: whoever shows one has to have its key, and that is all. Names
/// and pins are looked at once it is known which node the other side says it is; dates never are.
#[derive(Debug)]
struct HasItsKey(Arc<CryptoProvider>);

impl HasItsKey {
    fn check(certificate: &CertificateDer<'_>) -> Result<(), Error> {
        ParsedCertificate::try_from(certificate).map(drop)
    }

    fn check_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, known)
    }

    /// Nothing older than TLS 1.3 is spoken.
    fn refuse_older() -> Result<HandshakeSignatureValid, Error> {
        Err(Error::InvalidCertificate(CertificateError::BadSignature))
    }

    fn schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for HasItsKey {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        HasItsKey::check(certificate)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        HasItsKey::refuse_older()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

impl ClientCertVerifier for HasItsKey {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        HasItsKey::check(certificate)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        HasItsKey::refuse_older()
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.check_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes()
    }
}

/// No session is resumed: each connection proves its key anew.
fn calling(provider: &Arc<CryptoProvider>, shown: CertifiedKey) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(HasItsKey(provider.clone())))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_sni = false;
    Ok(config)
}

fn called(provider: &Arc<CryptoProvider>, shown: CertifiedKey) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(Arc::new(HasItsKey(provider.clone())))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config.send_tls13_tickets = 0;
    Ok(config)
}
