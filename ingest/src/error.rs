//! Why a write as a whole was refused. Rows refused one by one stand in the receipt.

use oribi_access::Needs;
use oribi_cluster::WriteOutcome;

/// An operating error of the write path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// More is being written than the node can take; a bounded wait is already over.
    #[error("cannot take the write now: {reason}; try again in {retry_after_s} s")]
    Busy {
        /// Which bound was met.
        reason: &'static str,
        /// When to try again.
        retry_after_s: u32,
    },

    /// The disk is nearly full; writes resume by themselves once there is room.
    #[error("cannot take the write: the disk has {free_bytes} bytes free, below the reserve")]
    DiskFull {
        /// Bytes free on the data directory's file system.
        free_bytes: u64,
    },

    /// The node is stopping.
    #[error("cannot take the write: the node is stopping")]
    Stopping,

    /// The log or a tablet failed, or a group has no leader; surely nothing of the write was stored.
    #[error("cannot store the write: {0}")]
    Storage(String),

    /// Some rows of the write were not acknowledged, others were or may have been.
    #[error(
        "cannot store the write: {}; {} rows were stored, {} surely not, and of {} it is not known",
        .0.reason, .0.stored, .0.not_stored.len(), .0.unknown.len()
    )]
    Partly(Box<Unstored>),

    /// A database, table or name in the request that cannot be.
    #[error("{0}")]
    Invalid(String),

    /// Who writes may not do this.
    #[error("{0}")]
    Forbidden(Box<Needs>),
}

impl Error {
    /// Whether the same write may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Error::Invalid(_) | Error::Forbidden(_))
    }

    /// What became of the write: where any of its rows is stored or may be, it is unknown.
    pub fn outcome(&self) -> WriteOutcome {
        match self {
            Error::Partly(_) => WriteOutcome::Unknown,
            _ => WriteOutcome::NotStored,
        }
    }
}

/// Rows of a write that were not acknowledged, by origin; ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unstored {
    /// How many others are stored.
    pub stored: u64,
    /// Those that are surely not stored, and will not be.
    pub not_stored: Vec<u32>,
    /// Those that may be stored, or may still come to be.
    pub unknown: Vec<u32>,
    /// Why, of the first that failed.
    pub reason: String,
}

/// The result of a write.
pub type Result<T, E = Error> = std::result::Result<T, E>;
