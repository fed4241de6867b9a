//! What can go wrong with agreement and with the node as a whole.

use oribi_model::TabletId;
use std::path::PathBuf;

/// An operating error: expected, handled by the caller, never a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk or what lies on it.
    #[error(transparent)]
    Store(#[from] oribi_store::Error),

    /// Another process has the data directory open.
    #[error("the data directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },

    /// The data directory cannot be what this version writes.
    #[error("cannot use the data directory {}: {reason}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },

    /// The key of the node.
    #[error(transparent)]
    Key(#[from] crate::secured::KeyError),

    /// The cluster that was to be joined will not have this node.
    #[error("cannot join the cluster of {address}: {reason}")]
    Join {
        /// Who was asked.
        address: String,
        /// What came of it.
        reason: String,
    },

    /// A change that the catalog does not allow; nothing was changed.
    #[error("{0}")]
    Refused(String),

    /// A tablet that was dropped or never existed.
    #[error("there is no tablet {0}")]
    NoTablet(TabletId),

    /// The consensus group cannot take the write now, and did not.
    #[error("cannot commit to group {group}: {reason}")]
    Unavailable {
        /// Which group: 0 is the catalog, others are tablets.
        group: u64,
        /// Why.
        reason: String,
    },

    /// The consensus group has not said what became of the write: it may have happened, and may
    /// still happen.
    #[error("it is not known whether group {group} committed the write: {reason}")]
    Unknown {
        /// Which group: 0 is the catalog, others are tablets.
        group: u64,
        /// Why.
        reason: String,
    },

    /// The group is gone for good: its tablet was dropped. Nothing was written.
    #[error("group {group} was closed")]
    Closed {
        /// Which group.
        group: u64,
    },

    /// A tablet whose files or log entries are damaged or missing: set aside until repaired.
    #[error("tablet {tablet} is set aside: {reason}")]
    Damaged {
        /// Which one.
        tablet: TabletId,
        /// What was found.
        reason: String,
    },

    /// Rows could not be read, here or on another node.
    #[error("cannot read rows: {0}")]
    Read(String),

    /// Background work broke off by a bug.
    #[error("the work broke off: {0}")]
    Panicked(String),

    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}

/// What became of a write that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// It did not happen and will not: the same write can be sent again at once.
    NotStored,
    /// It may have happened, and may still happen. Sending it again is harmless only as long as
    /// nothing else was written to the same keys meanwhile.
    Unknown,
}

impl Error {
    /// What became of the write that this is the answer to.
    pub fn outcome(&self) -> WriteOutcome {
        match self {
            Error::Unknown { .. } | Error::Panicked(_) => WriteOutcome::Unknown,
            _ => WriteOutcome::NotStored,
        }
    }

    /// Whether the same call may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        match self {
            Error::Store(error) => error.is_retryable(),
            Error::Unavailable { .. }
            | Error::Unknown { .. }
            | Error::Read(_)
            | Error::Stopping => true,
            _ => false,
        }
    }
}

/// The result of an operation of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
