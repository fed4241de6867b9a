//! The data directory: who has it, which format it is, and what lies where.

use crate::{ClusterId, Error, NodeIdentity, Result};
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
    identity: NodeIdentity,
    _lock: DiskLock,
}

impl DataDir {
    /// Makes the directory where it is missing, and takes it for another run of its node. One that
    /// is new, or has never known of clusters, is that of the first node of a cluster of its own.
    pub(super) fn open(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<DataDir> {
        let disk = &**disk;
        create_dir_durably(disk, &path)?;
        let lock_path = path.join("LOCK");
        let lock = disk.lock(&lock_path).map_err(oribi_store::Error::io("lock", &lock_path))?;
        let Some(lock) = lock else { return Err(Error::InUse { path }) };
        let known = read_identity(disk, &path)?;
        if known == Known::Nothing {
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
        }
        let identity = match known {
            Known::Identity(before) => before.next_boot(),
            Known::Nothing | Known::Nameless => NodeIdentity::first(draw_cluster(disk)),
        };
        write_identity(disk, &path, identity, known)?;
        for folder in [path.join("catalog"), path.join("tablets")] {
            create_dir_durably(disk, &folder)?;
        }
        Ok(DataDir { path, identity, _lock: lock })
    }

    /// Who the node is in this run.
    pub(super) fn identity(&self) -> NodeIdentity {
        self.identity
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

/// What a directory says of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    /// It is a data directory of a time when there were no clusters.
    Nameless,
    Identity(NodeIdentity),
}

fn read_identity(disk: &dyn Disk, path: &Path) -> Result<Known> {
    let Some(body) = small_file::read(disk, path, FORMAT_NAME, FORMAT)? else {
        return Ok(Known::Nothing);
    };
    if body == b"{}" {
        return Ok(Known::Nameless);
    }
    let identity = serde_json::from_slice(&body).map_err(|error| {
        let (path, reason) = (path.join(FORMAT_NAME), error.to_string());
        oribi_store::Error::Corrupt { path, offset: 0, reason }
    })?;
    Ok(Known::Identity(identity))
}

/// A full disk does not keep a node that is known from starting. Then the next run may have the
/// same number, whose connections take the place of this one's all the same.
fn write_identity(
    disk: &dyn Disk,
    path: &Path,
    identity: NodeIdentity,
    known: Known,
) -> Result<()> {
    let body = serde_json::to_vec(&identity).expect("an identity is plain data");
    match small_file::replace(disk, path, FORMAT_NAME, FORMAT, &body) {
        Err(error) if matches!(known, Known::Identity(_)) && error.is_retryable() => {
            tracing::warn!(%error, boot = identity.boot.0, "cannot note down this run of the node");
            Ok(())
        }
        outcome => Ok(outcome?),
    }
}

/// Makes the directory of a node that has an identity from elsewhere.
#[cfg(test)]
pub(super) fn write_first(disk: &dyn Disk, path: &Path, identity: NodeIdentity) -> Result<()> {
    create_dir_durably(disk, path)?;
    write_identity(disk, path, identity, Known::Nothing)
}

fn draw_cluster(disk: &dyn Disk) -> ClusterId {
    ClusterId(u128::from(disk.salt()) << 64 | u128::from(disk.salt()))
}
