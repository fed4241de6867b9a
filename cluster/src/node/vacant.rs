//! A directory that becomes a node's by a restore.

use super::{
    catalog_machine,
    data_dir::{self, RESTORING},
};
use crate::{ClusterId, Error, NodeIdentity, Result, catalog::RestoredConnectors};
use oribi_model::TabletId;
use oribi_store::{
    disk::{Disk, DiskLock, create_dir_durably},
    log::{Log, LogOptions},
    small_file::{self, Kind},
};
use std::{path::PathBuf, sync::Arc};

const KIND: Kind = Kind { magic: *b"ORIBREST", version: 1 };

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredCatalog {
    /// The cluster that the directory is that of from now on.
    pub cluster: ClusterId,
    /// Its tables.
    pub tables: usize,
    /// Its tablets, those without any row too.
    pub tablets: usize,
    /// Its connectors that are paused now.
    pub paused: Vec<String>,
}

/// A directory that nobody has, taken for a restore. No node starts on it.
pub(crate) struct Vacant {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    _lock: DiskLock,
}

impl Vacant {
    /// Takes one that is empty or not there, or that was taken for the same backup before.
    ///
    /// # Errors
    /// [`Error::InUse`]; [`Error::DataDir`] where it holds something else.
    pub(crate) fn take(disk: Arc<dyn Disk>, path: PathBuf, backup: &str) -> Result<Vacant> {
        let lock = data_dir::take(&*disk, &path)?;
        if data_dir::is_taken(&*disk, &path)? {
            let reason = "it is a node's already; expected an empty directory".to_owned();
            return Err(Error::DataDir { path, reason });
        }
        let begun = small_file::read(&*disk, &path, RESTORING, KIND)?;
        let refuse = |reason: String| Err(Error::DataDir { path: path.clone(), reason });
        match begun {
            Some(name) if name == backup.as_bytes() => {}
            Some(name) => {
                let name = String::from_utf8_lossy(&name).into_owned();
                return refuse(format!("a restore of {name} broke off in it; expected the same"));
            }
            None => {
                let names = disk.list(&path).map_err(oribi_store::Error::io("list", &path))?;
                if let Some(name) = names.iter().find(|name| !data_dir::is_nothing(name)) {
                    return refuse(format!("it holds {name:?}; expected an empty directory"));
                }
                small_file::replace(&*disk, &path, RESTORING, KIND, backup.as_bytes())?;
            }
        }
        Ok(Vacant { disk, path, _lock: lock })
    }

    /// Where the files of a tablet go.
    pub(crate) fn tablet(&self, tablet: TabletId) -> PathBuf {
        self.path.join("tablets").join(tablet.to_string())
    }

    /// Writes the catalog and makes the directory that of the first node of a new cluster.
    ///
    /// # Errors
    /// A catalog that cannot be read; what the disk answers: it is no node's then.
    pub(crate) fn settle(
        self,
        catalog: &[u8],
        connectors: RestoredConnectors,
    ) -> Result<RestoredCatalog> {
        let dir = self.path.join("catalog");
        for folder in [&dir, &self.path.join("tablets")] {
            create_dir_durably(&*self.disk, folder)?;
        }
        let catalog = catalog_machine::restore(&*self.disk, &dir, catalog, connectors)?;
        // A node that has a catalog and no log has lost it.
        let log = Log::open(self.disk.clone(), self.path.join("log"), LogOptions::default())?;
        log.close();
        let cluster = ClusterId(data_dir::draw(&*self.disk));
        data_dir::write_first(&*self.disk, &self.path, NodeIdentity::first(cluster))?;
        let marker = self.path.join(RESTORING);
        self.disk.remove(&marker).map_err(oribi_store::Error::io("remove", &marker))?;
        let sync = self.disk.sync_dir(&self.path);
        sync.map_err(oribi_store::Error::io("sync", &self.path))?;
        Ok(RestoredCatalog {
            cluster,
            tables: catalog.tables().count(),
            tablets: catalog.tablets().count(),
            paused: catalog.paused().map(ToString::to_string).collect(),
        })
    }
}
