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
