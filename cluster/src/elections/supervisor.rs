//! The task of a node that carries the plan out.

use super::{Elections, Lives, Standing, Step};
use crate::{Replica, tasks};
use futures::{StreamExt, stream};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

/// Between two looks while some group may have no leader.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// Between two looks otherwise; a change of liveness is looked at when it comes.
const QUIET_PAUSE: Duration = Duration::from_millis(500);
/// For how long after a change of liveness looks stay close: that others suspect a node, too, comes
/// with their pings.
const ALERT: Duration = Duration::from_secs(1);
/// Groups in which a step is taken at once.
const STEPS_MAX: usize = 64;

/// The elections of a node's groups.
pub struct Supervisor {
    elections: Mutex<Elections>,
    due: Notify,
    stopped: watch::Sender<bool>,
}

impl Default for Supervisor {
    fn default() -> Supervisor {
        let (elections, due) = (Mutex::default(), Notify::new());
        Supervisor { elections, due, stopped: watch::Sender::new(false) }
    }
}

impl Supervisor {
    /// A node was suspected or trusted, or anything else has changed that elections follow from.
    pub fn look_now(&self) {
        self.due.notify_one();
    }

    /// A node runs anew.
    pub fn restarted(&self, node: NodeId) {
        self.elections.lock().restarted(node);
        self.due.notify_one();
    }

    /// Lets [`Supervisor::run`] end.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Looks at the replicas of a node and does what is due, until it is stopped. Of a node one
    /// runs.
    pub async fn run(
        &self,
        replicas: impl Fn() -> Vec<Arc<Replica>> + Send,
        lives: impl Fn(&mut dyn FnMut(&dyn Lives)) + Send,
    ) {
        let (started, mut stopped) = (tasks::now(), self.stopped.subscribe());
        let mut alert_until = started;
        while !*stopped.borrow_and_update() {
            let replicas = replicas();
            let standings: Vec<Standing> =
                replicas.iter().map(|replica| replica.standing()).collect();
            let now_ms = u64::try_from((tasks::now() - started).as_millis()).unwrap_or(u64::MAX);
            let mut steps = Vec::new();
            lives(&mut |lives| steps = self.elections.lock().look(now_ms, lives, &standings));
            carry_out(&replicas, &standings, steps).await;
            let settled = self.elections.lock().is_settled();
            let is_quiet = settled && tasks::now() >= alert_until;
            let pause = if is_quiet { QUIET_PAUSE } else { LOOK_PAUSE };
            tokio::select! {
                biased;
                _ = stopped.changed() => {}
                () = self.due.notified() => alert_until = tasks::now() + ALERT,
                () = tasks::sleep(pause) => {}
            }
        }
    }
}

/// Takes the steps; those of one group in their order.
async fn carry_out(replicas: &[Arc<Replica>], standings: &[Standing], steps: Vec<Step>) {
    let groups = standings.iter().map(|standing| standing.group);
    let by_group: BTreeMap<GroupId, &Arc<Replica>> = groups.zip(replicas).collect();
    let mut of_group = BTreeMap::<GroupId, Vec<Step>>::new();
    for step in steps {
        let (Step::Release(group, _) | Step::Stand(group)) = step;
        of_group.entry(group).or_default().push(step);
    }
    let all = of_group.into_iter().filter_map(|(group, steps)| {
        let replica = (*by_group.get(&group)?).clone();
        Some(take(group, replica, steps))
    });
    stream::iter(all).buffer_unordered(STEPS_MAX).collect::<Vec<()>>().await;
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
