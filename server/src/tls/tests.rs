//! Certificates that the node makes, and those that it is given.

use super::*;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::fs;
use tempfile::tempdir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsConnector;

/// A client that trusts the authority in `pem` and can check these kinds of signatures only.
fn client(pem: &[u8], kind: &str) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let mut provider = ring::default_provider();
    provider.cipher_suites.retain(|suite| {
        let name = format!("{:?}", suite.suite());
        kind.is_empty() || name.contains(kind)
    });
    let versions: &[_] = match kind {
        "" | "TLS13" => &[&rustls::version::TLS13],
        _ => &[&rustls::version::TLS12],
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// What the certificate's kind of key is that such a client was shown.
async fn shown(state: &TlsState, connector: TlsConnector) -> std::io::Result<usize> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let name = ServerName::try_from("localhost").unwrap();
    let asks = async {
        let socket = TcpStream::connect(address).await?;
        let mut stream = connector.connect(name, socket).await?;
        stream.write_all(b"x").await?;
        stream.flush().await?;
        Ok(stream.get_ref().1.peer_certificates().unwrap()[0].len())
    };
    let serves = async {
        let (socket, _) = listener.accept().await?;
        let mut stream = state.accept(socket).await?;
        stream.read_u8().await
    };
    let (asked, _) = tokio::join!(asks, serves);
    asked
}

#[tokio::test]
async fn each_client_is_shown_what_it_can_check() {
    let dir = tempdir().unwrap();
    let state = TlsState::open(&TlsOptions::default(), dir.path()).unwrap();
    assert!(state.authority().is_none());
    state.load().unwrap();
    let authority = state.authority().unwrap();
    let modern = shown(&state, client(&authority, "")).await.unwrap();
    let ec = shown(&state, client(&authority, "ECDHE_ECDSA")).await.unwrap();
    let rsa = shown(&state, client(&authority, "ECDHE_RSA")).await.unwrap();
    assert_eq!(modern, ec);
    assert!(rsa > ec && rsa < 1_200, "{rsa} bytes");
    let other = tempdir().unwrap();
    let stranger = TlsState::open(&TlsOptions::default(), other.path()).unwrap();
    stranger.load().unwrap();
    assert!(shown(&stranger, client(&authority, "")).await.is_err());
    assert_eq!(state.counts()[..2], [3, 0]);
}

#[test]
fn what_was_made_is_found_again_and_has_all_names() {
    let dir = tempdir().unwrap();
    let options = |name: &str| TlsOptions { names: vec![name.into()], ..TlsOptions::default() };
    let made = |name: &str| {
        let state = TlsState::open(&options(name), dir.path()).unwrap();
        state.load().unwrap();
        (state.describe().unwrap().0, state.authority().unwrap())
    };
    let key = || fs::read(dir.path().join("tls/ec.key")).unwrap();
    let (first, authority) = made("db.example");
    let before = key();
    assert_eq!(made("db.example"), (first.clone(), authority.clone()));
    let (second, same) = made("10.1.2.3");
    assert_ne!(first, second);
    assert_eq!((authority, before), (same, key()));
}

#[tokio::test]
async fn a_pair_that_does_not_match_is_not_used() {
    let dir = tempdir().unwrap();
    let made = TlsState::open(&TlsOptions::default(), dir.path()).unwrap();
    made.load().unwrap();
    let file = |name: &str| Some(dir.path().join("tls").join(name));
    let pair = |cert: &str, key: &str| TlsOptions {
        cert_file: file(cert),
        key_file: file(key),
        ..TlsOptions::default()
    };
    let wrong = TlsState::open(&pair("ec.pem", "rsa.key"), dir.path()).unwrap_err();
    assert!(format!("{wrong:#}").contains("belong together"), "{wrong:#}");
    let own = TlsState::open(&pair("ec.pem", "ec.key"), dir.path()).unwrap();
    let authority = made.authority().unwrap();
    assert!(shown(&own, client(&authority, "")).await.is_ok());
    assert!(own.authority().is_none() && !own.has_changed());
    // What is shown stays while the files are broken.
    fs::write(dir.path().join("tls/ec.pem"), "nothing").unwrap();
    assert!(own.has_changed());
    own.reload().unwrap_err();
    assert_eq!(own.counts()[2], 1);
    assert!(shown(&own, client(&authority, "")).await.is_ok());
}
