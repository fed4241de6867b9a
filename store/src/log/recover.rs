//! Reading the log back: what was synced, and nothing else.

use super::{
    files::{self, Spare, corrupt, file_path, number_of},
    frame::{self, FRAME_HEAD_BYTES, Format, Header},
    index::{Index, LogFile},
};
use crate::{
    Error, Result,
    disk::{Disk, create_dir_durably},
};
use std::{path::Path, sync::Arc};

/// Where writing goes on.
pub(super) struct Tail {
    /// `None` where there is no log yet.
    pub(super) file: Option<LastFile>,
    /// Sequence of the next frame.
    pub(super) sequence: u64,
}

/// The newest file.
pub(super) struct LastFile {
    pub(super) file: Arc<LogFile>,
    /// End of its last frame.
    pub(super) end: u64,
    /// Its length; what stands from `end` to here means nothing.
    pub(super) allocated: u64,
}

pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) tail: Tail,
    pub(super) spares: Vec<Spare>,
}

/// Reads all files of `dir` and makes the last one ready to be written on.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered> {
    create_dir_durably(disk, dir)?;
    let names = disk.list(dir).map_err(Error::io("list", dir))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name, ".log")).collect();
    numbers.sort_unstable();
    let spares = files::find_spares(disk, dir, &names, !numbers.is_empty())?;
    let mut index = Index::default();
    let mut tail = Tail { file: None, sequence: 1 };
    for (at, number) in numbers.iter().enumerate() {
        let path = file_path(dir, *number);
        let last = at + 1 == numbers.len();
        if at > 0 && numbers[at - 1] + 1 != *number {
            let reason = format!("log file {} before it is missing", number - 1);
            return Err(Error::Corrupt { path, offset: 0, reason });
        }
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let mut bytes = vec![0; file.len().map_err(Error::io("measure", &path))? as usize];
        file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        let Some(header) = begun(&bytes, *number, &path)? else {
            if last && (at > 0 || *number == 1) && was_never_in_use(&bytes, tail.sequence) {
                disk.remove(&path).map_err(Error::io("remove", &path))?;
                disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
                break;
            }
            return Err(corrupt(&path, 0, "the header or the first frame is damaged"));
        };
        let file = Arc::new(LogFile { number: *number, path, format: header.format, file });
        if let Some(before) = tail.file.filter(|_| header.sequence != tail.sequence) {
            return Err(corrupt(
                &before.file.path,
                before.end,
                "a frame that was synced is damaged",
            ));
        }
        tail.sequence = header.sequence;
        index.set_file(&file, bytes.len() as u64);
        let end = replay_file(&bytes, &file, &mut tail.sequence, &mut index)?;
        let mut allocated = bytes.len();
        if last {
            allocated = make_ready(&bytes, end, tail.sequence, &file)?;
        }
        index.set_file(&file, end as u64);
        let (end, allocated) = (end as u64, allocated as u64);
        tail.file = Some(LastFile { file, end, allocated });
    }
    // What is written from here on counts on every name that was seen.
    disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
    Ok(Recovered { index, tail, spares })
}

/// The header, where it and the first frame are whole.
fn begun(bytes: &[u8], number: u64, path: &Path) -> Result<Option<Header>> {
    let header = Header::parse(bytes, number, path)?;
    Ok(header.filter(|header| {
        let frames = bytes.get(header.format.header_bytes()..).unwrap_or_default();
        frame::parse_frame(frames, header.format, |found| found == header.sequence).is_some()
    }))
}

/// Whether the newest file, which does not begin as one should, was never synced, so that nothing
/// can have been acked out of it. Later formats give a file its name only after that.
fn was_never_in_use(bytes: &[u8], sequence: u64) -> bool {
    let later = Format::Salted(0).frame_magic();
    memchr::memmem::find(bytes, &later).is_none()
        && !has_frame_after(bytes, 0, sequence, Format::Plain)
}

/// Replays whole frames in sequence; gives the offset behind the last one.
fn replay_file(
    bytes: &[u8],
    file: &Arc<LogFile>,
    sequence: &mut u64,
    index: &mut Index,
) -> Result<usize> {
    let mut at = file.format.header_bytes();
    while let Some((body, _)) =
        frame::parse_frame(&bytes[at..], file.format, |found| found == *sequence)
    {
        let start = (at + FRAME_HEAD_BYTES) as u64;
        for record in frame::records(body) {
            let Some((group, record)) = record else {
                return Err(corrupt(&file.path, at as u64, "a record is malformed"));
            };
            if !index.replay(group, &record, file, start) {
                let reason = format!("group {} has a hole before {record:?}", group.0);
                return Err(corrupt(&file.path, at as u64, &reason));
            }
        }
        at += FRAME_HEAD_BYTES + body.len();
        *sequence += 1;
    }
    Ok(at)
}

/// Makes sure that nothing is damaged behind the last whole frame of the newest file, and that
/// those up to there are durable, since readers will see them. Gives the length of the file.
fn make_ready(bytes: &[u8], end: usize, sequence: u64, file: &LogFile) -> Result<usize> {
    if has_frame_after(bytes, end, sequence, file.format) {
        return Err(corrupt(&file.path, end as u64, "a frame that was synced is damaged"));
    }
    let rest = &bytes[end..];
    let is_torn = match file.format {
        Format::Plain => rest.iter().any(|byte| *byte != 0),
        // Behind the last frame lies what the file held before it was a spare one.
        Format::Salted(_) => frame::sequence_of(rest, file.format) == Some(sequence),
    };
    if is_torn {
        tracing::warn!(
            path = %file.path.display(),
            offset = end,
            "passed over an unfinished write at the end of the log; nothing in it was acked"
        );
    }
    let mut allocated = bytes.len();
    if is_torn && file.format == Format::Plain {
        file.file.set_len(end as u64).map_err(Error::io("cut", &file.path))?;
        allocated = end;
    }
    file.file.sync().map_err(Error::io("sync", &file.path))?;
    Ok(allocated)
}

/// Whether a whole frame of a later sequence than this, which belongs at `from`, stands anywhere
/// behind it. A frame is written only after the one before was synced, so then the damage at
/// `from` is no torn write.
fn has_frame_after(bytes: &[u8], from: usize, sequence: u64, format: Format) -> bool {
    memchr::memmem::find_iter(&bytes[from..], &format.frame_magic()).any(|at| {
        // Those between take at least their heads.
        let most = sequence.saturating_add((at / FRAME_HEAD_BYTES) as u64);
        let later = |found| found > sequence && found <= most;
        frame::parse_frame(&bytes[from + at..], format, later).is_some()
    })
}
