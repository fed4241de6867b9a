//! Files that hold a secret: only their owner may write to them, and should be the only one to read them.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// What is longer is no secret, bytes.
const BYTES_MAX: u64 = 4_096;
const OWNER_ALONE: u32 = 0o600;
const WRITABLE_BY_OTHERS: u32 = 0o022;
const READABLE_BY_OTHERS: u32 = 0o044;

/// Why such a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadPrivate {
    /// The system refused.
    #[error("cannot read it: {0}")]
    Io(#[from] io::Error),
    /// Others could put a secret of their own there.
    #[error("others may write to it: chmod go-w it")]
    Writable,
}

/// Reads such a file, of a longer one only the beginning.
///
/// # Errors
/// It cannot be read, or others may write to it.
pub(super) fn read(path: &Path) -> Result<(Metadata, Vec<u8>), BadPrivate> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.mode() & WRITABLE_BY_OTHERS != 0 {
        return Err(BadPrivate::Writable);
    }
    if metadata.mode() & READABLE_BY_OTHERS != 0 {
        tracing::warn!("others may read {}, which holds a secret", path.display());
    }
    let mut held = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut held)?;
    Ok((metadata, held))
}

/// Writes such a file, which takes the place of one that is there, or nothing at all.
///
/// # Errors
/// What the system refuses.
pub(super) fn write(path: &Path, held: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    match fs::remove_file(&beside) {
        Err(wrong) if wrong.kind() != ErrorKind::NotFound => return Err(wrong),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(OWNER_ALONE).open(&beside)?;
    file.write_all(held)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => Ok(()),
    }
}
