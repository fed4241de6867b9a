//! The tablets that a node hosts, kept in step with the catalog.

mod moved;

pub(super) use moved::{Broken, Moved};

use super::{
    CATALOG_GROUP,
    around::Around,
    catalog_assignment,
    catalog_machine::CatalogMachine,
    data_dir::DataDir,
    tablet_machine::{Memtables, TabletMachine},
};
use crate::{
    Assignment, Catalog, Error, MemberId, NodeRecord, Result,
    catalog::FIRST_NODE,
    replica::{Instances, Replica},
};
use oribi_model::{LogIndex, NodeId, TableId, TabletId, TabletSpec};
use oribi_store::{
    Consent, Repair, Repaired, Tablet, TabletOptions,
    disk::Disk,
    log::{GroupId, Log, Op},
};
use parking_lot::{Mutex, RwLock};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
};

/// A tablet and its replica.
pub(super) struct Hosted {
    pub(super) tablet: Arc<Tablet>,
    pub(super) replica: Arc<Replica>,
    /// The log index as of the last look, and since when it has been so, ms of the node's life.
    pub(super) seen: Mutex<(Option<LogIndex>, u64)>,
    /// When a flush that failed may be tried again, ms of the node's life.
    pub(super) flush_again_ms: AtomicU64,
}

impl Hosted {
    pub(super) fn id(&self) -> TabletId {
        self.tablet.spec().id
    }

    /// For how long nothing was applied, as far as looks like this one tell.
    pub(super) fn idle_ms(&self, now_ms: u64) -> u64 {
        let applied = self.tablet.applied();
        let mut seen = self.seen.lock();
        if seen.0 != applied {
            *seen = (applied, now_ms);
        }
        now_ms - seen.1
    }

    /// Whether anything of it is only in memory and in the log.
    fn holds_any(&self) -> bool {
        self.tablet.memtable_bytes() > 0 || self.tablet.stats().memtables > 0
    }

    /// Whether it has all that its group has committed, or soon will, and all of it can be read.
    fn is_whole(&self) -> bool {
        self.replica.is_voter() && !self.tablet.is_damaged()
    }

    /// Freezes what was applied and writes it to a segment. Blocks.
    pub(super) fn flush(&self) -> Result<bool> {
        self.replica.seal(|index, state| self.tablet.seal(index, state));
        Ok(self.tablet.flush()?.is_some())
    }
}

/// Why there is nothing of a tablet here any more.
const MOVED: &str = "it has moved to other nodes";

/// What a node is to have of a tablet.
struct Part {
    spec: TabletSpec,
    member: MemberId,
    assignment: Assignment,
}

/// What became of a tablet of the catalog on this node.
#[derive(Clone)]
enum Slot {
    Open(Arc<Hosted>),
    /// Its files or log entries are damaged: nothing is read, written or removed.
    Damaged(MemberId, Arc<str>),
    /// It has gone to other nodes, and its files are being let go.
    Leaving,
}

/// A tablet that the catalog no longer has. Its files and log entries are still there.
pub(super) struct Dropped {
    pub(super) id: TabletId,
    pub(super) hosted: Option<Arc<Hosted>>,
}

/// All tablets of a node.
pub(super) struct Hosting {
    pub(super) node: NodeId,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: Arc<DataDir>,
    pub(super) log: Arc<Log>,
    pub(super) options: TabletOptions,
    pub(super) memtables: Arc<Memtables>,
    pub(super) flushes: AtomicU64,
    pub(super) compactions: AtomicU64,
    pub(super) instances: Arc<Instances>,
    pub(super) around: Around,
    /// Whether the log named other members of the catalog's group when the node started. What is known to be
    /// committed may not name their nodes yet.
    pub(super) had_others: bool,
    catalog: Arc<CatalogMachine>,
    tablets: RwLock<HashMap<TabletId, Slot>>,
    /// Held while tablets come and go: up to which of the catalog's drops they were taken out.
    changing: Mutex<u64>,
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
        (options, memtables): (TabletOptions, Memtables),
        (around, catalog): (Around, Arc<CatalogMachine>),
    ) -> Hosting {
        Hosting {
            node,
            disk,
            dir,
            log,
            options,
            memtables: Arc::new(memtables),
            flushes: AtomicU64::new(0),
            compactions: AtomicU64::new(0),
            instances: Arc::default(),
            around,
            had_others: false,
            catalog,
            tablets: RwLock::default(),
            changing: Mutex::default(),
        }
    }

    /// The replicas that a group begins with.
    pub(super) fn assignment(&self, group: GroupId) -> Assignment {
        match &self.around.assign {
            Some(assign) => assign(group),
            None if group == CATALOG_GROUP => catalog_assignment(),
            None => self.catalog.current().assignment_of(TabletId(group.0)),
        }
    }

    /// Whether there is no other node at present, as far as is known here.
    pub(super) fn has_no_others(&self) -> bool {
        let is_here = |(node, _): (NodeId, &Arc<NodeRecord>)| node == self.node;
        self.around.links.is_alone()
            || (self.around.assign.is_none()
                && self.node == FIRST_NODE
                && !self.had_others
                && self.catalog.current().nodes().all(is_here))
    }

    /// Whether a group begins with a replica here, and no other.
    pub(super) fn is_alone(&self, group: GroupId) -> bool {
        let assignment = self.assignment(group);
        assignment.founder().node == self.node && assignment.is_single()
    }

    /// Opens every tablet that the catalog has on this node, on several threads. One that cannot be
    /// opened is set aside; the others serve. Blocks.
    pub(super) fn open_all(&self, catalog: &Catalog) {
        let parts = catalog.tablets().filter_map(|spec| self.part_of(*spec));
        let parts = Mutex::new(parts.collect::<Vec<_>>());
        let opened = Mutex::new(HashMap::<TabletId, Slot>::new());
        let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let Some(part) = parts.lock().pop() else { return };
                        let id = part.spec.id;
                        let slot = self.open_slot(part);
                        opened.lock().extend(slot.map(|slot| (id, slot)));
                    }
                });
            }
        });
        *self.tablets.write() = opened.into_inner();
        self.count_memtables();
    }

    /// What this node is to have of a tablet; `None` where that is nothing.
    fn part_of(&self, spec: TabletSpec) -> Option<Part> {
        let assignment = self.assignment(group_of(spec.id));
        let here = assignment.voters().into_iter().filter(|member| member.node == self.node);
        let member = here.max()?;
        Some(Part { spec, member, assignment })
    }

    /// `None` for a replica that was removed before.
    fn open_slot(&self, part: Part) -> Option<Slot> {
        match self.admit(part.spec.id, part.member) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => return Some(Slot::Damaged(part.member, error.to_string().into())),
        }
        Some(match self.open(&part) {
            Ok(hosted) => Slot::Open(hosted),
            Err(error) => Slot::Damaged(part.member, error.to_string().into()),
        })
    }

    fn open(&self, part: &Part) -> Result<Arc<Hosted>> {
        let Part { spec, member, assignment } = part;
        let spec = *spec;
        let (dir, group) = (self.dir.tablet(spec.id), group_of(spec.id));
        let known = self.log.group(group);
        // As long as the log was never purged, it has every row, and a folder without a manifest
        // is what a first flush left that was cut short.
        let all_in_log = known.as_ref().is_none_or(|state| state.purged.is_none());
        let has_manifest = Tablet::has_manifest(&*self.disk, &dir)?;
        if !has_manifest && all_in_log && known.is_some() && Tablet::exists(&*self.disk, &dir)? {
            self.options.trash.take(&dir, &format!("unfinished-tablet-{}", spec.id))?;
        }
        let (disk, options) = (self.disk.clone(), self.options.clone());
        let tablet = match has_manifest || !all_in_log {
            true => Tablet::open(disk, dir, spec, options)?,
            false => Tablet::create(disk, dir, spec, options)?,
        };
        let tablet = Arc::new(tablet);
        let memtables = self.memtables.clone();
        let machine = Arc::new(TabletMachine::new(tablet.clone(), memtables));
        let network = self.around.links.clone();
        let (log, around) = (self.log.clone(), (self.instances.clone(), network as _));
        let replica = Replica::recover(*member, (group, assignment), log, machine, around)?;
        let (seen, flush_again_ms) = (Mutex::default(), AtomicU64::new(0));
        Ok(Arc::new(Hosted { tablet, replica, seen, flush_again_ms }))
    }

    /// Makes the manifest of a tablet again, on `disk`, from its segments and what the log says.
    ///
    /// # Errors
    /// [`Error::NoTablet`], or as [`Tablet::repair`].
    pub(super) fn repair(
        &self,
        id: TabletId,
        consent: Consent,
        disk: &Arc<dyn Disk>,
        catalog: &Catalog,
    ) -> Result<Repaired> {
        let spec = catalog.tablet(id).ok_or(Error::NoTablet(id))?;
        let group = group_of(id);
        let assignment = self.assignment(group);
        let purged = Replica::purged((group, &assignment), &self.log)?;
        let repair = Repair { purged, consent };
        Ok(Tablet::repair(disk, &self.dir.tablet(id), spec, &self.options, &repair)?)
    }

    /// The tablet, opened where it is new. Does not read or write files.
    ///
    /// # Errors
    /// [`Error::NoTablet`] where the catalog does not have it now, [`Error::Unavailable`] where it has
    /// no replica on this node, [`Error::Damaged`] where it is set aside.
    pub(super) fn serving(&self, id: TabletId, catalog: &CatalogMachine) -> Result<Arc<Hosted>> {
        let slot = self.tablets.read().get(&id).cloned();
        let slot = match slot {
            Some(slot) => slot,
            None => {
                let _one = self.changing.lock();
                // Who drops tablets takes them out under the same lock once the catalog has let
                // them go, so that none comes back here.
                let catalog = catalog.current();
                let spec = *catalog.tablet(id).ok_or(Error::NoTablet(id))?;
                let part = self.part_of(spec).ok_or_else(|| {
                    let reason = "it has no replica on this node".to_owned();
                    Error::Unavailable { group: id.0, reason }
                })?;
                let mut tablets = self.tablets.write();
                match tablets.get(&id) {
                    Some(slot) => slot.clone(),
                    None => {
                        let slot = self.open_slot(part).unwrap_or(Slot::Leaving);
                        if !matches!(slot, Slot::Leaving) {
                            tablets.insert(id, slot.clone());
                            self.instances.note_change(group_of(id));
                        }
                        slot
                    }
                }
            }
        };
        match slot {
            Slot::Open(hosted) => Ok(hosted),
            Slot::Damaged(_, reason) => {
                Err(Error::Damaged { tablet: id, reason: reason.to_string() })
            }
            Slot::Leaving => Err(Error::Unavailable { group: id.0, reason: MOVED.to_owned() }),
        }
    }

    /// Has the next one who asks open a tablet anew, where it still has this replica and that was closed.
    pub(super) fn reopen(&self, id: TabletId, closed: &Arc<Replica>) {
        let _one = self.changing.lock();
        let mut tablets = self.tablets.write();
        let is_same = |hosted: &Arc<Hosted>| Arc::ptr_eq(&hosted.replica, closed);
        if matches!(tablets.get(&id), Some(Slot::Open(hosted)) if is_same(hosted))
            && closed.is_closed()
        {
            tablets.remove(&id);
        }
    }

    pub(super) fn get(&self, id: TabletId) -> Option<Arc<Hosted>> {
        match self.tablets.read().get(&id)? {
            Slot::Open(hosted) => Some(hosted.clone()),
            Slot::Damaged(..) | Slot::Leaving => None,
        }
    }

    /// All tablets that serve.
    pub(super) fn all(&self) -> Vec<Arc<Hosted>> {
        let open = |slot: &Slot| match slot {
            Slot::Open(hosted) => Some(hosted.clone()),
            Slot::Damaged(..) | Slot::Leaving => None,
        };
        self.tablets.read().values().filter_map(open).collect()
    }

    /// All tablets that are set aside, by id, with the reasons.
    pub(super) fn damaged(&self) -> Vec<(TabletId, Arc<str>)> {
        let damaged = |(id, slot): (&TabletId, &Slot)| match slot {
            Slot::Open(_) | Slot::Leaving => None,
            Slot::Damaged(_, reason) => Some((*id, reason.clone())),
        };
        let mut found: Vec<_> = self.tablets.read().iter().filter_map(damaged).collect();
        found.sort_unstable_by_key(|(id, _)| *id);
        found
    }

    /// The tablets of a table by ascending start, as far as they serve.
    pub(super) fn of_table(&self, catalog: &Catalog, table: TableId) -> Vec<Arc<Hosted>> {
        let specs = catalog.tablets_of(table).iter();
        specs.filter_map(|spec| self.get(spec.id)).collect()
    }

    /// A tablet to be read; `None` where it was never written to.
    ///
    /// # Errors
    /// Why it is set aside: an answer would lack its rows.
    pub(super) fn readable(&self, id: TabletId) -> Result<Option<Arc<Hosted>>, Arc<str>> {
        match self.tablets.read().get(&id) {
            Some(Slot::Open(hosted)) => Ok(Some(hosted.clone())),
            Some(Slot::Damaged(_, reason)) => Err(reason.clone()),
            Some(Slot::Leaving) => Err(MOVED.into()),
            None => Ok(None),
        }
    }

    /// Whether what this node is to have of a tablet is set aside, or being let go.
    pub(super) fn is_out(&self, id: TabletId) -> bool {
        matches!(self.tablets.read().get(&id), Some(Slot::Damaged(..) | Slot::Leaving))
    }

    /// The tablets of the catalog that this node is to have together with others and that are not
    /// open yet.
    pub(super) fn missing(&self, catalog: &Catalog) -> Vec<TabletId> {
        let tablets = self.tablets.read();
        let absent = catalog.tablets().filter(|spec| !tablets.contains_key(&spec.id));
        let here = absent.filter(|spec| {
            let replicas = catalog.replicas_of(spec.id);
            replicas.len() > 1 && replicas.iter().any(|member| member.node == self.node)
        });
        here.map(|spec| spec.id).collect()
    }

    /// Whether a tablet is to be read on other nodes: this one has none of it, not all of it yet, or
    /// what it has is damaged.
    pub(super) fn is_elsewhere(&self, id: TabletId) -> bool {
        if self.has_no_others() {
            return false;
        }
        let is_whole = match self.tablets.read().get(&id) {
            Some(Slot::Open(hosted)) => Some(hosted.is_whole()),
            Some(Slot::Damaged(..) | Slot::Leaving) => Some(false),
            None => None,
        };
        let others = || {
            let voters = self.assignment(group_of(id)).voters();
            voters.iter().any(|voter| voter.node != self.node)
        };
        let has_none = || {
            let voters = self.assignment(group_of(id)).voters();
            voters.iter().all(|voter| voter.node != self.node)
        };
        is_whole.map_or_else(has_none, |is_whole| !is_whole && others())
    }

    /// Why there are no rows of a tablet here although there may be some.
    pub(super) fn reason_absent(&self, id: TabletId) -> Option<String> {
        match self.readable(id) {
            Err(reason) => Some(reason.to_string()),
            Ok(None) if self.is_elsewhere(id) => Some("it is on other nodes".into()),
            Ok(_) => None,
        }
    }

    /// Takes out the tablets that the catalog no longer has.
    pub(super) fn take_dropped(&self, catalog: &CatalogMachine) -> Vec<Dropped> {
        let mut taken = self.changing.lock();
        let drops = catalog.drops();
        if *taken == drops {
            return Vec::new();
        }
        let catalog = catalog.current();
        let mut tablets = self.tablets.write();
        let gone = tablets.extract_if(|id, _| catalog.tablet(*id).is_none());
        let gone = gone.map(|(id, slot)| match slot {
            Slot::Open(hosted) => Dropped { id, hosted: Some(hosted) },
            Slot::Damaged(..) | Slot::Leaving => Dropped { id, hosted: None },
        });
        let gone = gone.collect();
        drop(tablets);
        *taken = drops;
        self.count_memtables();
        gone
    }

    /// Lets go of what is stored of a tablet that was taken out and is closed. Blocks.
    pub(super) fn remove(&self, id: TabletId) -> Result<()> {
        // Its id is never given again, so that nothing has to say which replicas there were.
        self.log.submit(group_of(id), Op::Forget { tombstone: None }, Box::new(|_| {}));
        Ok(self.options.trash.take(&self.dir.tablet(id), "dropped-tablet")?)
    }

    pub(super) fn count_memtables(&self) -> usize {
        let get = |tablet: TabletId| self.get(tablet);
        self.memtables.forget_empty(|tablet| get(tablet).is_some_and(|one| one.holds_any()));
        let holding = self.memtables.holding().into_iter().filter_map(get);
        let bytes = holding.map(|hosted| hosted.tablet.memtable_bytes()).sum();
        self.memtables.count(bytes);
        bytes
    }
}
