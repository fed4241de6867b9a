//! How secrets of connectors are kept.

use futures::future::BoxFuture;

/// Seals secrets, so that what is kept of them says nothing. Errors are texts for a person.
pub trait Vault: Send + Sync + 'static {
    /// Resolves once secrets can be sealed, or will not be soon.
    fn ready(&self) -> BoxFuture<'_, Result<(), String>>;

    /// Seals a secret; only with the same `place` it can be opened again.
    ///
    /// # Errors
    /// Secrets cannot be sealed.
    fn seal(&self, place: &str, secret: &str) -> Result<String, String>;

    /// The secret that was sealed for this place.
    ///
    /// # Errors
    /// Why it stays closed.
    fn open(&self, place: &str, sealed: &str) -> Result<String, Closed>;
}

/// Why a sealed secret stays closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closed {
    /// What it takes is not there yet.
    Yet(String),
    /// What it takes will not come: the secret has to be given anew.
    ForGood(String),
}
