//! Names for files that cannot be read: beside their place, where nothing takes or removes them.

use crate::{Error, Result, disk::Disk};
use std::path::{Path, PathBuf};

/// Stands between a file's name and a number in the name under which it is kept.
const MARK: &str = ".damaged-";

/// Whether a file of this name was set aside.
pub(crate) fn is_aside(name: &str) -> bool {
    name.rsplit_once(MARK).is_some_and(|(_, number)| number.parse::<u64>().is_ok())
}

/// `PATH.damaged-N` with the first number from 1 on that is free.
pub(crate) fn free_path(disk: &dyn Disk, path: &Path) -> PathBuf {
    let names = path.parent().and_then(|above| disk.list(above).ok()).unwrap_or_default();
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut candidates = (1..).map(|number: u64| format!("{name}{MARK}{number}"));
    let free = candidates.find(|candidate| !names.contains(candidate)).unwrap_or_default();
    path.with_file_name(free)
}

/// Moves a file durably to `PATH.damaged-N`, and gives that.
///
/// # Errors
/// [`Error::Io`]; then it stays where it was, or its move is not durable.
pub fn set_aside(disk: &dyn Disk, path: &Path) -> Result<PathBuf> {
    let aside = free_path(disk, path);
    let above = path.parent().unwrap_or(path);
    let folder = disk.open_dir(above).map_err(Error::io("open", above))?;
    disk.rename(path, &aside).map_err(Error::io("set aside", path))?;
    folder.sync().map_err(Error::io("sync", above))?;
    Ok(aside)
}
