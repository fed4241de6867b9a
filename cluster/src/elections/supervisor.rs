//! The task of a node that carries the plan out.

use super::{Elections, Lives, Standing, Step};
use crate::{Replica, tasks};
use futures::{StreamExt, stream};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};

/// Between two looks while some group may have no leader.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Between two looks at all groups then: the others are those at the groups that seemed to have no leader.
const LOOK_ALL_PAUSE: Duration = Duration::from_millis(50);
/// For how long after a change of liveness looks stay close: that others suspect a node, too, comes
/// with their pings.
const ALERT: Duration = Duration::from_secs(1);
/// How long the steps in one group may take.
const STEPS_WAIT: Duration = Duration::from_secs(2);
/// Groups in which sending is resumed at once.
const RESUMED_MAX: usize = 64;

/// The elections of a node's groups.
pub struct Supervisor {
    elections: Mutex<Elections>,
    /// Nodes to which a connection stands again.
    reached: Mutex<BTreeSet<NodeId>>,
    /// Nodes of which it is not known since whether they lead what they led.
    doubted: Mutex<BTreeSet<NodeId>>,
    /// When anybody was suspected or trusted last, or ran anew.
    changed: Mutex<Option<Instant>>,
    due: Notify,
    /// Told of each change of liveness.
    changes: watch::Sender<()>,
    stopped: watch::Sender<bool>,
}

impl Default for Supervisor {
    fn default() -> Supervisor {
        Supervisor {
            elections: Mutex::default(),
            reached: Mutex::default(),
            doubted: Mutex::default(),
            changed: Mutex::default(),
            due: Notify::new(),
            changes: watch::Sender::default(),
            stopped: watch::Sender::new(false),
        }
    }
}

impl Supervisor {
    /// Something has changed that elections follow from.
    pub fn look_now(&self) {
        self.due.notify_one();
    }

    /// A node is suspected or trusted from now on.
    pub fn changed(&self, node: NodeId) {
        self.doubted.lock().insert(node);
        *self.changed.lock() = Some(tasks::now());
        self.changes.send_replace(());
        self.due.notify_one();
    }

    /// A node runs anew.
    pub fn restarted(&self, node: NodeId) {
        self.elections.lock().restarted(node);
        self.changed(node);
    }

    /// Told of every change of liveness from now on.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// The nodes that have to prove anew that they lead, since this was asked last.
    pub fn take_doubted(&self) -> BTreeSet<NodeId> {
        std::mem::take(&mut *self.doubted.lock())
    }

    /// Whether for so long nobody was suspected, trusted or begun anew, and all groups have leaders.
    pub fn is_calm(&self, since: Duration) -> bool {
        let changed = *self.changed.lock();
        let is_long_ago = changed.is_none_or(|at| tasks::now() - at >= since);
        is_long_ago && self.elections.lock().is_settled()
    }

    /// What waits for a node can be sent to it.
    pub fn reached(&self, node: NodeId) {
        self.reached.lock().insert(node);
        self.due.notify_one();
    }

    /// Lets [`Supervisor::run`] end.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Looks at the replicas of a node and does what is due, until it is stopped. While nothing seems to
    /// be due it looks every `quiet` for what no change of liveness tells: an instance that ended, a
    /// candidate that went away. Of a node one runs.
    pub async fn run(
        &self,
        quiet: Duration,
        replicas: impl Fn() -> Vec<Arc<Replica>> + Send,
        lives: impl Fn(&mut dyn FnMut(&dyn Lives)) + Send,
    ) {
        let (started, mut stopped) = (tasks::now(), self.stopped.subscribe());
        let (mut alert_until, busy) = (started, Arc::<Mutex<BTreeSet<GroupId>>>::default());
        let (mut looked_at, mut all_due) = (Vec::new(), started);
        while !*stopped.borrow_and_update() {
            let at_all = tasks::now() >= all_due;
            if at_all {
                looked_at = replicas();
                let reached = std::mem::take(&mut *self.reached.lock());
                resume(&looked_at, reached);
                all_due = tasks::now() + LOOK_ALL_PAUSE;
            }
            let standings: Vec<Standing> =
                looked_at.iter().map(|replica| replica.standing()).collect();
            let now_ms = u64::try_from((tasks::now() - started).as_millis()).unwrap_or(u64::MAX);
            let mut steps = Vec::new();
            lives(&mut |lives| {
                let mut elections = self.elections.lock();
                steps = match at_all {
                    true => elections.look(now_ms, lives, &standings),
                    false => elections.look_again(now_ms, lives, &standings),
                };
            });
            carry_out(&looked_at, steps, &busy);
            {
                let elections = self.elections.lock();
                looked_at.retain(|replica| elections.is_vacant(replica.group()));
            }
            let pause = match (looked_at.is_empty(), tasks::now() >= alert_until) {
                (true, true) => quiet,
                (true, false) => LOOK_ALL_PAUSE,
                (false, _) => LOOK_PAUSE,
            };
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                () = self.due.notified() => {
                    let now = tasks::now();
                    (alert_until, all_due) = (now + ALERT, now);
                }
                () = tasks::sleep(pause) => {}
            }
        }
    }
}

/// A group in which steps are taken, until this goes.
struct Busy {
    group: GroupId,
    all: Arc<Mutex<BTreeSet<GroupId>>>,
}

impl Busy {
    /// `None` where steps are taken in it already.
    fn begin(group: GroupId, all: &Arc<Mutex<BTreeSet<GroupId>>>) -> Option<Busy> {
        all.lock().insert(group).then(|| Busy { group, all: all.clone() })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.all.lock().remove(&self.group);
    }
}

/// Takes the steps, those of one group in their order. Waits for none of them: a group that is stuck
/// holds up no other.
fn carry_out(replicas: &[Arc<Replica>], steps: Vec<Step>, busy: &Arc<Mutex<BTreeSet<GroupId>>>) {
    let mut of_group = BTreeMap::<GroupId, Vec<Step>>::new();
    for step in steps {
        let (Step::Release(group, _) | Step::Stand(group)) = step;
        of_group.entry(group).or_default().push(step);
    }
    for replica in replicas {
        let group = replica.group();
        if let Some(steps) = of_group.remove(&group)
            && let Some(busy) = Busy::begin(group, busy)
        {
            let replica = replica.clone();
            tasks::spawn(async move {
                let taken = tasks::timeout(STEPS_WAIT, take(group, replica, steps)).await;
                if taken.is_err() {
                    tracing::warn!(group = group.0, "steps of an election take long");
                }
                drop(busy);
            });
        }
    }
}

async fn take(group: GroupId, replica: Arc<Replica>, steps: Vec<Step>) {
    for step in steps {
        let outcome = match step {
            Step::Release(_, node) => replica.release(node).await,
            Step::Stand(_) => replica.stand().await,
        };
        // What stands in the way now may not the next time.
        if let Err(error) = outcome {
            tracing::debug!(group = group.0, ?step, %error, "an election got nowhere");
        }
    }
}

/// Sends what waits for these nodes, wherever this node leads.
fn resume(replicas: &[Arc<Replica>], reached: BTreeSet<NodeId>) {
    for node in reached {
        let replicas = replicas.to_vec();
        tasks::spawn(async move {
            let all =
                stream::iter(replicas).for_each_concurrent(RESUMED_MAX, |replica| async move {
                    // One that is stuck has nothing to send.
                    let _ = tasks::timeout(STEPS_WAIT, replica.resume(node)).await;
                });
            all.await;
        });
    }
}
