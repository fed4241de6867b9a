//! What can go wrong with one tablet or log on one disk.

use oribi_model::{ColumnId, ColumnType, TabletId};
use std::{io, path::PathBuf};

/// An operating error: expected, handled by the caller, never a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused a file operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },

    /// Stored bytes are not what was written.
    #[error("{} is corrupt at byte {offset}: {reason}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where the damage was noticed.
        offset: u64,
        /// Which check failed.
        reason: String,
    },

    /// The file was written by a version that this one does not know.
    #[error("{} has format version {found}; this version of oribi reads up to {known}", path.display())]
    FutureFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: u32,
        /// The newest version known here.
        known: u32,
    },

    /// A file that must be there is not.
    #[error("{} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },

    /// A folder that was to be made holds something already.
    #[error("cannot make {}: it is there already and not empty", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },

    /// A sync, or the replacement of a small file, failed, so what is on disk is unknown. Nothing
    /// is written from then on.
    #[error("the store has stopped after a write failure: {0}")]
    Poisoned(String),

    /// The log cannot be written at present, which is tried again and again.
    #[error("the log cannot be written now: {0}")]
    Stalled(String),

    /// The tablet was dropped.
    #[error("tablet {0} was dropped")]
    Dropped(TabletId),

    /// A merge or a copy was not begun, since it might not fit beside what is there.
    #[error(
        "cannot add segments to {}: {needed_bytes} free bytes needed, {free_bytes} there",
        path.display()
    )]
    NoRoom {
        /// The tablet's folder.
        path: PathBuf,
        /// Bytes of what is to be written and the reserve.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },

    /// A file that belongs to another tablet.
    #[error("{} belongs to tablet {found}, not to tablet {expected}", path.display())]
    WrongTablet {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: TabletId,
        /// Whose it should be.
        expected: TabletId,
    },

    /// What another replica has is not what can be put in the place of a tablet's own.
    #[error("cannot take another replica's files over into {}: {reason}", path.display())]
    NotTakenOver {
        /// The tablet's folder.
        path: PathBuf,
        /// What stands in the way.
        reason: String,
    },

    /// A manifest that cannot be made again from what lies in its folder, or need not be.
    #[error("cannot repair {}: {reason}", path.display())]
    Unrepairable {
        /// The tablet's folder.
        path: PathBuf,
        /// What stands in the way, and what to do about it.
        reason: String,
    },

    /// The reader's schema is older than the rows.
    #[error("column {column} holds {stored} values now, but was asked for as {asked}")]
    StaleSchema {
        /// Which column.
        column: ColumnId,
        /// Its type in the rows.
        stored: ColumnType,
        /// The type asked for.
        asked: ColumnType,
    },

    /// Rows to be written to a new segment cannot be read.
    #[error("cannot write {}: reading its rows failed: {reason}", path.display())]
    Source {
        /// The new segment.
        path: PathBuf,
        /// What the read answered.
        reason: String,
    },
}

impl Error {
    /// Whether the same call may succeed later without anyone changing it: what failed left no
    /// trace, and its cause may pass.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::StaleSchema { .. } | Error::Io { .. } | Error::NoRoom { .. })
    }

    /// Wraps a system error: `Error::io("sync", path)` for `map_err`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Error {
        let path = path.into();
        move |source| Error::Io { action, path, source }
    }
}

/// The result of an operation of the store.
pub type Result<T, E = Error> = std::result::Result<T, E>;
