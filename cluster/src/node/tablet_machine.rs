//! A tablet as the state machine of its group.

mod copied;

use crate::{
    Result,
    command::{Body, Command, Delete},
    machine::{Machine, Pinned, Staged},
};
use copied::TabletCopy;
use oribi_model::{LogIndex, TabletId};
use oribi_store::{FileSum, Flushed, Tablet};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};
use tokio::sync::Notify;

/// Of the bound on memtables, what others send goes on up to so many more parts: who leads slows down first.
const SPARE_PARTS: usize = 4;

/// A tablet of more memtables than so many is flushed, however small they are: a scan merges them, and each delete begins
/// another.
pub(crate) const MEMTABLES_MAX: usize = 16;

pub(crate) struct TabletMachine {
    pub(crate) tablet: Arc<Tablet>,
    pub(crate) memtables: Arc<Memtables>,
    /// Whether the tablet is known to hold something that is not flushed.
    holds: Arc<AtomicBool>,
}

impl TabletMachine {
    pub(crate) fn new(tablet: Arc<Tablet>, memtables: Arc<Memtables>) -> TabletMachine {
        TabletMachine { tablet, memtables, holds: Arc::default() }
    }
}

/// What all memtables of a node hold: grows with each command, and is counted anew after each flush and
/// drop.
#[derive(Debug)]
pub(crate) struct Memtables {
    held_bytes: AtomicUsize,
    bytes_max: usize,
    /// Tablets that hold any, and what each is told when it holds none any more.
    holding: Mutex<BTreeMap<TabletId, Arc<AtomicBool>>>,
    /// The process holds too much, of whatever kind.
    is_memory_short: AtomicBool,
    /// A tablet has more than [`MEMTABLES_MAX`].
    are_many: AtomicBool,
    /// Told where some are to be flushed.
    pub(crate) flush_due: Notify,
}

impl Memtables {
    /// None yet, which may hold so much.
    pub(crate) fn new(bytes_max: usize) -> Memtables {
        Memtables {
            held_bytes: AtomicUsize::new(0),
            bytes_max,
            holding: Mutex::default(),
            is_memory_short: AtomicBool::new(false),
            are_many: AtomicBool::new(false),
            flush_due: Notify::new(),
        }
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes.load(Ordering::Relaxed)
    }

    /// Tablets that may hold some: all others need not be looked at.
    pub(crate) fn holding(&self) -> BTreeSet<TabletId> {
        self.holding.lock().keys().copied().collect()
    }

    /// Notes that a tablet holds some, where that is not known.
    fn hold(&self, tablet: TabletId, holds: &Arc<AtomicBool>) {
        if !holds.swap(true, Ordering::AcqRel) {
            self.holding.lock().insert(tablet, holds.clone());
        }
    }

    /// Forgets those of which `holds_any` says that they hold none. What is applied meanwhile is noted again.
    pub(crate) fn forget_empty(&self, holds_any: impl Fn(TabletId) -> bool) {
        // Whoever opens tablets applies to them under a lock that `holds_any` may take.
        let known = self.holding.lock().clone();
        for (tablet, holds) in known {
            holds.swap(false, Ordering::AcqRel);
            if holds_any(tablet) {
                self.hold(tablet, &holds);
                continue;
            }
            let mut holding = self.holding.lock();
            let is_same = holding.get(&tablet).is_some_and(|known| Arc::ptr_eq(known, &holds));
            if is_same && !holds.load(Ordering::Acquire) {
                holding.remove(&tablet);
            }
        }
    }

    /// They were counted.
    pub(crate) fn count(&self, bytes: usize) {
        self.held_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Whether writes that come in at this node, or are led here, go on.
    pub(crate) fn have_room(&self) -> bool {
        self.held_bytes() <= self.bytes_max
    }

    /// What they may hold before the largest is flushed, bytes.
    pub(crate) fn flushed_beyond(&self) -> usize {
        if self.is_memory_short.load(Ordering::Relaxed) { 0 } else { self.bytes_max / 2 }
    }

    /// Notes whether the process holds too much; while it does, all are flushed.
    pub(crate) fn memory_is_short(&self, is_short: bool) {
        self.is_memory_short.store(is_short, Ordering::Relaxed);
        if is_short {
            self.flush_due.notify_one();
        }
    }

    fn grow(&self, bytes: usize) {
        let held_bytes = self.held_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held_bytes > self.flushed_beyond() {
            self.flush_due.notify_one();
        }
    }

    fn note_many(&self) {
        self.are_many.store(true, Ordering::Release);
        self.flush_due.notify_one();
    }

    /// Whether a tablet has got more than [`MEMTABLES_MAX`] since this was asked last.
    pub(crate) fn take_many(&self) -> bool {
        self.are_many.swap(false, Ordering::AcqRel)
    }

    fn have_room_for_others(&self) -> bool {
        self.held_bytes() <= self.bytes_max + self.bytes_max / SPARE_PARTS
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        let less = |held: usize| Some(held.saturating_sub(bytes));
        let _ = self.held_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

impl Machine for TabletMachine {
    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String> {
        match command.body() {
            Body::Rows(batch) => {
                let before = self.tablet.memtable_bytes();
                self.tablet.apply(index, batch.clone());
                let grown = self.tablet.memtable_bytes().saturating_sub(before);
                self.memtables.grow(grown);
            }
            Body::Delete(Delete { time, tags }) => {
                self.tablet.delete(index, *time, tags.clone());
                if self.tablet.stats().memtables > MEMTABLES_MAX {
                    self.memtables.note_many();
                }
            }
            Body::Change(_) => return Err(format!("a tablet has no use for {command}")),
        }
        self.memtables.hold(self.tablet.spec().id, &self.holds);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.memtables.have_room_for_others()
    }

    fn flushed(&self) -> Option<Flushed> {
        self.tablet.flushed()
    }

    fn pin(&self) -> Result<Option<Arc<dyn Pinned>>> {
        Ok(self.tablet.pin()?.map(|pin| Arc::new(pin) as Arc<dyn Pinned>))
    }

    fn stage(self: Arc<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        let staging = self.tablet.stage(sums, None)?;
        Ok(Box::new(TabletCopy { machine: self, staging }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::{
        Bucket, ColumnId, RowBatch, SeriesKey, SeriesKeys, TableId, TabletSpec, TagPredicate,
        TimeRange,
    };
    use oribi_store::{TabletOptions, Trash, disk::sim::SimDisk};

    #[test]
    fn many_deletes_have_a_tablet_flushed_without_a_look_at_all() {
        let disk = Arc::new(SimDisk::new());
        let options = TabletOptions::new(Arc::new(Trash::new(disk.clone(), "/trash".into())));
        let (id, table, range) = (TabletId(1), TableId(3), TimeRange::ALL);
        let spec = TabletSpec { id, table, range, bucket: Bucket { index: 0, count: 1 } };
        let tablet = Arc::new(Tablet::create(disk, "/tablet".into(), spec, options).unwrap());
        let memtables = Arc::new(Memtables::new(1));
        let machine = TabletMachine::new(tablet.clone(), memtables.clone());
        let (mut series, delete) = (SeriesKeys::default(), TimeRange::new(0, 1));
        series.push_bytes(SeriesKey::from_tags([(ColumnId(1), "a")]).as_bytes());
        let row = RowBatch {
            table,
            schema_version: 1,
            series,
            row_series: vec![0],
            times: vec![5],
            columns: Vec::new(),
            cursor: None,
        };
        let mut indexes = (1..).map(LogIndex);
        let mut apply = |command| machine.apply(indexes.next().unwrap(), &command).unwrap();
        while !memtables.take_many() {
            assert!(tablet.stats().memtables <= MEMTABLES_MAX, "nobody was told");
            apply(Command::rows(row.clone()));
            apply(Command::delete(delete, TagPredicate::Always));
        }
        assert_eq!(tablet.stats().memtables, MEMTABLES_MAX + 1);
        assert!(!memtables.take_many(), "it was taken");
    }

    #[test]
    fn only_tablets_that_hold_anything_are_looked_at() {
        let memtables = Memtables::new(1);
        let flags: Vec<Arc<AtomicBool>> = (0..10_000).map(|_| Arc::default()).collect();
        for at in [7, 9, 7] {
            memtables.hold(TabletId(at), &flags[at as usize]);
        }
        assert_eq!(memtables.holding(), BTreeSet::from([TabletId(7), TabletId(9)]));
        // It takes more while it is looked at, and another one holds nothing any more.
        memtables.forget_empty(|tablet| {
            if tablet == TabletId(7) {
                memtables.hold(tablet, &flags[7]);
            }
            false
        });
        assert_eq!(memtables.holding(), BTreeSet::from([TabletId(7)]));
        memtables.forget_empty(|_| true);
        memtables.forget_empty(|_| false);
        assert!(memtables.holding().is_empty());
        memtables.hold(TabletId(9), &flags[9]);
        assert_eq!(memtables.holding(), BTreeSet::from([TabletId(9)]));
    }
}
