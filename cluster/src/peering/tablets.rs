//! What a node sees of tablets.

use super::{state::State, view::PeersView};
use crate::{Catalog, MemberId, Replica, route::sounding::Sounding};
use oribi_model::{NodeId, TabletSpec};
use oribi_store::log::GroupId;
use std::{collections::HashMap, sync::Arc};

/// Entries that one may lack and still be well: it is asked and its leader at two moments.
const LAG_ENTRIES_MAX: u64 = 64;

/// How a replica is, as far as the node that is asked knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// Nothing is known against it.
    Ok,
    /// It lacks entries that its leader has.
    Lagging,
    /// Its node is suspected.
    Down,
    /// Its files are set aside.
    Damaged,
}

/// A replica of a tablet.
#[derive(Debug, Clone)]
pub struct ReplicaView {
    /// Where it is.
    pub node: NodeId,
    /// Whether it elects, or is to by the catalog where nothing else is known.
    pub is_voter: bool,
    /// How it is.
    pub state: ReplicaState,
    /// The newest entry applied, as its node said about a second ago.
    pub applied: Option<u64>,
    /// The newest entry flushed, likewise.
    pub flushed: Option<u64>,
    /// Entries of its leader that it has not applied; `None` where nobody is known to lead, or it
    /// was not heard of.
    pub lag: Option<u64>,
}

/// A tablet as a node sees it.
#[derive(Debug, Clone)]
pub struct TabletView {
    /// What it is.
    pub spec: TabletSpec,
    /// Who leads it, where that is known and trusted.
    pub leader: Option<NodeId>,
    /// Its replicas, the founder first.
    pub replicas: Vec<ReplicaView>,
    /// Whether it has fewer replicas that live than its table wishes and there are nodes for.
    pub is_under_replicated: bool,
    /// Rows, as far as any replica was heard of.
    pub rows: Option<u64>,
    /// Bytes of the segments of one replica, likewise.
    pub bytes: Option<u64>,
}

impl PeersView {
    /// The tablets of the catalog, by id; none once the node has stopped.
    pub fn tablets(&self) -> Vec<TabletView> {
        let Some(state) = self.state() else { return Vec::new() };
        let (catalog, told) = (state.node.catalog(), state.told());
        catalog.tablets().map(|spec| state.tablet(spec, &catalog, &told)).collect()
    }
}

/// What all nodes say of their replicas: this one now, others about a second ago.
pub(super) struct Told(HashMap<GroupId, Vec<(NodeId, Sounding)>>);

impl Told {
    pub(super) fn of(&self, group: GroupId) -> &[(NodeId, Sounding)] {
        self.0.get(&group).map_or(&[], Vec::as_slice)
    }

    /// The groups of which anything is known.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.0.keys().copied()
    }

    /// Who says that it leads a group, or was elected to and sleeps, by the newest vote.
    pub(super) fn leader(&self, group: GroupId) -> Option<(NodeId, Sounding)> {
        let was_elected = |(node, said): &(NodeId, Sounding)| {
            let own = MemberId { node: *node, incarnation: said.incarnation };
            said.vote.is_some_and(|vote| vote.is_elected && vote.member == own)
        };
        let leaders = self.of(group).iter().filter(|one| one.1.leads || was_elected(one));
        leaders.max_by_key(|(_, said)| said.vote).copied()
    }
}

impl State {
    pub(super) fn told(&self) -> Told {
        let mut told = HashMap::<GroupId, Vec<(NodeId, Sounding)>>::new();
        let mut note = |node: NodeId, said: Sounding| {
            told.entry(said.group).or_default().push((node, said));
        };
        for (node, heard) in self.node.heard() {
            heard.replicas.values().for_each(|said| note(node, *said));
        }
        let own = self.node.report().replicas;
        own.into_iter().for_each(|said| note(self.own(), said));
        Told(told)
    }

    fn tablet(&self, spec: &TabletSpec, catalog: &Catalog, told: &Told) -> TabletView {
        let group = GroupId(spec.id.0);
        let replica = self.node.replica(group);
        let leader = self.leader_of_tablet(spec, catalog, told);
        let replicas = catalog.replicas_of(spec.id).iter();
        // One that another follows on its node takes no part any more.
        let replicas =
            replicas.filter(|member| catalog.replica_on(spec.id, member.node) == Some(**member));
        let view = |member: &MemberId| self.replica_view(group, *member, replica.as_ref(), told);
        let replicas: Vec<_> = replicas.map(view).collect();
        let alive = replicas.iter().filter(|one| one.state != ReplicaState::Down).count();
        let is_under_replicated = alive < replicas.len() || !catalog.growth_of(spec.id).is_empty();
        // One that was applied further knows better.
        let best = told.of(group).iter().max_by_key(|(_, said)| said.applied);
        TabletView {
            spec: *spec,
            leader,
            replicas,
            is_under_replicated,
            rows: best.map(|(_, said)| said.rows),
            bytes: best.map(|(_, said)| said.bytes),
        }
    }

    /// Who leads a tablet, where that is known and trusted.
    pub(super) fn leader_of_tablet(
        &self,
        spec: &TabletSpec,
        catalog: &Catalog,
        told: &Told,
    ) -> Option<NodeId> {
        let group = GroupId(spec.id.0);
        let known = self.node.replica(group).filter(|one| one.is_voter());
        let leader = match (&known, catalog.replicas_of(spec.id)) {
            (Some(replica), _) => self.leader_of(replica),
            // One that is alone leads as soon as it has something to do.
            (None, [only]) => Some(only.node),
            (None, _) => told.leader(group).map(|(node, _)| node),
        };
        leader.filter(|node| self.trusts(*node))
    }

    fn replica_view(
        &self,
        group: GroupId,
        member: MemberId,
        replica: Option<&Arc<Replica>>,
        told: &Told,
    ) -> ReplicaView {
        let members = replica.map(|replica| replica.members());
        let is_voter = members
            .as_ref()
            .is_none_or(|members| members.voters.is_empty() || members.voters.contains(&member));
        let said = told.of(group).iter().find(|(node, said)| {
            *node == member.node && (said.is_damaged || said.incarnation == member.incarnation)
        });
        let said = said.map(|(_, said)| *said);
        let applied = said.and_then(|said| said.applied).map(|index| index.0);
        let lag = told.leader(group).and_then(|(node, leader)| match node == member.node {
            true => Some(0),
            false => said
                .map(|_| leader.last.map_or(0, |last| last.0 + 1))
                .map(|end| end.saturating_sub(applied.map_or(0, |applied| applied + 1))),
        });
        let leads = replica.filter(|replica| replica.standing().leads);
        let is_behind = match leads {
            Some(replica) => !replica.caught_up().contains(&member),
            None => lag.is_some_and(|lag| lag > LAG_ENTRIES_MAX),
        };
        let state = if !self.trusts(member.node) {
            ReplicaState::Down
        } else if said.is_some_and(|said| said.is_damaged) {
            ReplicaState::Damaged
        } else if is_behind {
            ReplicaState::Lagging
        } else {
            ReplicaState::Ok
        };
        let flushed = said.and_then(|said| said.flushed).map(|index| index.0);
        ReplicaView { node: member.node, is_voter, state, applied, flushed, lag }
    }

    pub(super) fn trusts(&self, node: NodeId) -> bool {
        self.watch.view(|view| view.trusts(node))
    }

    /// Who leads the group of a replica that is here, where that is known and trusted.
    pub(super) fn leader_of(&self, replica: &Replica) -> Option<NodeId> {
        if replica.is_sole_voter() {
            return Some(replica.member().node);
        }
        let standing = replica.standing();
        let vote = standing.vote.filter(|vote| vote.is_elected)?;
        let leader = vote.member;
        if !standing.voters.members().contains(&leader) || !self.trusts(leader.node) {
            return None;
        }
        // One without a majority takes nothing, whatever it was elected for.
        let nodes = standing.voters.nodes();
        let leads =
            leader.node != self.own() || self.watch.view(|view| view.trusts_majority(nodes));
        leads.then_some(leader.node)
    }
}
