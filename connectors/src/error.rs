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

    /// A broker that cannot be reached or that refuses.
    #[error("cannot {action} {target}: {reason}")]
    Broker {
        /// What was tried, as a verb.
        action: &'static str,
        /// The broker's address.
        target: String,
        /// What it or the network said.
        reason: String,
    },

    /// What a connector must remember could not be kept.
    #[error("cannot keep the connector in the catalog: {0}")]
    Store(String),
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Listen { .. } | Error::Broker { .. } | Error::Store(_))
    }

    pub(crate) fn config(key: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::Config { key: key.into(), reason: reason.into() }
    }
}

impl From<oribi_decode::RouteError> for Error {
    fn from(wrong: oribi_decode::RouteError) -> Error {
        Error::config(wrong.key, wrong.reason)
    }
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
