//! The tablets that a node hosts, kept in step with the catalog.

use super::{data_dir::DataDir, tablet_machine::TabletMachine};
use crate::{Catalog, Error, Result, replica::Replica};
use oribi_model::{LogIndex, NodeId, TableId, TabletId, TabletSpec};
use oribi_store::{
    Tablet, TabletOptions,
    disk::Disk,
    log::{GroupId, Log, Op},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// A tablet and its replica.
pub(super) struct Hosted {
    pub(super) tablet: Arc<Tablet>,
    pub(super) replica: Replica,
    /// The log index as of the last look, and since when it has been so, ms of the node's life.
    pub(super) seen: Mutex<(Option<LogIndex>, u64)>,
}

impl Hosted {
    /// Freezes what was applied and writes it to a segment. Blocks.
    pub(super) fn flush(&self) -> Result<bool> {
        self.replica.seal(|index, state| self.tablet.seal(index, state));
        Ok(self.tablet.flush()?.is_some())
    }
}

/// All tablets of a node.
pub(super) struct Hosting {
    pub(super) node: NodeId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<DataDir>,
    pub(super) log: Arc<Log>,
    pub(super) options: TabletOptions,
    pub(super) memtable_bytes: Arc<AtomicUsize>,
    pub(super) flushes: AtomicU64,
    pub(super) compactions: AtomicU64,
    tablets: RwLock<HashMap<TabletId, Arc<Hosted>>>,
    /// Held while tablets come and go.
    changing: Mutex<()>,
}

pub(super) fn group_of(tablet: TabletId) -> GroupId {
    GroupId(tablet.0)
}

impl Hosting {
    pub(super) fn new(
        node: NodeId,
        disk: Arc<dyn Disk>,
        dir: Arc<DataDir>,
        log: Arc<Log>,
        options: TabletOptions,
    ) -> Hosting {
        Hosting {
            node,
            disk,
            dir,
            log,
            options,
            memtable_bytes: Arc::default(),
            flushes: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            tablets: RwLock::default(),
            changing: Mutex::default(),
        }
    }

    /// Opens every tablet of the catalog on several threads, and removes what a drop that was
    /// cut short left behind. Blocks.
    pub(super) fn open_all(&self, catalog: &Catalog) -> Result<()> {
        let names = self.disk.list(&self.dir.tablets());
        for name in names.map_err(oribi_store::Error::io("list", self.dir.tablets()))? {
            if let Ok(id) = name.parse().map(TabletId)
                && catalog.tablet(id).is_none()
            {
                Tablet::drop_files(&*self.disk, &self.dir.tablet(id))?;
            }
        }
        for group in self.log.groups() {
            if group.0 != 0 && catalog.tablet(TabletId(group.0)).is_none() {
                self.log.submit(group, Op::Forget, Box::new(|_| {}));
            }
        }
        let specs = Mutex::new(catalog.tablets().copied().collect::<Vec<_>>());
        let opened = Mutex::new(Ok(HashMap::new()));
        let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let Some(spec) = specs.lock().pop() else { return };
                        let outcome = self.open(spec);
                        let mut opened = opened.lock();
                        match (&mut *opened, outcome) {
                            (Ok(map), Ok(hosted)) => drop(map.insert(spec.id, hosted)),
                            (Ok(_), Err(error)) => *opened = Err(error),
                            (Err(_), _) => return,
                        }
                    }
                });
            }
        });
        *self.tablets.write() = opened.into_inner()?;
        self.count_memtables();
        Ok(())
    }

    fn open(&self, spec: TabletSpec) -> Result<Arc<Hosted>> {
        let dir = self.dir.tablet(spec.id);
        let tablet = Tablet::create(self.disk.clone(), dir, spec, self.options.clone())?;
        let tablet = Arc::new(tablet);
        let memtable_bytes = self.memtable_bytes.clone();
        let machine = Arc::new(TabletMachine { tablet: tablet.clone(), memtable_bytes });
        let group = group_of(spec.id);
        let replica = Replica::recover(self.node, group, self.log.clone(), machine)?;
        Ok(Arc::new(Hosted { tablet, replica, seen: Mutex::default() }))
    }

    /// The tablet, opened where the catalog has it. May block on the disk for a moment.
    pub(super) fn get_or_open(&self, id: TabletId, catalog: &Catalog) -> Result<Arc<Hosted>> {
        if let Some(hosted) = self.get(id) {
            return Ok(hosted);
        }
        let spec = *catalog.tablet(id).ok_or(Error::NoTablet(id))?;
        let _one = self.changing.lock();
        if let Some(hosted) = self.get(id) {
            return Ok(hosted);
        }
        let hosted = self.open(spec)?;
        self.tablets.write().insert(id, hosted.clone());
        Ok(hosted)
    }

    pub(super) fn get(&self, id: TabletId) -> Option<Arc<Hosted>> {
        self.tablets.read().get(&id).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Hosted>> {
        self.tablets.read().values().cloned().collect()
    }

    /// The tablets of a table by ascending start, as far as they are open.
    pub(super) fn of_table(&self, catalog: &Catalog, table: TableId) -> Vec<Arc<Hosted>> {
        let tablets = self.tablets.read();
        let specs = catalog.tablets_of(table).iter();
        specs.filter_map(|spec| tablets.get(&spec.id).cloned()).collect()
    }

    /// Takes out the tablets that the catalog no longer has.
    pub(super) fn take_dropped(&self, catalog: &Catalog) -> Vec<(TabletId, Arc<Hosted>)> {
        let _one = self.changing.lock();
        let mut tablets = self.tablets.write();
        tablets.extract_if(|id, _| catalog.tablet(*id).is_none()).collect()
    }

    /// Removes what is stored of a tablet that was taken out and whose replica rests. Blocks.
    pub(super) fn remove(&self, id: TabletId) -> Result<()> {
        self.log.submit(group_of(id), Op::Forget, Box::new(|_| {}));
        Tablet::drop_files(&*self.disk, &self.dir.tablet(id))?;
        Ok(())
    }

    pub(super) fn count_memtables(&self) -> usize {
        let bytes = self.all().iter().map(|hosted| hosted.tablet.memtable_bytes()).sum();
        self.memtable_bytes.store(bytes, Ordering::Relaxed);
        bytes
    }
}
