//! What a node sees of its cluster.

use super::{Peering, spread, state::State};
use crate::{
    ClusterId, Election, NodeState, Presence,
    catalog::FIRST_NODE,
    liveness::Liveness,
    node::{CATALOG_GROUP, Leaving},
};
use oribi_model::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Weak},
};

/// A cheap handle to ask what a node sees; it keeps nothing alive.
#[derive(Clone, Default)]
pub struct PeersView(Weak<State>);

/// A node as another one sees it.
#[derive(Debug, Clone)]
pub struct NodeView {
    /// Which one.
    pub id: NodeId,
    /// What it said of itself last.
    pub presence: Presence,
    /// What the catalog takes it for.
    pub state: NodeState,
    /// Whether the node that is asked trusts it, or is it.
    pub is_trusted: bool,
    /// Why it is not trusted, for a person.
    pub doubt: Option<String>,
    /// When its last ping came; `None` for the node itself, and where there was none.
    pub heard_ms: Option<u64>,
    /// Replicas that it is to have.
    pub replicas: usize,
    /// Whether it wants to lead nothing.
    pub leaves_lead: bool,
    /// Tablets that it leads, as far as is known.
    pub leaders: usize,
    /// Free for its data, as it said about a second ago; `None` where it was not heard of.
    pub disk_free_bytes: Option<u64>,
}

/// The catalog of a cluster that a node waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Which cluster.
    pub cluster: ClusterId,
    /// Where the others are, as far as they are known: one of them is to send it.
    pub addresses: BTreeSet<String>,
}

impl Peering {
    /// A handle to ask what the node sees.
    pub fn view(&self) -> PeersView {
        PeersView(Arc::downgrade(&self.state))
    }
}

impl PeersView {
    /// All nodes that were not removed, by id; none once the node has stopped.
    pub fn nodes(&self) -> Vec<NodeView> {
        let Some(state) = self.0.upgrade() else { return Vec::new() };
        let catalog = state.node.catalog();
        let (leaders, heard) = (state.leaders(), state.node.heard());
        let own = (state.own(), state.node.disk_free_bytes());
        let mut replicas = BTreeMap::<NodeId, usize>::new();
        for spec in catalog.tablets() {
            for member in catalog.replicas_of(spec.id) {
                *replicas.entry(member.node).or_default() += 1;
            }
        }
        let present = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        let nodes = present.map(|(id, record)| {
            let ask = |view: &Liveness| (view.trusts(id), view.doubt(id), view.wants_lead(id));
            let (is_trusted, doubt, wants_lead) = state.watch.view(ask);
            NodeView {
                id,
                presence: record.presence.clone(),
                state: record.state,
                is_trusted,
                doubt: doubt.map(|doubt| doubt.to_string()),
                heard_ms: state.watch.heard_ms(id),
                replicas: replicas.get(&id).copied().unwrap_or(0),
                leaves_lead: !wants_lead,
                leaders: leaders.get(&id).copied().unwrap_or(0),
                disk_free_bytes: match heard.get(&id) {
                    _ if id == own.0 => Some(own.1),
                    heard => heard.map(|heard| heard.disk_free_bytes),
                },
            }
        });
        nodes.collect()
    }

    /// What a node that was given an id lacks where no catalog that knows it has come here yet; `None`
    /// for every other.
    pub fn awaited(&self) -> Option<Awaited> {
        self.state()?.awaited()
    }

    /// Whether a node is trusted, or is the one that is asked.
    pub fn trusts(&self, node: NodeId) -> bool {
        let Some(state) = self.0.upgrade() else { return false };
        node == state.node.identity().node || state.watch.view(|view| view.trusts(node))
    }

    pub(super) fn state(&self) -> Option<Arc<State>> {
        self.0.upgrade()
    }

    /// Has this node give away what it leads to others that can lead it, and take nothing to lead
    /// before [`PeersView::resume_lead`] or its end. How many groups it leads still; none once the
    /// node has stopped.
    pub async fn leave_lead(&self) -> usize {
        let Some(state) = self.state() else { return 0 };
        state.node.leave_lead(Leaving::Leaves);
        spread::leave(&state).await
    }

    /// Groups of several that this node leads, that of the catalog among them.
    pub fn led(&self) -> usize {
        self.state().map_or(0, |state| spread::led_count(&state))
    }

    /// Has this node take its share of groups to lead again.
    pub fn resume_lead(&self) {
        if let Some(state) = self.state() {
            state.node.leave_lead(Leaving::Stays);
        }
    }

    /// Who leads the catalog, where that is known and trusted.
    pub fn catalog_leader(&self) -> Option<NodeId> {
        let state = self.state()?;
        state.leader_of(&*state.catalog()?)
    }

    /// The term of the catalog's leader, which grows with each election.
    pub fn epoch(&self) -> u64 {
        let vote = self.state().and_then(|state| state.catalog()?.standing().vote);
        vote.map_or(0, |vote| vote.term)
    }

    /// The last changes of who leads tablets, the newest last.
    pub fn elections(&self) -> Vec<Election> {
        self.state().map(|state| state.node.elections()).unwrap_or_default()
    }

    /// The newest change of the catalog that is known here.
    pub fn catalog_applied(&self) -> u64 {
        self.state().map_or(0, |state| state.node.health().catalog_index)
    }

    /// The other nodes that have not said yet that they know the catalog as of this change.
    pub fn behind(&self, change: u64) -> Vec<NodeId> {
        let Some(state) = self.state() else { return Vec::new() };
        let (catalog, own) = (state.node.catalog(), state.node.identity().node);
        let others =
            catalog.nodes().filter(|(id, record)| *id != own && record.state != NodeState::Removed);
        let has_said = |view: &Liveness, id| {
            view.health(id).is_some_and(|health| health.catalog_index >= change)
        };
        let ids: Vec<NodeId> = others.map(|(id, _)| id).collect();
        state.watch.view(|view| ids.iter().copied().filter(|id| !has_said(view, *id)).collect())
    }

    /// Who elects the leader of the catalog.
    pub fn catalog_voters(&self) -> Vec<NodeId> {
        let replica = self.0.upgrade().and_then(|state| state.catalog());
        let voters = replica.map(|replica| replica.members().voters).unwrap_or_default();
        voters.into_iter().map(|voter| voter.node).collect()
    }
}

impl fmt::Display for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let addresses: Vec<&str> = self.addresses.iter().map(String::as_str).collect();
        write!(f, "the catalog of cluster {} from {}", self.cluster, addresses.join(", "))
    }
}

impl State {
    /// As [`PeersView::awaited`].
    pub(super) fn awaited(&self) -> Option<Awaited> {
        let (own, catalog) = (self.node.identity(), self.node.catalog());
        if own.node == FIRST_NODE || catalog.node(own.node).is_some() {
            return None;
        }
        Some(Awaited { cluster: own.cluster, addresses: self.addresses() })
    }

    /// Where the others are, by what is known and by what this node was told at its start.
    pub(super) fn addresses(&self) -> BTreeSet<String> {
        let others = self.others().into_values().chain(self.options.join.iter().cloned());
        others.filter(|address| *address != self.options.addresses.node).collect()
    }

    /// How many groups of tablets each node leads: of those that have a replica here as that one
    /// knows, of the others as was said last.
    pub(super) fn leaders(&self) -> BTreeMap<NodeId, usize> {
        let mut leaders = BTreeMap::new();
        for replica in self.node.replicas() {
            if replica.group() == CATALOG_GROUP {
                continue;
            }
            let Some(leader) = self.leader_of(&replica) else { continue };
            *leaders.entry(leader).or_default() += 1;
        }
        let told = self.told();
        for group in told.groups().filter(|group| self.node.replica(*group).is_none()) {
            let Some((leader, _)) = told.leader(group) else { continue };
            *leaders.entry(leader).or_default() += 1;
        }
        leaders
    }
}
