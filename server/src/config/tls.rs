//! TLS of the listeners.

use serde::Deserialize;
use std::path::PathBuf;

/// The oldest version that is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub(crate) enum TlsVersion {
    /// TLS 1.2.
    #[default]
    #[serde(rename = "1.2")]
    V1_2,
    /// TLS 1.3.
    #[serde(rename = "1.3")]
    V1_3,
}

/// Whether clients of MQTT are asked for certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClientCertificates {
    /// They are not.
    #[default]
    Off,
    /// Who has one may show it.
    Optional,
    /// Who has none is not let in.
    Required,
}

/// TLS, `[tls]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TlsOptions {
    /// The certificate and those between it and its authority, PEM, the node's own first; made by
    /// the node when absent.
    pub(crate) cert_file: Option<PathBuf>,
    /// The key that belongs to it, PEM.
    pub(crate) key_file: Option<PathBuf>,
    /// Further names and addresses for a certificate that the node makes.
    pub(crate) names: Vec<String>,
    /// The oldest version that is spoken.
    pub(crate) min_version: TlsVersion,
    /// Whether clients of MQTT are asked for certificates.
    pub(crate) client_certificates: ClientCertificates,
    /// Certificates of the authorities that may vouch for clients, PEM.
    pub(crate) client_ca_file: Option<PathBuf>,
    /// Lists of certificates that those revoke, PEM.
    pub(crate) client_crl_file: Option<PathBuf>,
}

impl TlsOptions {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the key and what was expected.
    pub(super) fn validate(&self) -> Result<(), String> {
        if self.cert_file.is_some() != self.key_file.is_some() {
            return Err("cert_file and key_file belong together; expected both or none".into());
        }
        let asks = self.client_certificates != ClientCertificates::Off;
        match (asks, &self.client_ca_file, &self.client_crl_file) {
            (true, None, _) => {
                return Err(
                    "client_certificates need client_ca_file, which says who may vouch for \
                            them"
                        .into(),
                );
            }
            (false, Some(_), _) | (false, _, Some(_)) => {
                return Err("client_certificates is \"off\", so that client_ca_file and \
                            client_crl_file have no use; expected \"optional\" or \"required\""
                    .into());
            }
            _ => {}
        }
        let is_name = |name: &String| {
            let is_plain = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':')
            };
            (1..=253).contains(&name.len()) && name.bytes().all(is_plain)
        };
        match self.names.iter().find(|name| !is_name(name)) {
            Some(other) => Err(format!("names holds {other:?}; expected names or addresses")),
            None => Ok(()),
        }
    }
}
