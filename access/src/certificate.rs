//! Certificates that clients show.

use std::sync::Arc;

/// Longest identity, bytes.
const IDENTITY_BYTES_MAX: usize = 256;

/// Whom a certificate that was checked names, and by what lists of revoked ones would name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its first DNS name or URI, else its common name.
    pub identity: String,
    /// SHA-256 of the name of its authority.
    pub issuer: [u8; 32],
    /// The number that this gave it, big-endian.
    pub serial: Vec<u8>,
}

impl Certificate {
    /// Whether an identity can be taken for one: some text that can be written into a line.
    pub fn is_identity(text: &str) -> bool {
        (1..=IDENTITY_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
    }
}

/// A certificate that came with a token, or stood for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownCertificate {
    /// The certificate.
    pub certificate: Arc<Certificate>,
    /// Whether it is of the same token as the secret, if one was shown.
    pub is_of_token: bool,
}
