//! Reading the log back: what was synced, and nothing else.

use super::{
    failure::{Failure, Outcome},
    frame::{self, FRAME_HEAD_BYTES, FRAME_MAGIC, HEADER_BYTES},
    index::{Index, LogFile},
};
use crate::{Error, Result, disk::Disk};
use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

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
    /// Its length; zeros stand from `end` to here.
    pub(super) allocated: u64,
}

pub(super) struct Recovered {
    pub(super) index: Index,
    pub(super) tail: Tail,
}

pub(super) fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:012}.log"))
}

/// Reads all files of `dir` and cuts off what a crash left behind the last whole frame.
pub(super) fn recover(disk: &dyn Disk, dir: &Path) -> Result<Recovered> {
    disk.create_dir_all(dir).map_err(Error::io("make", dir))?;
    let mut numbers: Vec<u64> = disk
        .list(dir)
        .map_err(Error::io("list", dir))?
        .iter()
        .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
        .collect();
    numbers.sort_unstable();
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
        let file = Arc::new(LogFile { number: *number, path, file });
        let first = frame::parse_header(&bytes, *number, &file.path)?;
        let begun = first.is_some_and(|first| {
            let checkpoint = bytes.get(HEADER_BYTES..).and_then(frame::parse_frame);
            checkpoint.is_some_and(|(_, sequence)| sequence == first)
        });
        let may_be_new = last && (at > 0 || *number == 1);
        if !begun && may_be_new && !has_frame_after(&bytes, 0, tail.sequence) {
            // Its first frame was never synced, so nothing can have been acked out of it.
            disk.remove(&file.path).map_err(Error::io("remove", &file.path))?;
            disk.sync_dir(dir).map_err(Error::io("sync", dir))?;
            break;
        }
        let (Some(first), true) = (first, begun) else {
            return Err(corrupt(&file.path, 0, "the header or the first frame is damaged"));
        };
        if tail.file.is_some() && first != tail.sequence {
            return Err(corrupt(&file.path, 0, "frames before it are missing"));
        }
        tail.sequence = first;
        index.set_file(&file, bytes.len() as u64);
        let end = replay_file(&bytes, &file, &mut tail.sequence, &mut index)?;
        let mut allocated = bytes.len();
        if bytes[end..].iter().any(|byte| *byte != 0) {
            if !last || has_frame_after(&bytes, end, tail.sequence) {
                return Err(corrupt(&file.path, end as u64, "a frame that was synced is damaged"));
            }
            tracing::warn!(
                path = %file.path.display(),
                bytes = bytes.len() - end,
                "dropped an unfinished write at the end of the log; nothing in it was acked"
            );
            file.file.set_len(end as u64).map_err(Error::io("cut", &file.path))?;
            file.file.sync().map_err(Error::io("sync", &file.path))?;
            allocated = end;
        }
        index.set_file(&file, end as u64);
        let (end, allocated) = (end as u64, allocated as u64);
        tail.file = Some(LastFile { file, end, allocated });
    }
    Ok(Recovered { index, tail })
}

/// Replays whole frames in sequence; gives the offset behind the last one.
fn replay_file(
    bytes: &[u8],
    file: &Arc<LogFile>,
    sequence: &mut u64,
    index: &mut Index,
) -> Result<usize> {
    let mut at = HEADER_BYTES;
    while let Some((body, found)) = frame::parse_frame(&bytes[at..])
        && found == *sequence
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

/// Whether a whole frame of this sequence or a later one stands anywhere behind `from`. A frame
/// is written only after the one before was synced, so then the damage at `from` is no torn write.
fn has_frame_after(bytes: &[u8], from: usize, sequence: u64) -> bool {
    memchr::memmem::find_iter(&bytes[from..], &FRAME_MAGIC).any(|at| {
        let found = frame::parse_frame(&bytes[from + at..]);
        found.is_some_and(|(_, found)| found > sequence)
    })
}

fn corrupt(path: &Path, offset: u64, reason: &str) -> Error {
    Error::Corrupt { path: path.to_owned(), offset, reason: reason.to_owned() }
}

/// Makes the file that follows, durable with its header and first frame. After a failure that may
/// pass, nothing is left of it.
pub(super) fn begin_file(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    sequence: u64,
    first_frame: &[u8],
) -> Outcome<(Arc<LogFile>, u64)> {
    let path = file_path(dir, number);
    let file = match disk.create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let reason = "a file that is not part of the log is in its place";
            return Err(Failure::Final(corrupt(&path, 0, reason)));
        }
        created => created.map_err(|error| Failure::of("create", &path, error))?,
    };
    let mut bytes = frame::header(number, sequence).to_vec();
    bytes.extend_from_slice(first_frame);
    if let Err(error) = file.write_at(&bytes, 0) {
        return Err(match disk.remove(&path) {
            Ok(()) => Failure::of("write", &path, error),
            Err(error) => Failure::Final(Error::io("remove", &path)(error)),
        });
    }
    file.sync().map_err(Error::io("sync", &path)).map_err(Failure::Final)?;
    disk.sync_dir(dir).map_err(Error::io("sync", dir)).map_err(Failure::Final)?;
    Ok((Arc::new(LogFile { number, path, file }), bytes.len() as u64))
}
