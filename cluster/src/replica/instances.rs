//! The consensus instances of a node: how many run, and which of them should rest.
//!
//! An instance holds some 110 KiB from its start. Its queues are rings made for thousands of steps
//! (1.4 MiB), which become resident as writes walk through them; a new instance begins with fresh
//! ones.

use super::{Replica, in_flight::InFlight};
use crate::{
    copy::{Copies, CopyOptions},
    tasks,
};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// How many instances run at once.
const RUNNING_MAX: usize = 768;
/// How many run on where others wait for a place, so that it does not come to that with every
/// start.
const RUNNING_KEPT: usize = RUNNING_MAX - RUNNING_MAX / 8;
/// An instance without a write for so long rests.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// For so long it is remembered that a replica has changed: other nodes ask more often.
pub(crate) const CHANGED_KEPT: Duration = Duration::from_secs(10);
/// An instance that took so many writes rests where more than [`WORN_KEPT`] run.
const WRITES_MAX: u64 = 512;
const WORN_KEPT: usize = 16;

/// The instances of one node.
pub(crate) struct Instances {
    running: Mutex<BTreeMap<GroupId, Weak<Replica>>>,
    /// When other nodes may first have something new to hear of a group that does not run.
    changed: Mutex<BTreeMap<GroupId, Instant>>,
    /// Told when one of a group of several has started.
    woken: Notify,
    wakes: AtomicU64,
    sleeps: AtomicU64,
    places: Arc<Semaphore>,
    /// Instances that wait for a place.
    waiting: AtomicUsize,
    crowded: Notify,
    copies: Arc<Copies>,
    in_flight: InFlight,
}

/// What an instance holds while it runs.
pub(super) type Place = OwnedSemaphorePermit;

impl Default for Instances {
    fn default() -> Instances {
        Instances::new(CopyOptions::default())
    }
}

impl Instances {
    pub(crate) fn new(options: CopyOptions) -> Instances {
        let places = Arc::new(Semaphore::new(RUNNING_MAX));
        let (waiting, copies) = (AtomicUsize::new(0), Arc::new(Copies::new(options)));
        Instances {
            running: Mutex::default(),
            changed: Mutex::default(),
            woken: Notify::new(),
            wakes: AtomicU64::new(0),
            sleeps: AtomicU64::new(0),
            places,
            waiting,
            crowded: Notify::new(),
            copies,
            in_flight: InFlight::default(),
        }
    }

    /// The replicas that run an instance.
    pub(crate) fn running(&self) -> Vec<Arc<Replica>> {
        self.running.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Notes that a replica has changed which may not run.
    pub(crate) fn note_change(&self, group: GroupId) {
        self.changed.lock().insert(group, tasks::now());
    }

    /// Groups whose replicas run, or have changed within the last [`CHANGED_KEPT`].
    pub(crate) fn awake_or_changed(&self) -> BTreeSet<GroupId> {
        self.awake_or_changed_as_of(tasks::now())
    }

    fn awake_or_changed_as_of(&self, now: Instant) -> BTreeSet<GroupId> {
        let mut changed = self.changed.lock();
        changed.retain(|_, at| now.saturating_duration_since(*at) < CHANGED_KEPT);
        let mut groups: BTreeSet<GroupId> = changed.keys().copied().collect();
        drop(changed);
        groups.extend(self.running.lock().keys());
        groups
    }

    /// Told when an instance of a group of several has started.
    pub(crate) fn woken(&self) -> &Notify {
        &self.woken
    }

    /// How often an instance of a group of several was started, and how often one was ended since
    /// its group was quiet.
    pub(crate) fn wakes_and_sleeps(&self) -> (u64, u64) {
        (self.wakes.load(Ordering::Relaxed), self.sleeps.load(Ordering::Relaxed))
    }

    pub(super) fn note_start(&self, replica: &Arc<Replica>) {
        self.running.lock().insert(replica.group, Arc::downgrade(replica));
        if replica.is_of_several() {
            self.wakes.fetch_add(1, Ordering::Relaxed);
            self.woken.notify_one();
        }
    }

    pub(super) fn note_end(&self, group: GroupId) {
        self.note_change(group);
        self.running.lock().remove(&group);
    }

    pub(super) fn count_sleep(&self) {
        self.sleeps.fetch_add(1, Ordering::Relaxed);
    }

    /// What is on its way to other nodes.
    pub(super) fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// What copies of other nodes' replicas share.
    pub(super) fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }

    /// Told when one waits for a place.
    pub(crate) fn crowded(&self) -> &Notify {
        &self.crowded
    }

    /// Whether one waits for a place.
    pub(crate) fn is_crowded(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Whether the node stops.
    pub(super) fn is_closed(&self) -> bool {
        self.places.is_closed()
    }

    /// Lets no more start; those that wait for a place get none.
    pub(crate) fn close(&self) {
        self.places.close();
    }

    /// A place for one more, once there is one; `None` after [`Instances::close`].
    pub(super) async fn place(&self) -> Option<Place> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let _waiting = Waiting::new(&self.waiting);
        self.crowded.notify_one();
        self.places.clone().acquire_owned().await.ok()
    }
}

/// Counted for as long as it lives.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the running instance of a replica was used for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// When it started, or the last write began.
    pub(crate) last: Instant,
    /// Writes since it started.
    pub(crate) writes: u64,
}

impl Usage {
    /// That of an instance which starts now.
    pub(super) fn begin() -> Usage {
        Usage { last: tasks::now(), writes: 0 }
    }

    pub(super) fn note_write(&mut self) {
        self.last = tasks::now();
        self.writes += 1;
    }
}

/// Which of the running instances should rest, as places in `usages`: those without a write for a
/// while, those that are worn, and where others wait and too many are left, those whose last write
/// is oldest.
pub(crate) fn to_rest(now: Instant, usages: &[Usage], instances: &Instances) -> Vec<usize> {
    let many = usages.len() > WORN_KEPT;
    let is_due = |usage: &Usage| {
        now.saturating_duration_since(usage.last) >= IDLE_MAX
            || (many && usage.writes >= WRITES_MAX)
    };
    let places = 0..usages.len();
    let (mut resting, mut staying): (Vec<usize>, Vec<usize>) =
        places.partition(|place| is_due(&usages[*place]));
    if instances.is_crowded() && staying.len() > RUNNING_KEPT {
        staying.sort_unstable_by_key(|place| Reverse(usages[*place].last));
        resting.extend(staying.drain(RUNNING_KEPT..));
    }
    resting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(count: usize, now: Instant) -> Vec<Usage> {
        let usage = |at| Usage { last: now - Duration::from_millis(at as u64), writes: 1 };
        (0..count).map(usage).collect()
    }

    #[tokio::test]
    async fn the_oldest_make_room_where_one_waits() {
        let now = tasks::now();
        let instances = Arc::new(Instances::default());
        let mut places = Vec::new();
        for _ in 0..RUNNING_MAX {
            places.push(instances.place().await.unwrap());
        }
        let usages = usages(RUNNING_MAX, now);
        assert!(to_rest(now, &usages, &instances).is_empty());
        let waiting = tokio::spawn({
            let instances = instances.clone();
            async move { instances.place().await.is_some() }
        });
        instances.crowded().notified().await;
        let mut resting = to_rest(now, &usages, &instances);
        resting.sort_unstable();
        assert_eq!(resting, (RUNNING_KEPT..RUNNING_MAX).collect::<Vec<_>>());
        places.pop();
        assert!(waiting.await.unwrap());
        assert!(!instances.is_crowded());
        instances.close();
        assert!(instances.place().await.is_none());
    }

    #[test]
    fn what_sleeps_is_not_looked_at_once_others_have_heard_of_it() {
        let instances = Instances::default();
        (0..10_000).for_each(|group| instances.note_change(GroupId(group)));
        assert_eq!(instances.awake_or_changed().len(), 10_000);
        assert!(instances.awake_or_changed_as_of(tasks::now() + CHANGED_KEPT).is_empty());
    }

    #[test]
    fn idle_and_worn_ones_rest() {
        let (now, nobody) = (tasks::now() + IDLE_MAX, Instances::default());
        let mut few = usages(WORN_KEPT, now);
        few[3].last = now - IDLE_MAX;
        few[5].writes = WRITES_MAX;
        assert_eq!(to_rest(now, &few, &nobody), [3]);
        let mut many = [few, usages(1, now)].concat();
        assert_eq!(to_rest(now, &many, &nobody), [3, 5]);
        many[3].last = now;
        assert_eq!(to_rest(now, &many, &nobody), [5]);
    }
}
