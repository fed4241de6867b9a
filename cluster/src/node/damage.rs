//! Losses that a second look would not find again: one small file, kept until an operator has seen
//! it and removes it.

use crate::Result;
use oribi_store::{
    disk::Disk,
    small_file::{self, Kind},
};
use serde::{Deserialize, Serialize};
use std::path::Path;

const NAME: &str = "DAMAGE";
const KIND: Kind = Kind { magic: *b"ORIBIDMG", version: 1 };

/// What was lost: the file's content, JSON.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Damage {
    /// What happened to the log, if something did.
    pub(super) log: Option<String>,
}

impl Damage {
    /// Reads the file of a data directory. One that is itself damaged counts as a loss.
    ///
    /// # Errors
    /// [`oribi_store::Error::Io`] or [`oribi_store::Error::FutureFormat`].
    pub(super) fn read(disk: &dyn Disk, dir: &Path) -> Result<Damage> {
        let unreadable = |reason: String| Damage { log: Some(format!("{NAME}: {reason}")) };
        Ok(match small_file::read(disk, dir, NAME, KIND) {
            Ok(None) => Damage::default(),
            Ok(Some(body)) => {
                serde_json::from_slice(&body).unwrap_or_else(|error| unreadable(error.to_string()))
            }
            Err(error @ oribi_store::Error::Corrupt { .. }) => unreadable(error.to_string()),
            Err(error) => return Err(error.into()),
        })
    }

    /// Notes it down. Where that cannot be written, it counts for as long as the process runs.
    pub(super) fn write(&self, disk: &dyn Disk, dir: &Path) {
        let body = serde_json::to_vec(self).expect("damage is plain data");
        if let Err(error) = small_file::replace(disk, dir, NAME, KIND, &body) {
            tracing::error!(%error, "cannot note a loss down");
        }
    }
}
