//! A tablet as a copy of its files kept elsewhere brings it back.

use super::{Flushed, open::segment_name};
use crate::{
    Result,
    disk::Disk,
    manifest::{KIND, Manifest, NAME},
    small_file,
};
use oribi_model::TabletId;
use std::path::Path;

/// What the first file of a [`Pin`](super::Pin) says, before it makes a folder a tablet's again.
pub struct Recalled {
    manifest: Manifest,
}

impl Recalled {
    /// Reads that file.
    ///
    /// # Errors
    /// Bytes that are no manifest, or that of another tablet.
    pub fn read(file: &[u8], tablet: TabletId) -> Result<Recalled, String> {
        let manifest = Manifest::decode(file)?;
        if manifest.tablet != tablet {
            return Err(format!("it is that of tablet {}, not of {tablet}", manifest.tablet));
        }
        Ok(Recalled { manifest })
    }

    /// What the files have.
    pub fn flushed(&self) -> Option<&Flushed> {
        self.manifest.flushed.as_ref()
    }

    /// The names that the other files of the pin have in the folder, in the pin's order.
    pub fn names(&self) -> Vec<String> {
        self.manifest.segments.iter().map(|entry| segment_name(entry.number)).collect()
    }

    /// Rows of all segments; one that was written again counts each time.
    pub fn rows(&self) -> u64 {
        self.manifest.segments.iter().map(|entry| entry.rows).sum()
    }

    /// Writes the manifest, with another state of its caller, beside the segments in `dir`: from then
    /// on it is the folder of a tablet.
    ///
    /// # Errors
    /// What the disk answers.
    pub fn settle(mut self, disk: &dyn Disk, dir: &Path, raft_state: Vec<u8>) -> Result<()> {
        if let Some(flushed) = &mut self.manifest.flushed {
            flushed.raft_state = raft_state;
        }
        small_file::replace(disk, dir, NAME, KIND, &self.manifest.encode())
    }
}
