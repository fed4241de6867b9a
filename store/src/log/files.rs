//! The files of a log's folder: their names, how one comes to be, and what becomes of it.

use super::{
    failure::{Failure, Outcome},
    frame::{Format, Header},
    index::LogFile,
};
use crate::{
    Error, Result,
    disk::{Disk, DiskFile},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Ends the name under which a file is made.
const NEW_SUFFIX: &str = ".new";
/// Ends the name of a file that nobody needs and that the next one will be made of.
const SPARE_SUFFIX: &str = ".spare";
/// Files kept to make others of.
const SPARES_MAX: usize = 2;

/// A file whose blocks are in place already and whose content means nothing any more.
pub(super) struct Spare {
    path: PathBuf,
    bytes: u64,
}

pub(super) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.log"))
}

/// The number that a file's name begins with, where it ends in `suffix`.
pub(super) fn number_of(name: &str, suffix: &str) -> Option<u64> {
    name.strip_suffix(suffix)?.parse().ok()
}

pub(super) fn corrupt(path: &Path, offset: u64, reason: &str) -> Error {
    Error::Corrupt { path: path.to_owned(), offset, reason: reason.to_owned() }
}

/// A file that was just begun.
pub(super) struct Begun {
    pub(super) file: Arc<LogFile>,
    /// End of its first frame.
    pub(super) end: u64,
    /// Its length; what stands from `end` to here means nothing.
    pub(super) allocated: u64,
}

/// Makes file `number`, out of a spare one if there is any, durable with its header and first
/// frame before it has its name. After a failure that may pass, nothing is left of it.
pub(super) fn begin_file(
    disk: &dyn Disk,
    dir: &Path,
    spares: &mut Vec<Spare>,
    (number, header): (u64, Header),
    first_frame: &[u8],
) -> Outcome<Begun> {
    let path = file_path(dir, number);
    if disk.open(&path).is_ok() {
        let reason = "a file that is not part of the log is in its place";
        return Err(Failure::Final(corrupt(&path, 0, reason)));
    }
    let folder = disk.open_dir(dir).map_err(|error| Failure::of("open", dir, error))?;
    let (making, file, length) = match take_spare(disk, spares) {
        Some(spare) => spare,
        None => {
            let path = dir.join(format!("{number:012}{NEW_SUFFIX}"));
            let file = create_anew(disk, &path)?;
            (path, file, 0)
        }
    };
    let mut bytes = header.encode(number);
    bytes.extend_from_slice(first_frame);
    if let Err(error) = file.write_at(&bytes, 0) {
        return Err(given_up(disk, &making, Failure::of("write", &making, error)));
    }
    file.sync().map_err(Error::io("sync", &making)).map_err(Failure::Final)?;
    if let Err(error) = disk.rename(&making, &path) {
        return Err(given_up(disk, &making, Failure::of("rename", &making, error)));
    }
    folder.sync().map_err(Error::io("sync", dir)).map_err(Failure::Final)?;
    let end = bytes.len() as u64;
    let file = Arc::new(LogFile { number, path, format: header.format, file });
    Ok(Begun { file, end, allocated: length.max(end) })
}

/// A spare file, its present path, and its length.
fn take_spare(
    disk: &dyn Disk,
    spares: &mut Vec<Spare>,
) -> Option<(PathBuf, Box<dyn DiskFile>, u64)> {
    while let Some(spare) = spares.pop() {
        match disk.open(&spare.path) {
            Ok(file) => return Some((spare.path, file, spare.bytes)),
            Err(error) => {
                let path = spare.path.display();
                tracing::warn!(%path, %error, "a spare log file is of no use");
            }
        }
    }
    None
}

/// Takes a file that no group needs out of the log: it becomes a spare one where that is of use,
/// and is removed otherwise. Whoever calls makes that durable before a spare is used.
pub(super) fn let_go(
    disk: &dyn Disk,
    spares: &mut Vec<Spare>,
    file: &Arc<LogFile>,
    file_bytes_max: u64,
) -> io::Result<()> {
    // Who still reads from it must not see it overwritten.
    let is_free = Arc::strong_count(file) == 1;
    let bytes = file.file.len().unwrap_or(u64::MAX);
    if !is_free || spares.len() == SPARES_MAX || bytes > file_bytes_max {
        return disk.remove(&file.path);
    }
    let path = file.path.with_extension(&SPARE_SUFFIX[1..]);
    disk.rename(&file.path, &path)?;
    spares.push(Spare { path, bytes });
    Ok(())
}

/// Removes every spare file. After a failure, those that are left are kept.
pub(super) fn remove_spares(disk: &dyn Disk, spares: &mut Vec<Spare>) -> Outcome {
    while let Some(Spare { path, .. }) = spares.last() {
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Failure::of("remove", path, error));
            }
            _ => spares.pop(),
        };
    }
    Ok(())
}

/// What else is in the folder: removes files that were being made, and spare ones that are too
/// many or of a log that is gone. Gives those that are left.
pub(super) fn find_spares(
    disk: &dyn Disk,
    dir: &Path,
    names: &[String],
    has_log: bool,
) -> Result<Vec<Spare>> {
    let mut spares = Vec::new();
    for name in names {
        let is_spare = number_of(name, SPARE_SUFFIX).is_some();
        if !is_spare && number_of(name, NEW_SUFFIX).is_none() {
            continue;
        }
        let path = dir.join(name);
        if is_spare && has_log && spares.len() < SPARES_MAX {
            let file = disk.open(&path).map_err(Error::io("open", &path))?;
            let bytes = file.len().map_err(Error::io("measure", &path))?;
            spares.push(Spare { path, bytes });
        } else {
            disk.remove(&path).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(spares)
}

/// A new file in the place of what an attempt that was cut short left.
fn create_anew(disk: &dyn Disk, path: &Path) -> Outcome<Box<dyn DiskFile>> {
    match disk.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            disk.remove(path).map_err(|error| Failure::of("remove", path, error))?;
            disk.create(path).map_err(|error| Failure::of("create", path, error))
        }
        created => created.map_err(|error| Failure::of("create", path, error)),
    }
}

/// The failure once the unfinished file is removed, or that of its removal.
fn given_up(disk: &dyn Disk, path: &Path, failure: Failure) -> Failure {
    match disk.remove(path) {
        Ok(()) => failure,
        Err(error) => Failure::Final(Error::io("remove", path)(error)),
    }
}

/// The format of the next file to be begun.
pub(super) fn new_format(disk: &dyn Disk) -> Format {
    Format::Salted(disk.salt())
}
