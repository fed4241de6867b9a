//! What can go wrong with the shared words, and what a read may answer.

use crate::TabletId;
use std::time::Duration;

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

    /// What could be read lacks more than the asker allows.
    #[error("cannot read {what} as asked: {}, and staleness_max is {} ms", age_text(*age), max.as_millis())]
    TooStale {
        /// The tablet, or the catalog.
        what: String,
        /// How old it may be; `None` where nobody can tell.
        age: Option<Duration>,
        /// How old it was allowed to be.
        max: Duration,
    },

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
        matches!(self, Error::Unreadable { .. } | Error::Behind(_) | Error::TooStale { .. })
    }
}

fn age_text(age: Option<Duration>) -> String {
    match age {
        Some(age) => format!("it may lack what was acked in the last {} ms", age.as_millis()),
        None => "it is not known how old it is".to_owned(),
    }
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
