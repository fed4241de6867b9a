//! What a node sees of tablets.

use super::{state::State, view::PeersView};
use crate::{Catalog, MemberId, Replica};
use oribi_model::{NodeId, TabletId, TabletSpec};
use oribi_store::log::GroupId;
use std::sync::Arc;

/// How a replica is, as far as the node that is asked knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// Nothing is known against it.
    Ok,
    /// Its leader, which is the node that is asked, waits for it.
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
    /// The newest entry applied; known only of the node that is asked.
    pub applied: Option<u64>,
    /// The newest entry flushed; known only of the node that is asked.
    pub flushed: Option<u64>,
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
    /// Rows, where a replica is here.
    pub rows: Option<u64>,
    /// Bytes of its segments, where a replica is here.
    pub bytes: Option<u64>,
}

impl PeersView {
    /// The tablets of the catalog, by id; none once the node has stopped.
    pub fn tablets(&self) -> Vec<TabletView> {
        let Some(state) = self.state() else { return Vec::new() };
        let catalog = state.node.catalog();
        catalog.tablets().map(|spec| state.tablet(spec, &catalog)).collect()
    }
}

impl State {
    fn tablet(&self, spec: &TabletSpec, catalog: &Catalog) -> TabletView {
        let replica = self.node.replica(GroupId(spec.id.0));
        let leader = match &replica {
            Some(replica) => self.leader_of(replica),
            // One that is alone leads as soon as it has something to do.
            None => match catalog.replicas_of(spec.id) {
                [only] => Some(only.node).filter(|node| self.trusts(*node)),
                _ => None,
            },
        };
        let here = self.node.tablet_here(spec.id);
        let replicas = catalog.replicas_of(spec.id).iter();
        let replicas: Vec<_> =
            replicas.map(|member| self.replica_view(spec.id, *member, replica.as_ref())).collect();
        let alive = replicas.iter().filter(|one| one.state != ReplicaState::Down).count();
        let is_under_replicated = alive < replicas.len() || !catalog.growth_of(spec.id).is_empty();
        TabletView {
            spec: *spec,
            leader,
            replicas,
            is_under_replicated,
            rows: here.as_ref().map(|here| here.rows),
            bytes: here.as_ref().map(|here| here.bytes),
        }
    }

    fn replica_view(
        &self,
        tablet: TabletId,
        member: MemberId,
        replica: Option<&Arc<Replica>>,
    ) -> ReplicaView {
        let members = replica.map(|replica| replica.members());
        let is_voter = members
            .as_ref()
            .is_none_or(|members| members.voters.is_empty() || members.voters.contains(&member));
        let leads = replica.filter(|replica| replica.standing().leads);
        let state = if !self.trusts(member.node) {
            ReplicaState::Down
        } else if member.node == self.own() && self.node.is_damaged(tablet) {
            ReplicaState::Damaged
        } else if leads.is_some_and(|replica| !replica.caught_up().contains(&member)) {
            ReplicaState::Lagging
        } else {
            ReplicaState::Ok
        };
        let here = Some(member.node).filter(|node| *node == self.own());
        let here = here.and_then(|_| self.node.tablet_here(tablet));
        ReplicaView {
            node: member.node,
            is_voter,
            state,
            applied: here.as_ref().and_then(|here| here.applied),
            flushed: here.as_ref().and_then(|here| here.flushed),
        }
    }

    fn trusts(&self, node: NodeId) -> bool {
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
        (standing.voters.contains(&leader) && self.trusts(leader.node)).then_some(leader.node)
    }
}
