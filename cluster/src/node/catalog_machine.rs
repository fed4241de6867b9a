//! The catalog as the state machine of group 0.

mod before;
mod copied;
mod restored;

use crate::{
    Catalog, Change, Error, Result,
    command::{Body, Command},
    machine::{Machine, Pinned, Staged},
};
use arc_swap::ArcSwap;
use before::BeforeDrops;
use copied::{CatalogCopy, CatalogPin};
use oribi_model::{LogIndex, Marks};
use oribi_store::{
    FileSum, Flushed,
    disk::Disk,
    small_file::{self, Kind},
};
use parking_lot::Mutex;
pub(super) use restored::restore;
use serde::{Deserialize, Serialize};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// Two files are written in turn, each as a whole, so that one that is lost or damaged costs
/// nothing: the log is kept from the older one on.
const NAMES: [&str; 2] = ["CATALOG", "CATALOG.2"];
const KIND: Kind = Kind { magic: *b"ORIBICAT", version: 1 };

/// The newest catalog, and the files that hold older ones.
pub(crate) struct CatalogMachine {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    current: ArcSwap<Catalog>,
    /// The newest entry that changed more than how far connectors have got.
    restructured: watch::Sender<u64>,
    /// What each file holds.
    files: Mutex<[Option<Flushed>; 2]>,
    before_drops: Mutex<BeforeDrops>,
    /// How often tablets may have gone.
    drops: AtomicU64,
}

/// What a file holds: JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<F, C> {
    flushed: F,
    catalog: C,
}

/// The catalog as found on disk.
pub(crate) struct Found {
    pub(crate) machine: CatalogMachine,
    /// Files that could not be read, with the reason.
    pub(crate) damaged: Vec<(PathBuf, String)>,
}

impl CatalogMachine {
    /// The catalog as its newest readable file has it. Changes nothing on disk.
    ///
    /// # Errors
    /// A file of a later version, or one that the system does not let be read.
    pub(crate) fn open(disk: Arc<dyn Disk>, dir: PathBuf) -> Result<Found> {
        let (mut catalog, mut files, mut damaged) = (Catalog::default(), [None, None], Vec::new());
        let mut newest = None;
        for (at, name) in NAMES.iter().enumerate() {
            match read(&*disk, &dir, name) {
                Ok(None) => {}
                Ok(Some(form)) => {
                    if newest < Some(form.flushed.index) {
                        (newest, catalog) = (Some(form.flushed.index), form.catalog);
                    }
                    files[at] = Some(form.flushed);
                }
                Err(oribi_store::Error::Corrupt { path, reason, .. }) => {
                    damaged.push((path, reason));
                }
                Err(error) => return Err(error.into()),
            }
        }
        catalog.reindex();
        let current = ArcSwap::from_pointee(catalog);
        let (restructured, files) = (watch::Sender::new(0), Mutex::new(files));
        let (before_drops, drops) = (Mutex::default(), AtomicU64::new(0));
        let machine =
            CatalogMachine { disk, dir, current, restructured, files, before_drops, drops };
        Ok(Found { machine, damaged })
    }

    /// Whether some file could be read.
    pub(crate) fn has_file(&self) -> bool {
        self.files.lock().iter().any(Option::is_some)
    }

    /// Whether more has changed since the newest file than how far connectors have got.
    pub(crate) fn is_restructured(&self) -> bool {
        let flushed = self.flushed().map_or(0, |flushed| flushed.index.0);
        *self.restructured.borrow() > flushed
    }

    /// Told of every entry that changes more than how far connectors have got: its index.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.restructured.subscribe()
    }

    pub(crate) fn current(&self) -> Arc<Catalog> {
        self.current.load_full()
    }

    /// The catalog as it was before an entry that dropped something, as long as that is not long ago.
    pub(crate) fn before_drop(&self, index: LogIndex) -> Option<Arc<Catalog>> {
        self.before_drops.lock().get(index)
    }

    /// Grows each time tablets may have gone, once the current catalog lacks them.
    pub(crate) fn drops(&self) -> u64 {
        self.drops.load(Ordering::Acquire)
    }

    /// Makes a catalog durable that has every entry up to `index`, in the place of the older of
    /// the two that are.
    pub(crate) fn flush(
        &self,
        catalog: &Catalog,
        index: LogIndex,
        raft_state: Vec<u8>,
    ) -> Result<(), Error> {
        let mut files = self.files.lock();
        let older = usize::from(index_of(&files[1]) < index_of(&files[0]));
        if index_of(&files[older]) >= Some(index) {
            return Ok(());
        }
        let flushed = Flushed { index, raft_state, marks: Marks::default() };
        let body = serde_json::to_vec(&Form { flushed: &flushed, catalog })
            .expect("a catalog is plain data");
        small_file::replace(&*self.disk, &self.dir, NAMES[older], KIND, &body)?;
        files[older] = Some(flushed);
        Ok(())
    }
}

impl CatalogMachine {
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Puts what a file of another replica says in the place of what is here, in both files: the
    /// log has nothing before it.
    pub(super) fn take_over(&self, body: &[u8]) -> Result<Flushed> {
        let unreadable = |error: serde_json::Error| {
            Error::Refused(format!("the other replica's catalog cannot be read: {error}"))
        };
        let form: Form<Flushed, Catalog> = serde_json::from_slice(body).map_err(unreadable)?;
        let Form { flushed, mut catalog } = form;
        let mut files = self.files.lock();
        let older = usize::from(index_of(&files[1]) < index_of(&files[0]));
        for at in [older, 1 - older] {
            small_file::replace(&*self.disk, &self.dir, NAMES[at], KIND, body)?;
            files[at] = Some(flushed.clone());
        }
        catalog.reindex();
        self.current.store(Arc::new(catalog));
        self.drops.fetch_add(1, Ordering::AcqRel);
        self.restructured.send_replace(flushed.index.0);
        Ok(flushed)
    }
}

fn drops_tablets(change: &Change) -> bool {
    matches!(
        change,
        Change::DropDatabase { .. } | Change::DropTable { .. } | Change::DropTablets { .. }
    )
}

fn index_of(flushed: &Option<Flushed>) -> Option<LogIndex> {
    flushed.as_ref().map(|flushed| flushed.index)
}

fn read(
    disk: &dyn Disk,
    dir: &Path,
    name: &str,
) -> oribi_store::Result<Option<Form<Flushed, Catalog>>> {
    let Some(body) = small_file::read(disk, dir, name, KIND)? else { return Ok(None) };
    let form = serde_json::from_slice(&body).map_err(|error| {
        let (path, reason) = (dir.join(name), error.to_string());
        oribi_store::Error::Corrupt { path, offset: 0, reason }
    })?;
    Ok(Some(form))
}

impl Machine for CatalogMachine {
    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String> {
        let Body::Change(change) = command.body() else {
            return Err(format!("the catalog has no use for {command}"));
        };
        let before = self.current.load_full();
        let next = before.apply(change)?;
        if drops_tablets(change) {
            self.before_drops.lock().keep(index, before);
        }
        self.current.store(Arc::new(next));
        if drops_tablets(change) {
            self.drops.fetch_add(1, Ordering::AcqRel);
        }
        if !matches!(**change, Change::SaveCursors { .. }) {
            self.restructured.send_replace(index.0);
        }
        Ok(())
    }

    fn flushed(&self) -> Option<Flushed> {
        let files = self.files.lock();
        files.iter().flatten().max_by_key(|flushed| flushed.index).cloned()
    }

    fn pin(&self) -> Result<Option<Arc<dyn Pinned>>> {
        let files = self.files.lock();
        let newest = usize::from(index_of(&files[1]) > index_of(&files[0]));
        let Some(flushed) = files[newest].clone() else { return Ok(None) };
        let body = small_file::read(&*self.disk, &self.dir, NAMES[newest], KIND)?;
        let path = || self.dir.join(NAMES[newest]);
        let body = body.ok_or_else(|| oribi_store::Error::Missing { path: path() })?;
        Ok(Some(Arc::new(CatalogPin { flushed, body })))
    }

    fn stage(self: Arc<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        Ok(Box::new(CatalogCopy::begin(self, sums)?))
    }

    fn purgeable(&self) -> Option<Flushed> {
        let files = self.files.lock();
        let [Some(one), Some(other)] = &*files else { return None };
        Some(if one.index < other.index { one.clone() } else { other.clone() })
    }
}
