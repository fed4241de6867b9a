//! Bytes of log files: a header, then frames of records.

use super::{GroupId, GroupState, Op};
use crate::{Error, Result, bits::Reader, checksum, disk::DiskFile};
use std::{path::Path, sync::Arc};

pub(super) const MAGIC: [u8; 8] = *b"ORIBILOG";
/// The newest layout.
pub(super) const FORMAT_VERSION: u32 = 2;
/// `magic u32 | crc u32 | length u32 | zero u32 | sequence u64`
pub(super) const FRAME_HEAD_BYTES: usize = 24;
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
const TOMBSTONE: u8 = 7;

/// How the frames of a file are told from other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Format version 1: whoever has bytes written can make them look like a frame.
    Plain,
    /// Format version 2: every checksum begins with a number that only the file's header says.
    Salted(u64),
}

impl Format {
    /// The first bytes of every frame.
    pub(super) fn frame_magic(self) -> [u8; 4] {
        match self {
            Format::Plain => *b"FRM1",
            Format::Salted(_) => *b"FRM2",
        }
    }

    /// Where the first frame begins.
    pub(super) fn header_bytes(self) -> usize {
        match self {
            Format::Plain => 32,
            Format::Salted(_) => 40,
        }
    }

    fn crc(self, bytes: &[u8]) -> u32 {
        match self {
            Format::Plain => crc32c::crc32c(bytes),
            Format::Salted(salt) => {
                crc32c::crc32c_append(crc32c::crc32c(&salt.to_le_bytes()), bytes)
            }
        }
    }
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) format: Format,
    /// That of the first frame.
    pub(super) sequence: u64,
}

impl Header {
    /// Its bytes in file `number`.
    pub(super) fn encode(self, number: u64) -> Vec<u8> {
        let (version, salt): (u32, Option<u64>) = match self.format {
            Format::Plain => (1, None),
            Format::Salted(salt) => (FORMAT_VERSION, Some(salt)),
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&version.to_le_bytes());
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend(salt.iter().flat_map(|salt| salt.to_le_bytes()));
        let crc = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The header at the start of file `number`; `None` where these are not the bytes of one.
    pub(super) fn parse(bytes: &[u8], number: u64, path: &Path) -> Result<Option<Header>> {
        Ok(match bytes.get(8..12) {
            Some(&[1, 0, 0, 0]) => Header::parse_as(bytes, number, Format::Plain),
            Some(&[2, 0, 0, 0]) => Header::parse_as(bytes, number, Format::Salted(0)),
            Some(version) if bytes[..8] == MAGIC => {
                // What a later version puts behind it is not known, so no checksum tells whether
                // it is one or a byte that differs; to refuse is right for both.
                let found = Reader(version).u32().unwrap_or(0);
                if found > FORMAT_VERSION {
                    let (path, known) = (path.to_owned(), FORMAT_VERSION);
                    return Err(Error::FutureFormat { path, found, known });
                }
                None
            }
            _ => None,
        })
    }

    fn parse_as(bytes: &[u8], number: u64, format: Format) -> Option<Header> {
        let (covered, crc) = bytes.get(..format.header_bytes())?.split_last_chunk::<4>()?;
        let mut reader = Reader(covered);
        let magic = reader.bytes(8)? == MAGIC;
        reader.u32()?;
        let (found, sequence) = (reader.u64()?, reader.u64()?);
        let format = match format {
            Format::Plain => Format::Plain,
            Format::Salted(_) => Format::Salted(reader.u64()?),
        };
        let right = checksum::agree(u32::from_le_bytes(*crc), crc32c::crc32c(covered));
        let whole = magic && found == number && right;
        whole.then_some(Header { format, sequence })
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
            Op::Truncate { from } => {
                self.record(TRUNCATE, group, Some(*from), &[]);
            }
            Op::Purge { upto, mark } => {
                self.record(PURGE, group, Some(*upto), mark);
            }
            Op::Vote(bytes) => {
                self.record(VOTE, group, None, bytes);
            }
            Op::Committed(bytes) => {
                self.record(COMMITTED, group, None, bytes);
            }
            Op::Forget { tombstone: None } => {
                self.record(FORGET, group, None, &[]);
            }
            Op::Forget { tombstone: Some(upto) } => {
                self.record(FORGET, group, None, &upto.to_le_bytes());
            }
            Op::Lift => {
                self.record(TOMBSTONE, group, None, &[]);
            }
        }
    }

    /// Appends which replicas of a group may not come back, for a reader that starts here.
    pub(super) fn push_tombstone(&mut self, group: GroupId, upto: u32) {
        self.record(TOMBSTONE, group, None, &upto.to_le_bytes());
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
    pub(super) fn seal(&mut self, sequence: u64, format: Format) -> &[u8] {
        let length = (self.bytes.len() - FRAME_HEAD_BYTES) as u32;
        self.bytes[..4].copy_from_slice(&format.frame_magic());
        self.bytes[8..12].copy_from_slice(&length.to_le_bytes());
        self.bytes[12..16].copy_from_slice(&[0; 4]);
        self.bytes[16..24].copy_from_slice(&sequence.to_le_bytes());
        let crc = format.crc(&self.bytes[8..]);
        self.bytes[4..8].copy_from_slice(&crc.to_le_bytes());
        &self.bytes
    }
}

/// The body and the sequence of the frame at the start of `bytes`, if it is whole and its sequence
/// is one that `wanted` takes.
pub(super) fn parse_frame(
    bytes: &[u8],
    format: Format,
    wanted: impl FnOnce(u64) -> bool,
) -> Option<(&[u8], u64)> {
    let mut reader = Reader(bytes);
    if reader.bytes(4)? != format.frame_magic() {
        return None;
    }
    let crc = reader.u32()?;
    let checked = reader.0;
    let length = reader.u32()? as usize;
    reader.u32()?;
    let sequence = reader.u64()?;
    let body = reader.bytes(length)?;
    let covered = FRAME_HEAD_BYTES - 8 + length;
    // Bytes that are none of this file's frames are not read to their end.
    let right = wanted(sequence) && checksum::agree(crc, format.crc(&checked[..covered]));
    right.then_some((body, sequence))
}

/// What `bytes` say is the sequence of a frame that they begin with, whole or not.
pub(super) fn sequence_of(bytes: &[u8], format: Format) -> Option<u64> {
    let head = bytes.get(..FRAME_HEAD_BYTES)?;
    head.starts_with(&format.frame_magic()).then_some(())?;
    Reader(&head[16..]).u64()
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
    Forget {
        tombstone: Option<u32>,
    },
    /// As it stood when the file began, or none any more.
    Tombstone {
        upto: Option<u32>,
    },
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
        FORGET => Record::Forget { tombstone: parse_upto(&mut inner)? },
        TOMBSTONE => Record::Tombstone { upto: parse_upto(&mut inner)? },
        _ => return None,
    };
    Some((group, record))
}

/// Nothing, or the incarnation of a tombstone.
fn parse_upto(reader: &mut Reader<'_>) -> Option<Option<u32>> {
    if reader.0.is_empty() { Some(None) } else { reader.u32().map(Some) }
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
    let right = crc.is_some_and(|crc| checksum::agree(crc, crc32c::crc32c(checked)));
    let whole = right && (kind, owner, found) == (Some(ENTRY), Some(group.0), Some(index));
    if !whole {
        let reason = format!("entry {index} of group {} differs from what was written", group.0);
        return Err(Error::Corrupt { path: path.to_owned(), offset, reason });
    }
    Ok(bytes[head..].into())
}
