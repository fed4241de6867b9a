//! What can go wrong with the shared words, and what a read may answer.

use crate::TabletId;

/// An operating error: expected and handled by the caller. A broken invariant panics instead.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A database, table or column name that the rules of [`crate::Name`] refuse.
    #[error("the name {name:?} is not allowed: {reason}")]
    Name {
        /// What was asked for, cut to a printable length.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },

    /// A tablet that this node cannot read now.
    #[error("cannot read tablet {tablet}: {reason}")]
    Unreadable {
        /// The tablet.
        tablet: TabletId,
        /// Why, for an operator.
        reason: String,
    },

    /// It cannot be told whether this node knows of everything that was acked.
    #[error("cannot tell what is current: {0}")]
    Behind(String),

    /// Stored bytes are not what was written.
    #[error("tablet {tablet} holds a corrupt block: {reason}")]
    Corrupt {
        /// The tablet.
        tablet: TabletId,
        /// File, place and cause.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::Unreadable { .. } | Error::Behind(_))
    }
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
