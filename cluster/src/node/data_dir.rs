//! The data directory: who has it, which format it is, and what lies where.

use crate::{Error, Result};
use oribi_model::TabletId;
use oribi_store::{
    disk::{Disk, DiskLock, create_dir_durably},
    small_file::{self, Kind},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

const FORMAT_NAME: &str = "ORIBI";
const FORMAT: Kind = Kind { magic: *b"ORIBIDIR", version: 1 };

/// A data directory that this process has to itself.
pub(super) struct DataDir {
    path: PathBuf,
    _lock: DiskLock,
}

impl DataDir {
    /// Makes the directory where it is missing, and takes it.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<DataDir> {
        let disk = &**disk;
        create_dir_durably(disk, &path)?;
        let lock_path = path.join("LOCK");
        let lock = disk.lock(&lock_path).map_err(oribi_store::Error::io("lock", &lock_path))?;
        let Some(lock) = lock else { return Err(Error::InUse { path }) };
        if small_file::read(disk, &path, FORMAT_NAME, FORMAT)?.is_none() {
            let names = disk.list(&path).map_err(oribi_store::Error::io("list", &path))?;
            let strange = |name: &&String| {
                *name != "LOCK" && !name.starts_with(FORMAT_NAME) && *name != "lost+found"
            };
            if let Some(name) = names.iter().find(strange) {
                let reason = format!(
                    "it holds {name:?} but was not made by oribi; expected an empty directory"
                );
                return Err(Error::DataDir { path, reason });
            }
            small_file::replace(disk, &path, FORMAT_NAME, FORMAT, b"{}")?;
        }
        for folder in [path.join("catalog"), path.join("tablets")] {
            create_dir_durably(disk, &folder)?;
        }
        Ok(DataDir { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn log(&self) -> PathBuf {
        self.path.join("log")
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.path.join("catalog")
    }

    pub(super) fn tablets(&self) -> PathBuf {
        self.path.join("tablets")
    }

    pub(super) fn trash(&self) -> PathBuf {
        self.path.join("trash")
    }

    pub(super) fn tablet(&self, tablet: TabletId) -> PathBuf {
        self.tablets().join(tablet.to_string())
    }
}
