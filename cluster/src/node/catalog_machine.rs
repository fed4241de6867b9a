//! The catalog as the state machine of group 0.

use crate::{
    Catalog, Error, Result,
    command::{Body, Command},
    machine::Machine,
};
use arc_swap::ArcSwap;
use oribi_model::{LogIndex, Marks};
use oribi_store::{
    Flushed,
    disk::Disk,
    small_file::{self, Kind},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

const NAME: &str = "CATALOG";
const KIND: Kind = Kind { magic: *b"ORIBICAT", version: 1 };

/// The newest catalog, and the file that holds an older one.
pub(crate) struct CatalogMachine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    current: ArcSwap<Catalog>,
    flushed: Mutex<Option<Flushed>>,
}

/// What the file holds: JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    flushed: Flushed,
    catalog: Catalog,
}

impl CatalogMachine {
    /// The catalog as its last flush left it.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<CatalogMachine> {
        let (mut catalog, mut flushed) = (Catalog::default(), None);
        if let Some(body) = small_file::read(&*disk, &dir, NAME, KIND)? {
            let form: Form = serde_json::from_slice(&body).map_err(|error| {
                let (path, reason) = (dir.join(NAME), error.to_string());
                oribi_store::Error::Corrupt { path, offset: 0, reason }
            })?;
            (catalog, flushed) = (form.catalog, Some(form.flushed));
            catalog.reindex();
        }
        let current = ArcSwap::from_pointee(catalog);
        Ok(CatalogMachine { disk, dir, current, flushed: Mutex::new(flushed) })
    }

    pub(crate) fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// Makes a catalog durable that has every entry up to `index`.
    pub(crate) fn flush(
        &self,
        catalog: &Catalog,
        index: LogIndex,
        raft_state: Vec<u8>,
    ) -> Result<(), Error> {
        let mut flushed = self.flushed.lock();
        if flushed.as_ref().is_some_and(|flushed| flushed.index >= index) {
            return Ok(());
        }
        let new = Flushed { index, raft_state, marks: Marks::default() };
        let form = Form { flushed: new, catalog: catalog.clone() };
        let body = serde_json::to_vec(&form).expect("a catalog is plain data");
        small_file::replace(&*self.disk, &self.dir, NAME, KIND, &body)?;
        *flushed = Some(form.flushed);
        Ok(())
    }
}

impl Machine for CatalogMachine {
    fn apply(&self, _: LogIndex, command: &Command) -> Result<(), String> {
        let Body::Change(change) = command.body() else {
            return Err(format!("the catalog has no use for {command}"));
        };
        let next = self.current.load().apply(change)?;
        self.current.store(Arc::new(next));
        Ok(())
    }

    fn flushed(&self) -> Option<Flushed> {
        self.flushed.lock().clone()
    }
}
