//! The files of a log's folder: their names, and how one comes to be.

use super::{
    failure::{Failure, Outcome},
    frame::{Format, Header},
    index::LogFile,
};
use crate::{
    Error,
    disk::{Disk, DiskFile},
};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Ends the name under which a file is made.
pub(super) const NEW_SUFFIX: &str = ".new";

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

/// Makes file `number`, durable with its header and first frame before it has its name. Gives it
/// and its length. After a failure that may pass, nothing is left of it.
pub(super) fn begin_file(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    header: Header,
    first_frame: &[u8],
) -> Outcome<(Arc<LogFile>, u64)> {
    let path = file_path(dir, number);
    if disk.open(&path).is_ok() {
        let reason = "a file that is not part of the log is in its place";
        return Err(Failure::Final(corrupt(&path, 0, reason)));
    }
    let making = dir.join(format!("{number:012}{NEW_SUFFIX}"));
    let file = create_anew(disk, &making)?;
    let mut bytes = header.encode(number);
    bytes.extend_from_slice(first_frame);
    if let Err(error) = file.write_at(&bytes, 0) {
        return Err(given_up(disk, &making, Failure::of("write", &making, error)));
    }
    file.sync().map_err(Error::io("sync", &making)).map_err(Failure::Final)?;
    if let Err(error) = disk.rename(&making, &path) {
        return Err(given_up(disk, &making, Failure::of("rename", &making, error)));
    }
    disk.sync_dir(dir).map_err(Error::io("sync", dir)).map_err(Failure::Final)?;
    let format = header.format;
    Ok((Arc::new(LogFile { number, path, format, file }), bytes.len() as u64))
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
