//! Which segments make up a tablet: one small file, replaced as a whole. Its layout stands in
//! docs/formats/manifest.md.

use crate::{Error, Result, disk::Disk};
use oribi_model::{LogIndex, TabletId, TagPredicate, TimeRange};
use serde::{Deserialize, Serialize};
use std::{io, path::Path};

pub(crate) const NAME: &str = "MANIFEST";
pub(crate) const TEMPORARY: &str = "MANIFEST.tmp";
const MAGIC: [u8; 8] = *b"ORIBIMAN";
const FORMAT_VERSION: u32 = 1;
const HEAD_BYTES: usize = 20;

/// What a flush made durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Every entry up to this one is in segments.
    pub index: LogIndex,
    /// The caller's own state as of that entry.
    pub raft_state: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) tablet: TabletId,
    pub(crate) flushed: Option<Flushed>,
    /// By ascending log index.
    pub(crate) segments: Vec<SegmentEntry>,
    pub(crate) deletes: Vec<Delete>,
}

/// A segment and what compaction wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SegmentEntry {
    pub(crate) number: u64,
    /// First and last log index whose rows are inside.
    pub(crate) first: LogIndex,
    pub(crate) last: LogIndex,
    /// Deletes up to this index have been carried out in the file.
    pub(crate) cleaned: LogIndex,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    /// Smallest and largest time.
    pub(crate) time: (i64, i64),
    pub(crate) series: u64,
}

/// Rows of lower log index that are hidden.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Delete {
    pub(crate) index: LogIndex,
    pub(crate) time: TimeRange,
    pub(crate) tags: TagPredicate,
}

impl Delete {
    /// Whether rows of a source with these bounds have yet to be hidden.
    pub(crate) fn concerns(&self, last: LogIndex, cleaned: LogIndex) -> bool {
        last < self.index && cleaned < self.index
    }
}

impl Manifest {
    pub(crate) fn write(&self, disk: &dyn Disk, dir: &Path) -> Result<()> {
        let body = serde_json::to_vec(self).expect("a manifest is plain data");
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        let (temporary, path) = (dir.join(TEMPORARY), dir.join(NAME));
        match disk.remove(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove", temporary)(error));
            }
            _ => {}
        }
        let file = disk.create(&temporary).map_err(Error::io("create", &temporary))?;
        file.write_at(&bytes, 0).map_err(Error::io("write", &temporary))?;
        file.sync().map_err(Error::io("sync", &temporary))?;
        disk.rename(&temporary, &path).map_err(Error::io("rename", &temporary))?;
        disk.sync_dir(dir).map_err(Error::io("sync", dir))
    }

    pub(crate) fn read(disk: &dyn Disk, dir: &Path, tablet: TabletId) -> Result<Manifest> {
        let path = dir.join(NAME);
        let file = disk.open(&path).map_err(Error::io("open", &path))?;
        let length = file.len().map_err(Error::io("measure", &path))?;
        let mut bytes = vec![0; length as usize];
        file.read_at(&mut bytes, 0).map_err(Error::io("read", &path))?;
        let corrupt = |offset, reason: &str| {
            let (path, reason) = (path.clone(), reason.to_owned());
            Error::Corrupt { path, offset, reason }
        };
        if bytes.len() < HEAD_BYTES || bytes[..8] != MAGIC {
            return Err(corrupt(0, "this is not a manifest"));
        }
        let word = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let body = &bytes[HEAD_BYTES..];
        if word(8) > FORMAT_VERSION {
            return Err(Error::FutureFormat {
                path: path.clone(),
                found: word(8),
                known: FORMAT_VERSION,
            });
        }
        if word(8) != FORMAT_VERSION
            || word(12) as usize != body.len()
            || word(16) != crc32c::crc32c(body)
        {
            return Err(corrupt(8, "the length or checksum differs"));
        }
        let manifest: Manifest = serde_json::from_slice(body)
            .map_err(|error| corrupt(HEAD_BYTES as u64, &error.to_string()))?;
        if manifest.tablet != tablet {
            let (found, expected) = (manifest.tablet, tablet);
            return Err(Error::WrongTablet { path: path.clone(), found, expected });
        }
        Ok(manifest)
    }
}
