//! TCP and TLS to a broker. TLS is by the system's library: rumqttc's own choice, rustls, is bound
//! to a version of rustls-webpki with known advisories (RUSTSEC-2026-0049, -0098, -0099, -0104).

use crate::{
    Error, Result,
    connector::{Common, Transport, read_file},
};
use native_tls::{Certificate, Identity, TlsConnector};
use rumqttc::{NetworkOptions, TlsConfiguration};

/// Small packets are sent at once: a broker with a short window waits for the last ack of it, which
/// Nagle's algorithm would hold back until the broker's own delayed acknowledgement (RFC 896).
pub(crate) fn network() -> NetworkOptions {
    let mut options = NetworkOptions::new();
    options.set_tcp_nodelay(true);
    options
}

/// How to reach the broker.
///
/// # Errors
/// [`Error::Config`]: files that cannot be read, or hold something else.
pub(crate) fn transport(common: &Common, transport: Transport) -> Result<rumqttc::Transport> {
    if transport == Transport::Plain {
        return Ok(rumqttc::Transport::tcp());
    }
    let configuration = TlsConfiguration::NativeConnector(tls(common)?);
    Ok(rumqttc::Transport::tls_with_config(configuration))
}

/// TLS as configured.
///
/// # Errors
/// [`Error::Config`]: files that cannot be read, or hold something else.
pub(crate) fn tls(common: &Common) -> Result<TlsConnector> {
    let wrong = |key: &'static str| {
        move |wrong: native_tls::Error| {
            Error::config(key, format!("the file holds something else: {wrong}"))
        }
    };
    let mut builder = TlsConnector::builder();
    if let Some(path) = &common.ca_file {
        builder.disable_built_in_roots(true);
        let pem = read_file(path, "ca_file")?;
        const END: &str = "-----END CERTIFICATE-----";
        for one in pem.split_inclusive(END).filter(|one| one.contains(END)) {
            let certificate = Certificate::from_pem(one.as_bytes()).map_err(wrong("ca_file"))?;
            builder.add_root_certificate(certificate);
        }
    }
    if let (Some(cert), Some(key)) = (&common.cert_file, &common.key_file) {
        let (cert, key) = (read_file(cert, "cert_file")?, read_file(key, "key_file")?);
        let identity = Identity::from_pkcs8(cert.as_bytes(), key.as_bytes());
        builder.identity(identity.map_err(wrong("key_file"))?);
    }
    builder.build().map_err(wrong("ca_file"))
}
