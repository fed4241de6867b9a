//! openraft's own suite over the log, and a replica through restarts.

mod copies;
mod handing;
mod members;
mod outcomes;
mod recoveries;
mod room;
mod several;
mod shelf;
mod window;

use super::{
    log_store::GroupLog,
    types::{LogId, Outcome, SnapshotMeta, StoredMembership, TypeConfig},
    *,
};
use crate::{
    Change,
    command::Body,
    machine::{Pinned, Staged},
    transport::{CallError, Pending, Request},
};
use bytes::Bytes;
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder, StorageError,
    alias::SnapshotOf,
    storage::{EntryResponder, RaftStateMachine},
    testing::log::{StoreBuilder, Suite},
};
use oribi_model::{Marks, Name, NodeId};
use oribi_store::{
    FileSum, Flushed,
    disk::{Disk, create_dir_durably, sim::SimDisk},
    log::LogOptions,
};
use std::{
    io,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Remembers what was applied; a flush is a copy in memory, or on a disk where it has one.
#[derive(Default)]
struct Memory {
    disk: Option<SimDisk>,
    applied: Mutex<Vec<(u64, String)>>,
    flushed: Mutex<Option<Flushed>>,
    is_full: AtomicBool,
}

impl Machine for Memory {
    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn pin(&self) -> Result<Option<Arc<dyn Pinned>>> {
        Ok(self.shelved())
    }

    fn stage(self: Arc<Self>, sums: &[FileSum]) -> Result<Box<dyn Staged>> {
        Ok(Box::new(shelf::Copied::begin(self, sums)))
    }

    fn apply(&self, index: LogIndex, command: &Command) -> Result<(), String> {
        let Body::Change(change) = command.body() else { return Err("no change".into()) };
        self.applied.lock().push((index.0, format!("{change:?}")));
        Ok(())
    }

    fn flushed(&self) -> Option<Flushed> {
        self.flushed.lock().clone()
    }
}

fn open_log(disk: &SimDisk) -> Arc<Log> {
    open_log_on(Arc::new(disk.clone()))
}

fn open_log_on(disk: Arc<dyn Disk>) -> Arc<Log> {
    let dir = Path::new("/data");
    // A power cut takes a folder away whose name is not durable.
    create_dir_durably(&*disk, dir).unwrap();
    let options = LogOptions { file_bytes: 2_000, ..LogOptions::default() };
    Arc::new(Log::open(disk, dir.join("log"), options).unwrap())
}

/// A machine with nothing but a place, whose snapshots are taken whenever the suite likes.
#[derive(Clone, Default)]
struct Place(Arc<Mutex<Applied>>, Arc<Mutex<Option<Applied>>>);

impl Place {
    fn snapshot(of: &Applied) -> SnapshotOf<TypeConfig, ()> {
        let (last_log_id, last_membership) = (of.last, of.membership.clone());
        let meta = SnapshotMeta { last_log_id, last_membership };
        SnapshotOf::<TypeConfig, ()> { meta, snapshot: () }
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Place {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<TypeConfig, ()>> {
        let applied = self.0.lock().clone();
        *self.1.lock() = Some(applied.clone());
        Ok(Place::snapshot(&applied))
    }
}

impl RaftStateMachine<TypeConfig> for Place {
    type SnapshotData = ();
    type SnapshotBuilder = Place;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.0.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let membership = match entry.payload {
                EntryPayload::Membership(membership) => Some(membership),
                _ => None,
            };
            self.0.lock().advance(entry.log_id, membership);
            if let Some(responder) = responder {
                responder.send(Outcome(Ok(())));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Place {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        let (last, membership) = (meta.last_log_id, meta.last_membership.clone());
        *self.0.lock() = Applied { last, membership };
        *self.1.lock() = Some(self.0.lock().clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<TypeConfig, ()>>> {
        Ok(self.1.lock().as_ref().map(Place::snapshot))
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, GroupLog, Place> for Builder {
    async fn build(&self) -> Result<((), GroupLog, Place), StorageError<TypeConfig>> {
        let log = GroupLog::new(GroupId(7), open_log(&SimDisk::new()));
        Ok(((), log, Place::default()))
    }
}

#[test]
fn the_log_passes_openrafts_suite() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

fn create(db: usize) -> Command {
    Command::change(Change::CreateDatabase { db: Name::new(&format!("db{db}")).unwrap() })
}

const GROUP: GroupId = GroupId(3);

/// No network: that of a node without others.
struct NoPeers;

impl Network for NoPeers {
    fn call(&self, to: NodeId, _: Request) -> Pending<Result<Bytes, CallError>> {
        Box::pin(std::future::ready(Err(CallError::NotConnected(to))))
    }

    fn notify(&self, to: NodeId, _: Request) -> Result<(), CallError> {
        Err(CallError::NotConnected(to))
    }
}

/// Without any other node.
fn alone() -> (Arc<Instances>, Arc<dyn Network>) {
    (Arc::default(), Arc::new(NoPeers))
}

fn recover(log: &Arc<Log>, machine: &Arc<Memory>) -> Arc<Replica> {
    let member = MemberId::first(NodeId(1));
    let assignment = Assignment::alone(member);
    let (log, machine) = (log.clone(), machine.clone());
    Replica::recover(member, (GROUP, &assignment), log, machine, alone()).unwrap()
}

/// Makes durable what was applied.
fn flush(replica: &Replica, machine: &Memory) {
    replica.seal(|index, raft_state| {
        *machine.flushed.lock() = Some(Flushed { index, raft_state, marks: Marks::default() });
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_comes_back_with_all_that_was_acked() {
    let disk = SimDisk::new();
    for round in 0..4 {
        let log = open_log(&disk);
        let machine = Arc::new(Memory::default());
        let replica = recover(&log, &machine);
        assert_eq!(machine.applied.lock().len(), round * 10);
        assert!(!replica.is_running());
        for at in 0..10 {
            replica.write(create(round * 10 + at)).await.unwrap();
        }
        let applied = machine.applied.lock().clone();
        assert_eq!(applied.len(), (round + 1) * 10);
        assert!(applied.windows(2).all(|pair| pair[0].0 < pair[1].0));
        replica.rest().await;
        log.close();
    }
}

/// As a read does at a node that stood still and takes over what another has meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_an_entry_waits_beyond_the_end_of_an_instance() {
    let (disk, machine) = (SimDisk::new(), Arc::new(Memory::default()));
    let log = open_log(&disk);
    let replica = recover(&log, &machine);
    replica.write(create(0)).await.unwrap();
    let next = LogIndex(replica.applied_index().unwrap().0 + 2);
    let waiting = tokio::spawn({
        let replica = replica.clone();
        async move { replica.reaches(next, Duration::from_secs(60)).await }
    });
    for at in 1..20 {
        replica.rest().await;
        assert!(!waiting.is_finished() || replica.applied_index() >= Some(next));
        replica.write(create(at)).await.unwrap();
    }
    assert!(waiting.await.unwrap());
    let never = LogIndex(u64::MAX);
    assert!(!replica.reaches(never, Duration::from_millis(20)).await);
    replica.close().await;
    assert!(!replica.reaches(never, Duration::from_secs(60)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_flushed_is_purged_and_not_applied_again() {
    let disk = SimDisk::new();
    let machine = Arc::new(Memory::default());
    let log = open_log(&disk);
    let replica = recover(&log, &machine);
    for at in 0..50 {
        replica.write(create(at)).await.unwrap();
    }
    flush(&replica, &machine);
    let flushed = machine.flushed().unwrap().index.0;
    assert_eq!(replica.purge(Duration::from_secs(60)).await.unwrap(), Purge::Done);
    assert_eq!(log.group(GROUP).unwrap().entries.start, flushed + 1);
    for at in 50..60 {
        replica.write(create(at)).await.unwrap();
    }
    replica.rest().await;
    machine.applied.lock().clear();
    log.close();

    let log = open_log(&disk);
    let replica = recover(&log, &machine);
    assert_eq!(machine.applied.lock().len(), 10);
    // Without a running instance a purge goes straight to the log.
    flush(&replica, &machine);
    assert_eq!(replica.purge(Duration::from_secs(60)).await.unwrap(), Purge::Done);
    assert!(log.group(GROUP).unwrap().entries.is_empty());
    replica.write(create(60)).await.unwrap();
    assert_eq!(machine.applied.lock().len(), 11);
    replica.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_fails_once_the_disk_does() {
    let disk = SimDisk::new();
    let machine = Arc::new(Memory::default());
    let log = open_log(&disk);
    let replica = recover(&log, &machine);
    replica.write(create(0)).await.unwrap();
    disk.crash_at(disk.operations() + 1);
    assert!(matches!(replica.write(create(1)).await, Err(Error::Unknown { .. })));
    assert_eq!(machine.applied.lock().len(), 1);
}
