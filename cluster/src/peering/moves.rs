//! Replicas that move: who is gone, what is begun by the leader of the catalog, and how far it is.

use super::{state::State, tablets::Told, view::PeersView};
use crate::{
    Catalog, Change, MemberId, NodeState, Reach, Result,
    placement::{Host, Limits, Move, Placed, Scene, moves},
};
use oribi_model::{NodeId, TabletId, TabletSpec};
use oribi_store::log::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// A node that was not heard of for so long founds no new tablets.
const AWAY_AFTER: Duration = Duration::from_secs(2);
/// Replicas that are made on a node at once; how many of them are copied at once is a matter of its
/// options.
const LIMITS: Limits = Limits { to_node: 4, begun: 16 };
/// After it was looked for moves, so many times as long as that took passes before the next time.
const PLANNING_REST: u32 = 20;
/// Entries that a replica may lack and still count as one that is there.
const LAG_ENTRIES_MAX: u64 = 64;

/// Where a move is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovePhase {
    /// The new replica gets what the others have.
    Copying,
    /// It has nearly all, and gets a vote.
    Promoting,
    /// The old replica leaves.
    Removing,
}

/// A replica on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MoveView {
    /// Of which tablet.
    pub tablet: TabletId,
    /// Where it leaves; `None` for one more.
    pub from: Option<NodeId>,
    /// Where it goes; `None` for one less.
    pub to: Option<NodeId>,
    /// How far it is.
    pub phase: MovePhase,
    /// Bytes of segments that are there.
    pub bytes: u64,
    /// Bytes of segments that its leader has.
    pub bytes_total: u64,
}

impl State {
    /// Notes who is dead now.
    pub(super) fn look_at_absences(&self) {
        let catalog = self.node.catalog();
        let present = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        let nodes: BTreeSet<NodeId> = present.map(|(node, _)| node).collect();
        let own = self.own();
        let dead = self.watch.view(|view| {
            let others = nodes.iter().copied().filter(|node| *node != own);
            others.filter(|node| view.is_dead(*node, &nodes)).collect()
        });
        self.absences.lock().look(Instant::now(), &dead);
    }

    /// Whether a node has been dead for so long that others take its place.
    pub(super) fn is_gone(&self, node: NodeId) -> bool {
        let after = Duration::from_secs(self.options.replace_after_s);
        let absent = self.absences.lock().of(node, Instant::now());
        !absent.is_zero() && absent >= after
    }

    /// What each node is good for.
    fn hosts(&self, catalog: &Catalog) -> BTreeMap<NodeId, Host> {
        let (heard, own) = (self.node.heard(), self.own());
        let reserve = self.node.options().disk_reserve_bytes;
        let free = |node: NodeId| match node == own {
            true => Some(self.node.disk_free_bytes()),
            false => heard.get(&node).map(|heard| heard.disk_free_bytes),
        };
        let host = |node: NodeId, state: NodeState| match state {
            NodeState::Removed => Host::Gone,
            _ if self.is_gone(node) => Host::Gone,
            NodeState::Draining => Host::Drains,
            NodeState::Joining => Host::Keeps,
            NodeState::Up if !self.trusts(node) => Host::Keeps,
            NodeState::Up if free(node).is_none_or(|free| free < reserve) => Host::Keeps,
            NodeState::Up => Host::Serves,
        };
        let here = catalog
            .nodes()
            .filter(|(_, record)| !matches!(record.state, NodeState::Removed | NodeState::Joining));
        here.map(|(node, record)| (node, host(node, record.state))).collect()
    }

    /// All that the placement decides upon.
    fn scene(&self, catalog: &Catalog, told: &Told) -> Scene {
        let hosts = self.hosts(catalog);
        let placed = |spec: &TabletSpec| {
            let tablet = spec.id;
            let staying = catalog.staying(tablet);
            let is_alone = catalog.replicas_of(tablet).len() == 1;
            let is_there = |member: &MemberId| {
                is_alone
                    || hosts.get(&member.node).is_none_or(|host| *host == Host::Gone)
                    || is_near(told, tablet, *member)
            };
            Placed {
                tablet,
                wish: self.wish(catalog, spec),
                behind: staying.iter().copied().filter(|member| !is_there(member)).collect(),
                leaving: catalog.leaving(tablet),
                is_settled: catalog.is_settled(tablet),
                leader: self.leader_of_tablet(spec, catalog, told),
                staying,
            }
        };
        let tablets = catalog.tablets().map(placed).collect();
        Scene { hosts, tablets }
    }

    fn wish(&self, catalog: &Catalog, spec: &TabletSpec) -> usize {
        let table = catalog.table_by_id(spec.table);
        table.map_or(1, |table| usize::from(table.options.replicas()))
    }
}

/// Whether a replica has nearly all that its leader has, as was said about a second ago.
fn is_near(told: &Told, tablet: TabletId, member: MemberId) -> bool {
    let group = GroupId(tablet.0);
    let last = told.leader(group).and_then(|(_, said)| said.last).map_or(0, |last| last.0);
    let said = told.of(group).iter().find(|(node, said)| {
        *node == member.node && said.incarnation == member.incarnation && !said.is_damaged
    });
    said.is_some_and(|(_, said)| {
        said.applied.is_some_and(|applied| applied.0 + LAG_ENTRIES_MAX >= last)
    })
}

/// Notes in the catalog who is away and who is back. Whether anything was noted.
pub(super) async fn note_reach(state: &State, catalog: &Catalog) -> Result<bool> {
    let mut changed = false;
    for (node, record) in catalog.nodes() {
        let absent = state.absences.lock().of(node, Instant::now());
        let change = match record.reach {
            Reach::Heard if absent >= AWAY_AFTER => Change::NoteAway { node },
            Reach::Away if absent.is_zero() && state.trusts(node) => Change::NoteBack { node },
            Reach::Heard | Reach::Away => continue,
        };
        state.node.change(change).await?;
        changed = true;
    }
    Ok(changed)
}

impl State {
    /// The moves that are due now. It is not looked for any where nothing that decides about them has changed,
    /// nor all the time: many tablets take a while.
    fn due(&self, catalog: &Catalog) -> Vec<Move> {
        let (began, seen) = (Instant::now(), (self.scenery(), self.hosts(catalog)));
        let mut planned = self.planned.lock();
        let is_same = self.node.sleeps() && planned.without.as_ref() == Some(&seen);
        if is_same || planned.again.is_some_and(|again| began < again) {
            return Vec::new();
        }
        let due = moves(&self.scene(catalog, &self.told()), LIMITS);
        planned.without = due.is_empty().then_some(seen);
        planned.again = Some(began + began.elapsed() * PLANNING_REST);
        due
    }
}

/// Begins the moves that are due. Whether there were any.
pub(super) async fn begin(state: &State, catalog: &Catalog) -> Result<bool> {
    let due = state.due(catalog);
    for one in &due {
        let (tablet, from, to) = (one.tablet, one.from.clone(), one.to.clone());
        tracing::info!(tablet = tablet.0, ?from, ?to, "replicas move");
        state.node.change(Change::MoveReplicas { tablet, from, to }).await?;
    }
    Ok(!due.is_empty())
}

impl PeersView {
    /// Replicas that are on their way, by tablet; none once the node has stopped.
    pub fn moves(&self) -> Vec<MoveView> {
        let Some(state) = self.state() else { return Vec::new() };
        let (catalog, told) = (state.node.catalog(), state.told());
        let several = catalog.tablets().filter(|spec| catalog.replicas_of(spec.id).len() > 1);
        several.flat_map(|spec| moves_of(spec.id, &catalog, &told)).collect()
    }
}

/// What is on its way of a tablet: those that leave in turn with those that come.
fn moves_of(tablet: TabletId, catalog: &Catalog, told: &Told) -> Vec<MoveView> {
    let group = GroupId(tablet.0);
    let leaving: Vec<MemberId> = catalog.leaving(tablet).into_iter().collect();
    let coming: Vec<MemberId> = catalog
        .staying(tablet)
        .into_iter()
        .filter(|member| member.incarnation.0 > 0)
        .filter(|_| !catalog.is_settled(tablet))
        .collect();
    let newest = coming.len().saturating_sub(leaving.len().max(1));
    let coming = if leaving.is_empty() { &coming[..] } else { &coming[newest..] };
    let bytes_total = told.leader(group).map_or(0, |(_, said)| said.bytes);
    let count = leaving.len().max(coming.len());
    (0..count)
        .map(|at| {
            let (from, to) = (leaving.get(at), coming.get(at));
            let said = to.and_then(|to| {
                let of = told.of(group).iter();
                of.clone()
                    .find(|(node, said)| *node == to.node && said.incarnation == to.incarnation)
            });
            let bytes = said.map_or(0, |(_, said)| said.bytes);
            let phase = match to {
                Some(to) if !is_near(told, tablet, *to) => MovePhase::Copying,
                Some(_) if from.is_none() => MovePhase::Promoting,
                Some(_) | None => MovePhase::Removing,
            };
            let (from, to) = (from.map(|from| from.node), to.map(|to| to.node));
            MoveView { tablet, from, to, phase, bytes: bytes.min(bytes_total), bytes_total }
        })
        .collect()
}
