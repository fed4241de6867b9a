//! Bytes of log files: a header, then frames of records.

use super::{GroupId, GroupState, Op};
use crate::{Error, Result, bits::Reader, disk::DiskFile};
use std::{path::Path, sync::Arc};

pub(super) const MAGIC: [u8; 8] = *b"ORIBILOG";
pub(super) const FORMAT_VERSION: u32 = 1;
pub(super) const HEADER_BYTES: usize = 32;
/// `magic u32 | crc u32 | length u32 | zero u32 | sequence u64`
pub(super) const FRAME_HEAD_BYTES: usize = 24;
pub(super) const FRAME_MAGIC: [u8; 4] = *b"FRM1";
/// `length u32 | crc u32`
const RECORD_HEAD_BYTES: usize = 8;
/// `kind u8 | group u64 | index u64`
const ENTRY_HEAD_BYTES: usize = 17;

const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;
const FORGET: u8 = 6;

/// The header of file `number`, whose first frame has number `sequence`.
pub(super) fn header(number: u64, sequence: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes[12..20].copy_from_slice(&number.to_le_bytes());
    bytes[20..28].copy_from_slice(&sequence.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The sequence of the first frame of file `number`; `None` where this is not its header.
pub(super) fn parse_header(bytes: &[u8], number: u64, path: &Path) -> Result<Option<u64>> {
    let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
    let mut reader = Reader(&header[8..]);
    let (version, found) = (reader.u32(), reader.u64());
    let (sequence, crc) = (reader.u64(), reader.u32());
    if header[..8] != MAGIC || crc != Some(crc32c::crc32c(&header[..28])) {
        return Ok(None);
    }
    match version {
        Some(version) if version > FORMAT_VERSION => Err(Error::FutureFormat {
            path: path.to_owned(),
            found: version,
            known: FORMAT_VERSION,
        }),
        Some(FORMAT_VERSION) if found == Some(number) => Ok(sequence),
        _ => Ok(None),
    }
}

/// A frame under construction.
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
}

impl FrameBuilder {
    pub(super) fn new() -> FrameBuilder {
        FrameBuilder { bytes: vec![0; FRAME_HEAD_BYTES] }
    }

    pub(super) fn clear(&mut self) {
        self.bytes.truncate(FRAME_HEAD_BYTES);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == FRAME_HEAD_BYTES
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends the records of an op, and calls `placed` with the index, the offset within the
    /// frame and the length of the body of each entry.
    pub(super) fn push(
        &mut self,
        group: GroupId,
        op: &Op,
        mut placed: impl FnMut(u64, usize, usize),
    ) {
        match op {
            Op::Append { first, entries } => {
                for (index, entry) in (*first..).zip(entries) {
                    let at = self.record(ENTRY, group, Some(index), entry);
                    placed(index, at, entry.len());
                }
            }
            Op::Truncate { from } => drop(self.record(TRUNCATE, group, Some(*from), &[])),
            Op::Purge { upto, mark } => drop(self.record(PURGE, group, Some(*upto), mark)),
            Op::Vote(bytes) => drop(self.record(VOTE, group, None, bytes)),
            Op::Committed(bytes) => drop(self.record(COMMITTED, group, None, bytes)),
            Op::Forget => drop(self.record(FORGET, group, None, &[])),
        }
    }

    /// Appends what a reader that starts here has to know of a group.
    pub(super) fn push_state(&mut self, group: GroupId, state: &GroupState) {
        if let Some((upto, mark)) = &state.purged {
            self.push(group, &Op::Purge { upto: *upto, mark: mark.clone() }, |_, _, _| {});
        }
        if let Some(vote) = &state.vote {
            self.push(group, &Op::Vote(vote.clone()), |_, _, _| {});
        }
        if let Some(committed) = &state.committed {
            self.push(group, &Op::Committed(committed.clone()), |_, _, _| {});
        }
    }

    /// The offset of the record's head.
    fn record(&mut self, kind: u8, group: GroupId, index: Option<u64>, body: &[u8]) -> usize {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; RECORD_HEAD_BYTES]);
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&group.0.to_le_bytes());
        self.bytes.extend(index.iter().flat_map(|index| index.to_le_bytes()));
        self.bytes.extend_from_slice(body);
        let start = at + RECORD_HEAD_BYTES;
        let length = (self.bytes.len() - start) as u32;
        let crc = crc32c::crc32c(&self.bytes[start..]);
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        self.bytes[at + 4..start].copy_from_slice(&crc.to_le_bytes());
        at
    }

    /// The finished frame.
    pub(super) fn seal(&mut self, sequence: u64) -> &[u8] {
        let length = (self.bytes.len() - FRAME_HEAD_BYTES) as u32;
        self.bytes[..4].copy_from_slice(&FRAME_MAGIC);
        self.bytes[8..12].copy_from_slice(&length.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&[0; 4]);
        self.bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        let crc = crc32c::crc32c(&self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// The body and the sequence of the frame at the start of `bytes`, if it is whole.
pub(super) fn parse_frame(bytes: &[u8]) -> Option<(&[u8], u64)> {
    let mut reader = Reader(bytes);
    if reader.bytes(4)? != FRAME_MAGIC {
        return None;
    }
    let crc = reader.u32()?;
    let checked = reader.0;
    let length = reader.u32()? as usize;
    reader.u32()?;
    let sequence = reader.u64()?;
    let body = reader.bytes(length)?;
    let covered = FRAME_HEAD_BYTES - 8 + length;
    (crc == crc32c::crc32c(&checked[..covered])).then_some((body, sequence))
}

/// One record of a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    /// Offset of the record's head within the body, and length of the entry.
    Entry {
        index: u64,
        at: usize,
        length: usize,
    },
    Truncate {
        from: u64,
    },
    Purge {
        upto: u64,
        mark: &'a [u8],
    },
    Vote(&'a [u8]),
    Committed(&'a [u8]),
    Forget,
}

/// The records of a frame's body; `None` in the place of the first that is malformed.
pub(super) fn records(body: &[u8]) -> impl Iterator<Item = Option<(GroupId, Record<'_>)>> {
    let mut reader = Reader(body);
    std::iter::from_fn(move || {
        if reader.0.is_empty() {
            return None;
        }
        let at = body.len() - reader.0.len();
        let record = parse_record(&mut reader, at);
        if record.is_none() {
            reader.0 = &[];
        }
        Some(record)
    })
}

fn parse_record<'a>(reader: &mut Reader<'a>, at: usize) -> Option<(GroupId, Record<'a>)> {
    let length = reader.u32()? as usize;
    let crc = reader.u32()?;
    let bytes = reader.bytes(length)?;
    // The frame's checksum covers this one too; it is for reads of single entries.
    let _ = crc;
    let mut inner = Reader(bytes);
    let kind = inner.u8()?;
    let group = GroupId(inner.u64()?);
    let record = match kind {
        ENTRY => {
            let index = inner.u64()?;
            Record::Entry { index, at, length: inner.0.len() }
        }
        TRUNCATE => Record::Truncate { from: inner.u64()? },
        PURGE => Record::Purge { upto: inner.u64()?, mark: inner.0 },
        VOTE => Record::Vote(inner.0),
        COMMITTED => Record::Committed(inner.0),
        FORGET => Record::Forget,
        _ => return None,
    };
    Some((group, record))
}

/// Reads one entry whose record stands at `offset` of a file.
pub(super) fn read_entry(
    file: &dyn DiskFile,
    path: &Path,
    offset: u64,
    length: u32,
    (group, index): (GroupId, u64),
) -> Result<Arc<[u8]>> {
    let head = RECORD_HEAD_BYTES + ENTRY_HEAD_BYTES;
    let mut bytes = vec![0; head + length as usize];
    file.read_at(&mut bytes, offset).map_err(Error::io("read", path))?;
    let mut reader = Reader(&bytes);
    let (_, crc) = (reader.u32(), reader.u32());
    let checked = reader.0;
    let (kind, owner, found) = (reader.u8(), reader.u64(), reader.u64());
    let whole = crc == Some(crc32c::crc32c(checked))
        && (kind, owner, found) == (Some(ENTRY), Some(group.0), Some(index));
    if !whole {
        let reason = format!("entry {index} of group {} differs from what was written", group.0);
        return Err(Error::Corrupt { path: path.to_owned(), offset, reason });
    }
    Ok(bytes[head..].into())
}
