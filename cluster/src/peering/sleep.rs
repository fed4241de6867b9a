//! Replicas of groups of several that nobody asks anything sleep, and those wake that are needed although
//! nobody asks.

use super::{
    members::wanted,
    state::{State, is_replaced},
};
use crate::{Replica, elections::Lives};
use futures::{StreamExt, stream};
use oribi_model::NodeId;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Between two looks at those that are awake.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks at those that are awake, to each at those that sleep.
const ASLEEP_LOOKS: u32 = 5;
/// Looks at those that are awake, to each at those that sleep although nothing seems to be new for these.
const ANYWAY_LOOKS: u32 = 60;
/// Where more are awake than so many, those sleep sooner that are quiet, and none is woken that
/// nobody asks anything.
const AWAKE_MAX: usize = 768;
/// After so long, then.
const CROWDED_QUIET: Duration = Duration::from_secs(2);
/// Replicas that are woken in one look although nobody asks anything of them.
const WOKEN_MAX: usize = 64;
/// Replicas that fall asleep, or wake, at once.
const SWITCHED_MAX: usize = 16;

/// Looks again and again, until the node stops.
pub(super) async fn run(state: Arc<State>) {
    let quiet = Duration::from_secs(state.options.sleep_after_s);
    let (mut looks, mut settled) = (0_u32, None);
    while state.pause(PAUSE).await {
        if state.node.has_no_others() {
            continue;
        }
        if !quiet.is_zero() {
            put_to_sleep(&state, quiet).await;
        }
        looks = looks.wrapping_add(1);
        if !looks.is_multiple_of(ASLEEP_LOOKS) {
            continue;
        }
        let scenery = Some(state.scenery());
        if settled != scenery || looks.is_multiple_of(ANYWAY_LOOKS) {
            settled = if wake(&state).await { scenery } else { None };
        }
    }
}

/// Has those look for a leader at once that have woken.
pub(super) async fn follow_wakes(state: Arc<State>) {
    loop {
        state.node.instances().woken().notified().await;
        state.supervisor.look_now();
    }
}

async fn put_to_sleep(state: &State, quiet: Duration) {
    let awake = state.node.instances().running();
    let quiet = if awake.len() > AWAKE_MAX { quiet.min(CROWDED_QUIET) } else { quiet };
    let others = state.others();
    let is_absent = |node: &NodeId| state.watch.view(|view| !view.trusts(*node));
    let absent: BTreeSet<NodeId> = others.into_keys().filter(is_absent).collect();
    let absent = Arc::new(absent);
    let sleeping = stream::iter(awake).for_each_concurrent(SWITCHED_MAX, |replica| {
        let absent = absent.clone();
        async move {
            if replica.sleep(quiet, &absent).await {
                tracing::debug!(group = replica.group().0, "a replica sleeps");
            }
        }
    });
    sleeping.await;
}

/// Wakes those that lead a member which is behind, or whose leader is dead or replaced, or whose members are to
/// change; some of them at a time. Whoever is asked anything wakes anyway. Whether none was needed.
async fn wake(state: &State) -> bool {
    let awake = state.node.instances().running().len();
    let asleep: Vec<_> =
        state.node.replicas().into_iter().filter(|replica| replica.is_asleep()).collect();
    if asleep.is_empty() || awake >= AWAKE_MAX {
        return asleep.is_empty();
    }
    let (told, catalog) = (state.told(), state.node.catalog());
    let is_needed = |replica: &Arc<Replica>| {
        let said = told.of(replica.group());
        let is_dead = |node, voters: &BTreeSet<NodeId>| {
            state.watch.view(|view| Lives::is_dead(view, node, voters))
        };
        let members = replica.members();
        let has = || members.voters.union(&members.learners).copied().collect::<BTreeSet<_>>();
        let leader = replica.standing().vote.map(|vote| vote.member);
        let leads = leader == Some(replica.member());
        let is_orphan = || leader.is_some_and(|one| is_replaced(&catalog, replica.group(), one));
        let is_changed =
            || wanted(state, replica, &catalog).is_some_and(|wanted| wanted.members != has());
        replica.is_missed(said, is_dead) || is_orphan() || (leads && is_changed())
    };
    let room = WOKEN_MAX.min(AWAKE_MAX - awake);
    let needed: Vec<_> = asleep.into_iter().filter(is_needed).take(room).collect();
    let is_settled = needed.is_empty();
    let waking = stream::iter(needed);
    let woken = waking.for_each_concurrent(SWITCHED_MAX, |replica| async move {
        if let Err(error) = replica.wake().await {
            tracing::debug!(group = replica.group().0, %error, "a replica did not wake");
        }
    });
    woken.await;
    is_settled
}
