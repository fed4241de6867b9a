//! The members of the groups that are led here follow the catalog.

use super::{
    CALM, CALM_PAUSE, moves, never_begun,
    plan::{Step, Wanted, next},
    spread,
    state::{State, may_lead},
};
use crate::{
    Catalog, Change, MemberId, NodeState, Replica, Result, node::CATALOG_GROUP, placement::odd,
};
use futures::{StreamExt, stream};
use oribi_model::TabletId;
use oribi_store::log::GroupId;
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Voters of the catalog at most.
const CATALOG_VOTERS_MAX: usize = 5;
/// Between two looks while something is to be done, and otherwise, unless all is calm.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Groups whose members are changed at once.
const CHANGES_MAX: usize = 16;

/// What a look has found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    /// Something was done, and more may be.
    Busy,
    /// Something is to be done once others are so far.
    Waiting,
    /// All groups that are led here have the members that they are to have.
    Settled,
}

/// Looks again and again, until the node stops.
pub(super) async fn run(state: Arc<State>) {
    let (mut catalog, mut lives) = (state.node.watch_catalog(), state.supervisor.changes());
    let (mut told, mut settled) = (Instant::now(), None);
    loop {
        catalog.mark_unchanged();
        lives.mark_unchanged();
        let scenery = Some(state.scenery());
        let looked_at = if settled == scenery { state.node.awake() } else { state.node.replicas() };
        let found = look(&state, looked_at).await;
        settled = if found == Found::Settled { scenery } else { None };
        if found != Found::Settled {
            told = Instant::now();
        }
        let is_calm = told.elapsed() >= CALM && state.supervisor.is_calm(CALM);
        let pause = match found {
            Found::Busy => PAUSE_MIN,
            Found::Settled if is_calm => CALM_PAUSE,
            Found::Waiting | Found::Settled => PAUSE_MAX,
        };
        let news = async {
            tokio::select! {
                _ = catalog.changed() => {}
                _ = lives.changed() => {}
            }
        };
        let is_on = tokio::select! {
            is_on = state.pause(pause) => is_on,
            () = news, if pause > PAUSE_MAX => {
                told = Instant::now();
                state.pause(PAUSE_MIN).await
            }
        };
        if !is_on {
            return;
        }
    }
}

/// Takes a step in each group of these that is led here.
async fn look(state: &State, replicas: Vec<Arc<Replica>>) -> Found {
    if state.node.has_no_others() {
        return Found::Settled;
    }
    let catalog = state.node.catalog();
    let led = replicas.into_iter().filter(|replica| may_lead(replica));
    let groups = led.filter_map(|replica| {
        let wanted = wanted(state, &replica, &catalog)?;
        let is_other = !wanted.members.iter().eq([&replica.member()]) || replica.is_of_several();
        is_other.then_some((replica, wanted))
    });
    let mut is_settled = true;
    let steps = groups.filter_map(|(replica, wanted)| {
        let members = replica.members();
        is_settled &= members.is_settled && members.voters == wanted.members;
        let step = next(replica.member(), &members, &replica.caught_up(), &wanted)?;
        Some(take(state, replica, step))
    });
    let steps: Vec<_> = steps.collect();
    let mut is_busy = !steps.is_empty();
    stream::iter(steps).buffer_unordered(CHANGES_MAX).collect::<Vec<()>>().await;
    is_busy |= report_gone(state, &catalog).await;
    state.look_at_absences();
    if state.leads_catalog() {
        match lead(state).await {
            Ok(changed) => is_busy |= changed,
            Err(error) => {
                tracing::debug!(%error, "the catalog could not be changed");
                is_settled = false;
            }
        }
    }
    match (is_busy, is_settled) {
        (true, _) => Found::Busy,
        (false, false) => Found::Waiting,
        (false, true) => Found::Settled,
    }
}

/// The members that a group is to have; `None` for a tablet that is gone.
pub(super) fn wanted(state: &State, replica: &Replica, catalog: &Catalog) -> Option<Wanted> {
    let group = replica.group();
    if group == CATALOG_GROUP {
        let nodes = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        let (mut members, mut avoided) = (BTreeSet::new(), BTreeSet::new());
        for (node, record) in nodes {
            let member = MemberId::first(node);
            members.insert(member);
            if record.state == NodeState::Draining || state.is_gone(node) {
                avoided.insert(member);
            }
        }
        let (voters_max, voters_min) = (CATALOG_VOTERS_MAX, usize::MAX);
        return Some(Wanted { members, voters_max, voters_min, avoided });
    }
    let tablet = TabletId(group.0);
    catalog.tablet(tablet)?;
    let members: BTreeSet<MemberId> = catalog.staying(tablet).into_iter().collect();
    let (voters_max, voters_min) = (members.len(), odd(members.len(), members.len()));
    Some(Wanted { members, voters_max, voters_min, avoided: BTreeSet::new() })
}

async fn take(state: &State, replica: Arc<Replica>, step: Step) {
    let outcome = match &step {
        Step::AddLearner(member) => replica.add_learner(*member).await,
        Step::ChangeVoters(voters) => replica.change_voters(voters).await,
        Step::HandOver(heirs) => {
            let heirs = heirs.iter().copied().filter(|heir| state.may_lead(heir.node));
            spread::give(state, replica.clone(), heirs.collect()).await;
            Ok(())
        }
        Step::Forget(gone) => replica.forget_learners(gone).await,
    };
    let group = replica.group().0;
    match outcome {
        Ok(()) => tracing::debug!(group, ?step, "members were changed"),
        // What stands in the way now may not the next time.
        Err(error) => tracing::debug!(group, ?step, %error, "members were not changed"),
    }
}

/// Tells the catalog which replicas that were to leave are no members any more, and which groups have
/// the members that they are to have. Whether there was anything to tell.
async fn report_gone(state: &State, catalog: &Catalog) -> bool {
    let mut is_busy = false;
    for tablet in catalog.tablets_moving() {
        let Some(replica) = state.node.replica(GroupId(tablet.0)).filter(|one| may_lead(one))
        else {
            continue;
        };
        let members = replica.committed_members();
        let leaving = catalog.leaving(tablet);
        let gone = leaving.iter().filter(|member| !members.contains(**member));
        let mut changes: Vec<Change> =
            gone.map(|member| Change::ForgetReplica { tablet, member: *member }).collect();
        let replicas = catalog.replicas_of(tablet);
        let is_settled = members.is_settled
            && members.learners.iter().chain(&members.voters).count() == replicas.len()
            && replicas.iter().all(|member| members.contains(*member))
            && members.voters.len() == odd(replicas.len(), replicas.len());
        if leaving.is_empty() && is_settled {
            changes.push(Change::SettleReplicas { tablet, members: replicas.to_vec() });
        }
        for change in changes {
            is_busy = true;
            if let Err(error) = state.node.change(change).await {
                tracing::debug!(tablet = tablet.0, %error, "not told yet how far a move is");
            }
        }
    }
    is_busy
}

/// What only the leader of the catalog decides: who takes part, who is away, and which replicas move.
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
    changed |= moves::note_reach(state, &catalog).await?;
    changed |= moves::begin(state, &catalog).await?;
    changed |= never_begun::drop_given_up(state, &catalog).await?;
    Ok(changed)
}
