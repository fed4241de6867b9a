//! The data directory: who has it, which format it is, and what lies where.

mod leaving;

pub(crate) use leaving::{Remains, leave};

use crate::{ClusterId, Error, JoinNonce, NodeIdentity, Result};
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
/// The wish to join a cluster, of a directory that is nobody's yet.
const JOIN_NAME: &str = "JOIN";
const JOIN: Kind = Kind { magic: *b"ORIBJOIN", version: 1 };
/// Marks a directory in which a restore is not finished.
pub(super) const RESTORING: &str = "RESTORING";
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
        let (lock, known) = look(&**disk, &path)?;
        let disk = &**disk;
        if known == Known::Nothing && wish(disk, &path)?.is_some() {
            let reason = "it was about to join a cluster and has not yet; name that cluster again, or \
                          remove its file JOIN to begin a cluster of its own";
            return Err(Error::DataDir { path, reason: reason.into() });
        }
        let identity = match known {
            Known::Identity(before) => before.next_boot(),
            Known::Nothing | Known::Nameless => NodeIdentity::first(ClusterId(draw(disk))),
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

    /// Makes it the directory of a node of a new cluster, from the next run on.
    ///
    /// # Errors
    /// What the disk answers.
    pub(super) fn begin_cluster(&self, disk: &dyn Disk) -> Result<ClusterId> {
        let identity = NodeIdentity { cluster: ClusterId(draw(disk)), ..self.identity };
        write_identity(disk, &self.path, identity, Known::Nothing)?;
        Ok(identity.cluster)
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

/// A directory before it is opened: whose it is.
pub(crate) enum Claim {
    /// A node's, by its last run.
    Taken(NodeIdentity),
    /// Nobody's yet.
    Vacant(Vacancy),
}

/// A directory that is to become that of a node of a cluster, and has a wish to.
pub(crate) struct Vacancy {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    nonce: JoinNonce,
    _lock: DiskLock,
}

impl Claim {
    /// Looks whose the directory is; makes it where it is missing, and draws a wish for one that is
    /// nobody's. Blocks.
    ///
    /// # Errors
    /// As [`DataDir::open`].
    pub(crate) fn of(disk: Arc<dyn Disk>, path: PathBuf) -> Result<Claim> {
        let (lock, known) = look(&*disk, &path)?;
        match known {
            Known::Identity(identity) => return Ok(Claim::Taken(identity)),
            Known::Nameless => {
                let reason = "it has data of a node of its own; open it once without a cluster to \
                              join";
                return Err(Error::DataDir { path, reason: reason.into() });
            }
            Known::Nothing => {}
        }
        let nonce = match wish(&*disk, &path)? {
            Some(nonce) => nonce,
            None => {
                let nonce = JoinNonce(draw(&*disk));
                let body = nonce.to_string().into_bytes();
                small_file::replace(&*disk, &path, JOIN_NAME, JOIN, &body)?;
                nonce
            }
        };
        Ok(Claim::Vacant(Vacancy { disk, path, nonce, _lock: lock }))
    }
}

impl Vacancy {
    /// Its wish, the same from run to run.
    pub(crate) fn nonce(&self) -> JoinNonce {
        self.nonce
    }

    /// Makes it the directory of this node. Blocks.
    ///
    /// # Errors
    /// What the disk answers; the wish stays then.
    pub(crate) fn settle(self, identity: NodeIdentity) -> Result<()> {
        write_identity(&*self.disk, &self.path, identity, Known::Nothing)
    }
}

/// Takes the directory for this process; makes it where it is missing.
pub(super) fn take(disk: &dyn Disk, path: &Path) -> Result<DiskLock> {
    create_dir_durably(disk, path)?;
    let lock_path = path.join("LOCK");
    let lock = disk.lock(&lock_path).map_err(oribi_store::Error::io("lock", &lock_path))?;
    lock.ok_or_else(|| Error::InUse { path: path.to_owned() })
}

/// Makes sure that a directory is a node's, or may become one; makes it where it is missing. Blocks.
///
/// # Errors
/// As [`Node::open`](crate::Node::open), of what can be told without opening it.
pub fn vet(disk: &dyn Disk, path: &Path) -> Result<()> {
    look(disk, path).map(drop)
}

/// Whether the directory is a node's.
pub(super) fn is_taken(disk: &dyn Disk, path: &Path) -> Result<bool> {
    Ok(read_identity(disk, path)? != Known::Nothing)
}

/// Whether a directory with a file of this name may be nobody's all the same.
pub(super) fn is_nothing(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "LOCK",
        "admin.token",
        "audit",
        "cluster.key",
        "connector-files",
        "lost+found",
        "node.key",
        "tls",
    ];
    // One that is about to take the place of another.
    NAMES.contains(&name.strip_suffix(".new").unwrap_or(name))
}

/// Takes the directory for this process, and reads what it says of its node.
fn look(disk: &dyn Disk, path: &Path) -> Result<(DiskLock, Known)> {
    let lock = take(disk, path)?;
    leaving::finish(disk, path)?;
    let known = read_identity(disk, path)?;
    if known == Known::Nothing {
        let names = disk.list(path).map_err(oribi_store::Error::io("list", path))?;
        let strange = |name: &&String| {
            let ours = [FORMAT_NAME, JOIN_NAME].iter().any(|own| name.starts_with(own));
            !is_nothing(name) && !ours
        };
        if names.iter().any(|name| name == RESTORING) {
            let reason = "a restore into it is not finished; run it again".to_owned();
            return Err(Error::DataDir { path: path.to_owned(), reason });
        }
        if let Some(name) = names.iter().find(strange) {
            let reason =
                format!("it holds {name:?} but was not made by oribi; expected an empty directory");
            return Err(Error::DataDir { path: path.to_owned(), reason });
        }
    }
    Ok((lock, known))
}

/// The wish that was noted down.
fn wish(disk: &dyn Disk, path: &Path) -> Result<Option<JoinNonce>> {
    let Some(body) = small_file::read(disk, path, JOIN_NAME, JOIN)? else { return Ok(None) };
    let nonce = str::from_utf8(&body).ok().and_then(|text| text.parse().ok());
    let path = path.join(JOIN_NAME);
    let reason = "it holds no wish".to_owned();
    let nonce = nonce.ok_or(oribi_store::Error::Corrupt { path, offset: 0, reason })?;
    Ok(Some(nonce))
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

/// Makes a directory that is nobody's that of a node with an identity from elsewhere.
pub(super) fn write_first(disk: &dyn Disk, path: &Path, identity: NodeIdentity) -> Result<()> {
    create_dir_durably(disk, path)?;
    write_identity(disk, path, identity, Known::Nothing)
}

pub(super) fn draw(disk: &dyn Disk) -> u128 {
    u128::from(disk.salt()) << 64 | u128::from(disk.salt())
}
