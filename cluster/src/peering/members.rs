//! The members of the groups that are led here follow the catalog.

use super::{
    plan::{Step, Wanted, next},
    state::{State, may_lead},
};
use crate::{Catalog, Change, MemberId, NodeState, Replica, Result, node::CATALOG_GROUP};
use futures::{StreamExt, stream};
use oribi_model::TabletId;
use std::{sync::Arc, time::Duration};

/// Voters of the catalog at most.
const CATALOG_VOTERS_MAX: usize = 5;
/// Between two looks while something is to be done, and otherwise.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Groups whose members are changed at once.
const CHANGES_MAX: usize = 16;
/// Tablets that are given more replicas in one look.
const GROWING_MAX: usize = 16;

/// Looks again and again, until the node stops.
pub(super) async fn run(state: Arc<State>) {
    loop {
        let is_busy = look(&state).await;
        if !state.pause(if is_busy { PAUSE_MIN } else { PAUSE_MAX }).await {
            return;
        }
    }
}

/// Takes a step in each group that is led here. Whether there is more to do.
async fn look(state: &State) -> bool {
    if state.node.has_no_others() {
        return false;
    }
    let catalog = state.node.catalog();
    let led = state.node.replicas().into_iter().filter(|replica| may_lead(replica));
    let groups = led.filter_map(|replica| {
        let wanted = wanted(&replica, &catalog)?;
        let is_other = !wanted.members.iter().eq([&replica.member()]);
        is_other.then_some((replica, wanted))
    });
    let steps = groups.filter_map(|(replica, wanted)| {
        let step = next(&replica.members(), &replica.caught_up(), &wanted)?;
        Some(take(replica, step))
    });
    let steps: Vec<_> = steps.collect();
    let mut is_busy = !steps.is_empty();
    stream::iter(steps).buffer_unordered(CHANGES_MAX).collect::<Vec<()>>().await;
    if state.leads_catalog() {
        match lead(state).await {
            Ok(changed) => is_busy |= changed,
            Err(error) => tracing::debug!(%error, "the catalog could not be changed"),
        }
    }
    is_busy
}

/// The members that a group is to have; `None` for a tablet that is gone.
fn wanted(replica: &Replica, catalog: &Catalog) -> Option<Wanted> {
    let group = replica.group();
    if group == CATALOG_GROUP {
        let nodes = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        let members = nodes.map(|(node, _)| MemberId::first(node)).collect();
        return Some(Wanted { members, voters_max: CATALOG_VOTERS_MAX });
    }
    let tablet = TabletId(group.0);
    catalog.tablet(tablet)?;
    let replicas = catalog.replicas_of(tablet);
    Some(Wanted { members: replicas.iter().copied().collect(), voters_max: replicas.len() })
}

async fn take(replica: Arc<Replica>, step: Step) {
    let outcome = match &step {
        Step::AddLearner(member) => replica.add_learner(*member).await,
        Step::ChangeVoters(voters) => replica.change_voters(voters).await,
    };
    let group = replica.group().0;
    match outcome {
        Ok(()) => tracing::debug!(group, ?step, "members were changed"),
        // What stands in the way now may not the next time.
        Err(error) => tracing::debug!(group, ?step, %error, "members were not changed"),
    }
}

/// What only the leader of the catalog decides: who takes part, and which tablets get more replicas.
/// Whether it has decided anything.
async fn lead(state: &State) -> Result<bool> {
    let mut changed = false;
    let catalog = state.node.catalog();
    let caught_up = state.catalog().map(|replica| replica.caught_up()).unwrap_or_default();
    for (node, record) in catalog.nodes() {
        let is_there = caught_up.contains(&MemberId::first(node));
        if record.state == NodeState::Joining && is_there {
            state.node.change(Change::SetNodeState { node, state: NodeState::Up }).await?;
            tracing::info!(node = node.0, "a node takes part");
            changed = true;
        }
    }
    let catalog = state.node.catalog();
    if catalog.nodes().count() < 2 {
        return Ok(changed);
    }
    let growing = catalog.tablets().map(|spec| (spec.id, catalog.growth_of(spec.id)));
    for (tablet, more) in growing.filter(|(_, more)| !more.is_empty()).take(GROWING_MAX) {
        let replicas = [catalog.replicas_of(tablet), &more].concat();
        state.node.change(Change::AssignReplicas { tablet, replicas }).await?;
        changed = true;
    }
    Ok(changed)
}
