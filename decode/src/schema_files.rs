//! The files of schemas, which others read.

use std::path::Path;

/// Why there is no content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// There is no such file; the system's words.
    Missing(String),
    /// It is longer than was asked for; its bytes.
    TooLong(u64),
    /// It cannot be read; the system's words.
    Unreadable(String),
}

/// Whoever can read the files of schemas.
pub trait SchemaFiles: Send + Sync {
    /// The content of a file of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Says why there is none.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FileError>;
}
