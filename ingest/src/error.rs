//! Why a write as a whole was refused. Rows refused one by one stand in the receipt.

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

    /// The log or a tablet failed; nothing of the write was acknowledged.
    #[error("cannot store the write: {0}")]
    Storage(String),

    /// A database, table or name in the request that cannot be.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Whether the same write may succeed later without anyone changing it.
    pub fn is_retryable(&self) -> bool {
        !matches!(self, Error::Invalid(_))
    }
}

/// The result of a write.
pub type Result<T, E = Error> = std::result::Result<T, E>;
