//! A node: a disk that outlives its runs, and the log, the tablets and the replicas of one run.

use super::hall::{Door, Hall, Place};
use crate::{
    Assignment, CopyOptions, MemberId, Replica,
    elections::{Lives, Supervisor},
    machine::Machine,
    node::{CATALOG_GROUP, CatalogMachine, Memtables, TabletMachine},
    planted::{Fault, is_planted},
    replica::Instances,
    tasks::{
        self,
        simulated::{self, Owner},
    },
    transport::{Network, Refusal},
};
use oribi_model::{ArrivalClock, Bucket, Clock, NodeId, TableId, TabletId, TabletSpec, TimeRange};
use oribi_store::{
    Tablet, TabletOptions, Trash,
    disk::{Disk, create_dir_durably, sim::SimDisk},
    log::{GroupId, Log, LogOptions},
};
use parking_lot::Mutex;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc},
    time::Instant,
};

pub(super) const GROUPS: [GroupId; 2] = [GroupId(1), GroupId(2)];

/// Between two looks at elections while nobody tells of a change: nobody tells here that a node is
/// suspected.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Whose groups nodes have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Tablets,
    Catalog,
}

pub(super) struct Host {
    id: NodeId,
    nodes: Vec<NodeId>,
    content: Content,
    pub(super) boot: u64,
    pub(super) disk: SimDisk,
    /// How far the clock of the node is ahead of time, ns.
    pub(super) ahead_ns: Arc<AtomicI64>,
    /// Until when the disk syncs nothing.
    stalled: Arc<Mutex<Option<Instant>>>,
    pub(super) run: Option<Run>,
}

pub(super) struct Run {
    pub(super) tablets: BTreeMap<GroupId, Arc<Tablet>>,
    pub(super) catalog: Option<Arc<CatalogMachine>>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) instances: Arc<Instances>,
}

struct Hosted {
    group: GroupId,
    tablet: Arc<Tablet>,
    replica: Arc<Replica>,
}

/// A clock that goes on by 10 ms at once, like those of some machines, and need not be right.
struct CoarseClock(Arc<AtomicI64>);

impl Clock for CoarseClock {
    fn now_ns(&self) -> i64 {
        const TICK_NS: i64 = 10_000_000;
        /// Long before it, no clock is that far behind.
        const START_NS: i64 = 1_700_000_000_000_000_000;
        let now_ns = START_NS + tasks::simulated::elapsed().as_nanos() as i64;
        (now_ns + self.0.load(Ordering::Relaxed)) / TICK_NS * TICK_NS
    }
}

pub(super) fn owner_of(node: NodeId) -> Owner {
    node.0
}

impl Host {
    pub(super) fn new(id: NodeId, nodes: &[NodeId], content: Content) -> Host {
        let (nodes, disk) = (nodes.to_vec(), SimDisk::new());
        let (ahead_ns, stalled) = (Arc::default(), Arc::default());
        Host { id, nodes, content, boot: 0, disk, ahead_ns, stalled, run: None }
    }

    pub(super) fn stall(&self, duration: Duration) {
        *self.stalled.lock() = Some(tasks::now() + duration);
    }

    /// Opens what the disk has, and runs.
    pub(super) fn start(&mut self, hall: &Arc<Hall>, copies: &CopyOptions) -> Result<(), String> {
        self.boot += 1;
        *self.stalled.lock() = None;
        let text = |error: oribi_store::Error| format!("node {}: {error}", self.id);
        create_dir_durably(&self.disk, Path::new("/data/tablets")).map_err(text)?;
        let due = Arc::new(Notify::new());
        let (waker, disk) = (due.clone(), Arc::new(self.disk.clone()));
        let options = LogOptions { file_bytes: 8_000, ..LogOptions::default() };
        let log = Log::open_stepped(
            disk,
            "/data/log".into(),
            options,
            Box::new(move || waker.notify_one()),
        );
        let log = Arc::new(log.map_err(text)?);
        let door: Arc<dyn Network> = Arc::new(Door(self.id, hall.clone()));
        let instances = Arc::new(Instances::new(copies.clone()));
        let around = (instances.clone(), door);
        let (mut hosted, mut catalog) = (Vec::new(), None);
        match self.content {
            Content::Tablets => {
                for group in GROUPS {
                    hosted.push(Arc::new(self.open(group, &log, around.clone())?));
                }
            }
            Content::Catalog => catalog = Some(self.open_catalog(&log, around)?),
        }
        let mut replicas: BTreeMap<_, _> =
            hosted.iter().map(|one| (one.group, one.replica.clone())).collect();
        replicas.extend(catalog.iter().map(|(_, replica)| (CATALOG_GROUP, replica.clone())));
        for replica in replicas.values() {
            self.look_at_vote(hall, replica)?;
        }
        let (arrivals, arriving) = mpsc::unbounded_channel();
        let (owner, supervisor) = (owner_of(self.id), Arc::<Supervisor>::default());
        let tablets: BTreeMap<_, _> =
            hosted.iter().map(|one| (one.group, one.tablet.clone())).collect();
        let (looks, here) = (supervisor.clone(), instances.clone());
        let machine = catalog.as_ref().map(|(machine, _)| machine.clone());
        let (replicas_here, arrival) = (replicas.clone(), self.arrival());
        let place = Place {
            arrivals,
            replicas: replicas_here,
            tablets: tablets.clone(),
            catalog: machine.clone(),
            arrival,
        };
        self.run = Some(Run { tablets, catalog: machine, supervisor: looks, instances: here });
        hall.open(self.id, place);
        simulated::spawn_of(owner, step_log(log, due, self.stalled.clone()));
        simulated::spawn_of(owner, serve(replicas.clone(), arriving));
        let lives = Door(self.id, hall.clone());
        let (woken, looks) = (instances.clone(), supervisor.clone());
        simulated::spawn_of(owner, async move {
            loop {
                woken.woken().notified().await;
                looks.look_now();
            }
        });
        simulated::spawn_of(owner, async move {
            supervisor.run(LOOK_PAUSE, || instances.running(), |look| look(&lives)).await;
        });
        for one in hosted {
            let lives = Door(self.id, hall.clone());
            simulated::spawn_of(owner, sleep_and_wake(one.replica.clone(), lives));
            simulated::spawn_of(owner, maintain(one));
        }
        if let Some((machine, replica)) = catalog {
            simulated::spawn_of(owner, maintain_catalog(machine, replica));
        }
        Ok(())
    }

    /// Gives times of arrival by the node's clock.
    fn arrival(&self) -> ArrivalClock {
        let arrival = ArrivalClock::new(Arc::new(CoarseClock(self.ahead_ns.clone())));
        if !is_planted(Fault::ArrivalWithoutSlot) {
            arrival.share(self.id.0 as u8);
        }
        arrival
    }

    /// What it has given before, it knows.
    fn look_at_vote(&self, hall: &Hall, replica: &Replica) -> Result<(), String> {
        let given = hall.vote_of(self.id, replica.group());
        let standing = replica.standing();
        let known = standing.vote.map(|vote| (vote.term, vote.member.to_u64()));
        match known >= given {
            true => Ok(()),
            false => Err(format!(
                "{:?}: node {} knows of its vote {known:?}, it has given {given:?}",
                replica.group(),
                self.id
            )),
        }
    }

    fn open(
        &self,
        group: GroupId,
        log: &Arc<Log>,
        around: (Arc<Instances>, Arc<dyn Network>),
    ) -> Result<Hosted, String> {
        let text = |error: oribi_store::Error| format!("node {}, {group:?}: {error}", self.id);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let trash = Arc::new(Trash::new(disk.clone(), "/data/trash".into()));
        let bucket = Bucket { index: 0, count: 1 };
        let (id, table) = (TabletId(group.0), TableId(3));
        let spec = TabletSpec { id, table, range: TimeRange::ALL, bucket };
        let dir = PathBuf::from(format!("/data/tablets/{}", group.0));
        for suffix in [Tablet::NEW_SUFFIX, Tablet::COPY_SUFFIX] {
            let left = PathBuf::from(format!("{}{suffix}", dir.display()));
            trash.take(&left, "unfinished").map_err(text)?;
        }
        let has_manifest = Tablet::has_manifest(&*disk, &dir).map_err(text)?;
        let all_in_log = log.group(group).is_none_or(|state| state.purged.is_none());
        if !has_manifest && all_in_log {
            trash.take(&dir, "unfinished").map_err(text)?;
        }
        let options = TabletOptions::new(trash);
        let tablet = match has_manifest || !all_in_log {
            true => Tablet::open(disk, dir, spec, options),
            false => Tablet::create(disk, dir, spec, options),
        };
        let tablet = Arc::new(tablet.map_err(text)?);
        let memtables = Arc::new(Memtables::new(usize::MAX / 2));
        let machine = Arc::new(TabletMachine::new(tablet.clone(), memtables));
        let replica = self.recover(group, log, machine, around)?;
        Ok(Hosted { group, tablet, replica })
    }

    fn open_catalog(
        &self,
        log: &Arc<Log>,
        around: (Arc<Instances>, Arc<dyn Network>),
    ) -> Result<(Arc<CatalogMachine>, Arc<Replica>), String> {
        let found = CatalogMachine::open(Arc::new(self.disk.clone()), "/data".into());
        let found = found.map_err(|error| format!("node {}, catalog: {error}", self.id))?;
        // What a power cut leaves is never both files, nor a file that is no catalog.
        if let Some((path, reason)) = found.damaged.first() {
            return Err(format!("node {}: {}: {reason}", self.id, path.display()));
        }
        let machine = Arc::new(found.machine);
        let replica = self.recover(CATALOG_GROUP, log, machine.clone(), around)?;
        Ok((machine, replica))
    }

    fn recover(
        &self,
        group: GroupId,
        log: &Arc<Log>,
        machine: Arc<dyn Machine>,
        around: (Arc<Instances>, Arc<dyn Network>),
    ) -> Result<Arc<Replica>, String> {
        let [founder, others @ ..] = &self.nodes[..] else { return Err("no nodes".into()) };
        let others = others.iter().copied().map(MemberId::first).collect();
        let assignment = Assignment::new(MemberId::first(*founder), others);
        let (member, of) = (MemberId::first(self.id), (group, &assignment));
        let replica = Replica::recover(member, of, log.clone(), machine, around);
        replica.map_err(|error| format!("node {}: {error}", self.id))
    }
}

/// Writes what waits for the log, as fast as the disk is.
async fn step_log(log: Arc<Log>, due: Arc<Notify>, stalled: Arc<Mutex<Option<Instant>>>) {
    loop {
        due.notified().await;
        tasks::sleep(Duration::from_micros(50 + simulated::below(2_000))).await;
        let until = *stalled.lock();
        if let Some(until) = until {
            tasks::sleep_until(until).await;
        }
        log.step();
    }
}

async fn serve(
    replicas: BTreeMap<GroupId, Arc<Replica>>,
    mut arriving: mpsc::UnboundedReceiver<super::hall::Arrival>,
) {
    while let Some(arrival) = arriving.recv().await {
        let Some(replica) = replicas.get(&arrival.frame.group) else {
            let _ = arrival.answer.send(Err(Refusal::NoReplica));
            continue;
        };
        let answer = replica.receive(&arrival.frame);
        tasks::spawn(async move {
            let _ = arrival.answer.send(answer.await);
        });
    }
}

/// Sleeps and wakes now and then, as often as not while others write.
async fn sleep_and_wake(replica: Arc<Replica>, Door(node, hall): Door) {
    if replica.is_unfinished() {
        // What hinders it does so since the disk has lost its power.
        let _ = replica.wake().await;
    }
    loop {
        tasks::sleep(Duration::from_millis(1 + simulated::below(400))).await;
        let lives = Door(node, hall.clone());
        let nodes = hall.nodes();
        let absent = nodes.iter().copied().filter(|other| !lives.trusts(*other)).collect();
        let quiet = Duration::from_millis(simulated::below(3) * simulated::below(50));
        replica.sleep(quiet, &Arc::new(absent)).await;
        if replica.is_asleep() && simulated::below(4) == 0 {
            let of =
                |other: NodeId| Some((other, hall.replica(other, replica.group())?.sounding()));
            let said: Vec<_> = nodes.into_iter().filter_map(of).collect();
            if replica.is_missed(&said, |leader, voters| lives.is_dead(leader, voters)) {
                let _ = replica.wake().await;
            }
        }
    }
}

/// Flushes, purges and compacts now and then.
async fn maintain(hosted: Arc<Hosted>) {
    loop {
        tasks::sleep(Duration::from_millis(100 + simulated::below(2_000))).await;
        let tablet = &hosted.tablet;
        hosted.replica.seal(|index, state| tablet.seal(index, state));
        // What fails does so since the disk has lost its power.
        let _ = tablet.flush();
        let _ = hosted.replica.purge(Duration::ZERO).await;
        if simulated::below(4) == 0 {
            let _ = tablet.compact();
        }
    }
}

/// Makes the catalog durable and purges the log before it now and then.
async fn maintain_catalog(machine: Arc<CatalogMachine>, replica: Arc<Replica>) {
    loop {
        tasks::sleep(Duration::from_millis(100 + simulated::below(2_000))).await;
        let mut sealed = None;
        replica.seal(|index, state| sealed = Some((index, state, machine.current())));
        if let Some((index, state, catalog)) = sealed {
            // What fails does so since the disk has lost its power.
            let _ = machine.flush(&catalog, index, state);
        }
        let _ = replica.purge(Duration::ZERO).await;
    }
}
