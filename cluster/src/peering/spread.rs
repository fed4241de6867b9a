//! Leaders spread over the nodes, slowly and only while all is calm, and leave a node that wants none.

mod plan;

use super::{CALM, state::State};
use crate::{MemberId, NodeState, Replica, node::CATALOG_GROUP};
use futures::{FutureExt, StreamExt, stream};
use oribi_model::NodeId;
use plan::{Led, Shares, moves};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks for balance that are left out after one that moved nothing.
const EVEN_PAUSES: u32 = 5;
/// Groups that are given away in one look, for balance.
const MOVES_MAX: usize = 16;
/// How long a member may take to lead before another is tried.
const MOVE_WAIT: Duration = Duration::from_millis(200);
/// Groups that are given away at once by a node that wants to lead none.
const LEAVING_MAX: usize = 64;

/// Looks again and again, until the node stops.
pub(super) async fn run(state: Arc<State>) {
    let mut left_out = 0;
    loop {
        if !state.pause(PAUSE).await {
            return;
        }
        if state.node.has_no_others() {
            continue;
        }
        if state.node.leaves_lead() {
            leave(&state).await;
        } else if left_out > 0 {
            left_out -= 1;
        } else if state.supervisor.is_calm(CALM) && balance(&state).await == 0 {
            left_out = EVEN_PAUSES;
        }
    }
}

/// Gives away all that is led here, as far as others can lead it. How many groups are led here
/// afterwards.
pub(super) async fn leave(state: &State) -> usize {
    let led = led_here(state);
    let all: Vec<_> = led
        .into_iter()
        .map(|(replica, others)| give(state, replica, others.into_iter().collect()).boxed())
        .collect();
    stream::iter(all).buffer_unordered(LEAVING_MAX).collect::<Vec<bool>>().await;
    led_count(state)
}

/// Groups of several that are led here.
pub(super) fn led_count(state: &State) -> usize {
    state.node.awake().iter().filter(|replica| is_led_of_several(replica)).count()
}

/// Gives away what others are to lead rather than this node, some at a time, until one is not taken:
/// who has too much to do for one is not given another. How many groups that were; 0 where one was
/// not taken.
async fn balance(state: &State) -> usize {
    let mut shares = Shares::new();
    let catalog = state.node.catalog();
    for (node, record) in catalog.nodes() {
        if record.state == NodeState::Up {
            shares.insert(node, 0);
        }
    }
    // Where anybody is away or wants no leaders nothing is moved to anybody.
    if shares.keys().any(|node| !state.may_lead(*node)) {
        return 0;
    }
    let led: BTreeMap<_, _> = led_here(state)
        .into_iter()
        .filter(|(replica, _)| replica.group() != CATALOG_GROUP)
        .map(|(replica, others)| (replica.group(), (replica, others)))
        .collect();
    if led.is_empty() {
        return 0;
    }
    for (node, count) in state.leaders() {
        shares.entry(node).and_modify(|known| *known += count);
    }
    let movable = led.iter().map(|(group, (_, others))| Led {
        group: *group,
        others: others.iter().map(|member| member.node).collect(),
    });
    let moves = moves(state.own(), &shares, &movable.collect::<Vec<_>>(), MOVES_MAX);
    let count = moves.len();
    for (group, to) in moves {
        let Some((replica, others)) = led.get(&group) else { continue };
        let first = others.iter().copied().filter(|member| member.node == to);
        let rest = others.iter().copied().filter(|member| member.node != to);
        if !give(state, replica.clone(), first.chain(rest).collect()).await {
            return 0;
        }
    }
    count
}

fn is_led_of_several(replica: &Replica) -> bool {
    !replica.is_sole_voter() && replica.standing().leads
}

/// The groups that are led here, with the other voters that have all entries and may lead.
fn led_here(state: &State) -> Vec<(Arc<Replica>, BTreeSet<MemberId>)> {
    let led = state.node.awake().into_iter().filter(|replica| is_led_of_several(replica));
    let with_others = led.map(|replica| {
        let (voters, matched) = (replica.members().voters, replica.matched());
        let others = voters.into_iter().filter(|voter| {
            *voter != replica.member() && matched.contains(voter) && state.may_lead(voter.node)
        });
        let others = others.collect();
        (replica, others)
    });
    with_others.collect()
}

/// Gives a group to the first of these that takes it in time. While one is asked nothing is written,
/// so that where nobody does the group begins anew.
pub(super) async fn give(state: &State, replica: Arc<Replica>, to: Vec<MemberId>) -> bool {
    let (group, is_asked) = (replica.group().0, !to.is_empty());
    for member in to {
        match replica.hand_over(member, MOVE_WAIT).await {
            Ok(true) => {
                tracing::debug!(group, node = member.node.0, "a group was handed over");
                return true;
            }
            Ok(false) => tracing::info!(group, node = member.node.0, "a group was not taken"),
            Err(error) => tracing::debug!(group, %error, "a group was not handed over"),
        }
    }
    if is_asked {
        if let Err(error) = replica.restart().await {
            tracing::debug!(group, %error, "a group could not begin anew");
        }
        state.supervisor.look_now();
    }
    false
}

impl State {
    /// Whether a node may be given a group to lead.
    pub(super) fn may_lead(&self, node: NodeId) -> bool {
        self.watch.view(|view| view.trusts(node) && view.wants_lead(node))
    }
}
