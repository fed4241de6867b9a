//! What can still be read of a log that is damaged. Nothing is changed and nothing believed that
//! no checksum covers.

use super::{
    files::{file_path, number_of},
    frame::{self, FRAME_HEAD_BYTES, Format, Header, Record},
    recover,
};
use crate::{
    Error, Result,
    disk::{Disk, view::ReadOnly},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// The first place at which a log cannot be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDamage {
    /// The file.
    pub path: PathBuf,
    /// Where in it the first frame begins that is not whole; 0 where the file does not begin as
    /// one should.
    pub offset: u64,
    /// Which check failed.
    pub reason: String,
    /// Whole frames behind that place, in this file and in later ones.
    pub frames_behind: u64,
    /// Entries in them, those of groups that are gone included.
    pub entries_behind: u64,
}

/// Reads the log in `dir` as an opening would. `None`: all of it is whole, but for a write at its
/// end that was cut short. Blocks.
///
/// # Errors
/// [`Error::Io`] and [`Error::FutureFormat`].
pub fn check(disk: Arc<dyn Disk>, dir: &Path) -> Result<Option<LogDamage>> {
    let disk = ReadOnly(disk);
    let (path, offset, reason) = match recover::recover(&disk, dir) {
        Ok(_) => return Ok(None),
        Err(Error::Corrupt { path, offset, reason }) => (path, offset, reason),
        Err(other) => return Err(other),
    };
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name, ".log")).collect();
    numbers.sort_unstable();
    let (mut frames_behind, mut entries_behind, mut last) = (0, 0, 0);
    for number in numbers {
        let later = file_path(dir, number);
        if later < path {
            continue;
        }
        let from = if later == path { offset } else { 0 };
        let file = disk.open(&later).map_err(Error::io("open", &later))?;
        let mut bytes = vec![0; file.len().map_err(Error::io("measure", &later))? as usize];
        file.read_at(&mut bytes, 0).map_err(Error::io("read", &later))?;
        let format = format_of(&bytes, number, &later)?;
        let rest = bytes.get(from as usize..).unwrap_or_default();
        let (frames, entries) = count(rest, format, &mut last);
        frames_behind += frames;
        entries_behind += entries;
    }
    Ok(Some(LogDamage { path, offset, reason, frames_behind, entries_behind }))
}

/// The format of a file, where need be from a header that is not whole.
fn format_of(bytes: &[u8], number: u64, path: &Path) -> Result<Format> {
    if let Some(header) = Header::parse(bytes, number, path)? {
        return Ok(header.format);
    }
    let plain = Format::Plain.header_bytes();
    let is_plain =
        bytes.get(plain..).is_some_and(|frames| frames.starts_with(&Format::Plain.frame_magic()));
    // Where it is the salt that is damaged, nothing can be told from anything else.
    let salt = bytes.get(28..36).and_then(|salt| salt.try_into().ok()).map(u64::from_le_bytes);
    Ok(if is_plain { Format::Plain } else { Format::Salted(salt.unwrap_or_default()) })
}

/// Whole frames of ascending sequence in `bytes`, and the entries in them. `last` is the greatest
/// sequence met so far.
fn count(bytes: &[u8], format: Format, last: &mut u64) -> (u64, u64) {
    let magic = format.frame_magic();
    let (mut frames, mut entries, mut at) = (0, 0, 0);
    while let Some(found) = memchr::memmem::find(&bytes[at..], &magic) {
        at += found;
        let Some((body, sequence)) = frame::parse_frame(&bytes[at..], format, |one| one > *last)
        else {
            at += magic.len();
            continue;
        };
        let records = frame::records(body).flatten();
        entries += records.filter(|(_, record)| matches!(record, Record::Entry { .. })).count();
        (frames, *last) = (frames + 1, sequence);
        at += FRAME_HEAD_BYTES + body.len();
    }
    (frames, entries as u64)
}
