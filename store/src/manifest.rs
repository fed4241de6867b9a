//! Which segments make up a tablet: one small file, replaced as a whole. Its layout stands in
//! docs/formats/manifest.md.

use crate::{
    Error, Result,
    disk::Disk,
    small_file::{self, Kind, Staged},
};
use oribi_model::{LogIndex, Marks, TabletId, TagPredicate, TimeRange};
use serde::{Deserialize, Serialize};
use std::path::Path;

pub(crate) const NAME: &str = "MANIFEST";
pub(crate) const KIND: Kind = Kind { magic: *b"ORIBIMAN", version: 1 };

/// What a flush made durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flushed {
    /// Every entry up to this one is in segments.
    pub index: LogIndex,
    /// The caller's own state as of that entry.
    pub raft_state: Vec<u8>,
    /// What the entries up to there have seen of sources that can be read again.
    #[serde(default, skip_serializing_if = "Marks::is_empty")]
    pub marks: Marks,
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
    /// Writes it beside the one in `dir`.
    pub(crate) fn stage<'a>(&self, disk: &'a dyn Disk, dir: &'a Path) -> Result<Staged<'a>> {
        Staged::write(disk, dir, NAME, KIND, &self.encode())
    }

    /// The body of its file.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data")
    }

    /// Reads what [`Manifest::encode`] gave.
    pub(crate) fn decode(body: &[u8]) -> Result<Manifest, String> {
        serde_json::from_slice(body).map_err(|error| error.to_string())
    }

    pub(crate) fn read(disk: &dyn Disk, dir: &Path, tablet: TabletId) -> Result<Manifest> {
        let path = dir.join(NAME);
        let body = small_file::read(disk, dir, NAME, KIND)?;
        let body = body.ok_or_else(|| Error::Missing { path: path.clone() })?;
        let manifest = Manifest::decode(&body).map_err(|reason| Error::Corrupt {
            path: path.clone(),
            offset: 0,
            reason,
        })?;
        if manifest.tablet != tablet {
            let (found, expected) = (manifest.tablet, tablet);
            return Err(Error::WrongTablet { path, found, expected });
        }
        Ok(manifest)
    }
}
