//! What can go wrong with a connector as a whole. Rows refused one by one are rejections.

use std::io;

/// An operating error of a connector.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A configured value that cannot be.
    #[error("cannot use the configuration: {key}: {reason}")]
    Config {
        /// Which key.
        key: String,
        /// What is wrong and what was expected.
        reason: String,
    },

    /// The operating system refused the listening socket.
    #[error("cannot {action} the mqtt listener: {source}")]
    Listen {
        /// What was tried, as a verb.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Listen { .. })
    }

    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Config { key: key.into(), reason: reason.into() }
    }
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
