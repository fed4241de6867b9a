//! The nodes of a cluster, and which of them has a replica of which tablet.

use super::{Catalog, Map, placement};
use crate::{Assignment, Boot, JoinNonce, KeyPin, MemberId};
use oribi_model::{NodeId, TabletId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// Nodes that a cluster has at once.
pub const NODES_MAX: usize = 256;

/// The node that made the cluster.
pub(crate) const FIRST_NODE: NodeId = NodeId(1);

/// What a tablet has to which none were given: that of the only node there was.
static ALONE: [MemberId; 1] = [MemberId::FIRST];

/// Where a node is reached, each `HOST:PORT`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NodeAddresses {
    /// By other nodes.
    pub node: String,
    /// By HTTP.
    pub http: String,
    /// By MQTT.
    pub mqtt: String,
}

/// What a node says of itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Where it is reached.
    pub addresses: NodeAddresses,
    /// The version of its program.
    pub version: String,
    /// Which run of it.
    pub boot: Boot,
    /// The key that it has, once and for all. Absent of a node that no version has heard of since keys
    /// came to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<KeyPin>,
}

impl Presence {
    /// Whether this and a later presence are of different keys.
    pub(crate) fn has_other_key(&self, later: &Presence) -> bool {
        self.pin.is_some() && self.pin != later.pin
    }
}

/// What a node is to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It was given an id and has not been seen with the catalog yet: it gets no replica.
    Joining,
    /// It takes part.
    Up,
    /// It gets no more replicas.
    Draining,
    /// It is gone and never comes back.
    Removed,
}

/// Whether a node is heard of, as the leader of the catalog noted it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// It is.
    #[default]
    Heard,
    /// It was not for a while: nothing new is begun there that would wait for it.
    Away,
}

impl Reach {
    fn is_heard(&self) -> bool {
        *self == Reach::Heard
    }
}

/// A node as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// What it said last.
    pub presence: Presence,
    /// What it is to the others.
    pub state: NodeState,
    /// Whether it was heard of when that was looked at last.
    #[serde(default, skip_serializing_if = "Reach::is_heard")]
    pub reach: Reach,
    /// The wish by which it joined; the node that made the cluster had none.
    pub nonce: Option<JoinNonce>,
}

/// The replicas of a tablet, the founder first.
pub(super) type Placement = Arc<[MemberId]>;

impl Catalog {
    /// The nodes, by id; those that are gone too. Empty where a node alone has told nobody of
    /// itself.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Arc<NodeRecord>)> {
        self.nodes.iter().map(|(node, record)| (*node, record))
    }

    /// The node with this id.
    pub fn node(&self, node: NodeId) -> Option<&Arc<NodeRecord>> {
        self.nodes.get(&node)
    }

    /// The node that joined by this wish.
    pub fn node_of(&self, nonce: JoinNonce) -> Option<NodeId> {
        self.nodes().find(|(_, record)| record.nonce == Some(nonce)).map(|(node, _)| node)
    }

    /// The replicas that a tablet is to have, the founder first. A tablet from before there were
    /// clusters has one, on the first node. Of a tablet that is gone, nothing is known.
    pub fn replicas_of(&self, tablet: TabletId) -> &[MemberId] {
        self.placements.get(&tablet).map_or(&ALONE, |replicas| replicas)
    }

    /// With whom the group of a tablet begins.
    pub fn assignment_of(&self, tablet: TabletId) -> Assignment {
        match self.replicas_of(tablet) {
            [first, others @ ..] if self.is_founded(tablet) => {
                Assignment::founded(*first, others.to_vec())
            }
            [founder, others @ ..] => Assignment::new(*founder, others.to_vec()),
            [] => Assignment::alone(MemberId::FIRST),
        }
    }

    /// The replica that a node is to have of a tablet: the newest, one that is to leave included.
    pub fn replica_on(&self, tablet: TabletId, node: NodeId) -> Option<MemberId> {
        let here = self.replicas_of(tablet).iter().filter(|member| member.node == node);
        here.copied().max()
    }

    /// The replicas that a tablet should have beyond those that it has, by its table's wish and the
    /// nodes that there are; empty where it has enough.
    pub fn growth_of(&self, tablet: TabletId) -> Vec<NodeId> {
        let Some(spec) = self.tablet(tablet) else { return Vec::new() };
        let wish = self.table_by_id(spec.table).map_or(1, |table| table.options.replicas());
        let nodes = self.candidates();
        placement::grow(tablet, wish, &self.staying(tablet), &nodes)
    }

    fn candidates(&self) -> Vec<(NodeId, placement::Load)> {
        let up = self.nodes().filter(|(_, record)| record.state == NodeState::Up);
        let load = |(node, record): (NodeId, &Arc<NodeRecord>)| {
            (
                node,
                placement::Load { is_away: !record.reach.is_heard(), ..self.index.load_of(node) },
            )
        };
        up.map(load).collect()
    }

    /// Decides where the replicas of a new tablet lie.
    pub(super) fn place(&mut self, tablet: TabletId, wish: u8, away: &[NodeId]) {
        let nodes = placement::place(tablet, wish, &self.candidates(), away);
        let replicas: Vec<MemberId> = nodes.into_iter().map(MemberId::first).collect();
        let replicas = if replicas.is_empty() { ALONE.to_vec() } else { replicas };
        self.index.count(&replicas, u32::wrapping_add);
        self.note(tablet, replicas);
    }

    /// Forgets where the replicas of a tablet lie.
    pub(super) fn unplace(&mut self, tablet: TabletId) {
        let replicas = self.replicas_of(tablet).to_vec();
        self.index.count(&replicas, u32::wrapping_sub);
        self.placements.remove_mut(&tablet);
        self.moving.remove_mut(&tablet);
    }

    /// What is so by itself takes no room.
    pub(super) fn note(&mut self, tablet: TabletId, replicas: Vec<MemberId>) {
        match replicas == ALONE {
            true => drop(self.placements.remove_mut(&tablet)),
            false => self.placements.insert_mut(tablet, replicas.into()),
        }
    }

    pub(super) fn assign(&mut self, tablet: TabletId, replicas: &[MemberId]) -> Result<(), String> {
        if self.tablet(tablet).is_none() {
            return Err(format!("there is no tablet {tablet}"));
        }
        let before = self.replicas_of(tablet).to_vec();
        if replicas.first() != before.first() {
            return Err(format!("the founder of tablet {tablet} stays the first of its replicas"));
        }
        let nodes: BTreeSet<NodeId> = replicas.iter().map(|member| member.node).collect();
        if nodes.len() != replicas.len() {
            return Err(format!("tablet {tablet} would have two replicas on one node"));
        }
        let is_here = |node: &NodeId| {
            self.node(*node).is_some_and(|record| record.state != NodeState::Removed)
        };
        let is_new = |node: &NodeId| before.iter().all(|member| member.node != *node);
        if let Some(node) = nodes.iter().find(|node| is_new(node) && !is_here(node)) {
            return Err(format!("there is no node {node}"));
        }
        self.index.count(&before, u32::wrapping_sub);
        self.index.count(replicas, u32::wrapping_add);
        self.note(tablet, replicas.to_vec());
        Ok(())
    }

    pub(super) fn register(&mut self, nonce: JoinNonce, presence: &Presence) -> Result<(), String> {
        if let Some(known) = self.node_of(nonce) {
            return self.announce(known, presence);
        }
        let present = self.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        if present.count() >= NODES_MAX {
            return Err(format!("a cluster has at most {NODES_MAX} nodes"));
        }
        let id = NodeId(self.last_node.max(FIRST_NODE).0 + 1);
        self.last_node = id;
        let (presence, state) = (presence.clone(), NodeState::Joining);
        let reach = Reach::Heard;
        let record = NodeRecord { presence, state, reach, nonce: Some(nonce) };
        self.nodes.insert_mut(id, Arc::new(record));
        Ok(())
    }

    pub(super) fn announce(&mut self, node: NodeId, presence: &Presence) -> Result<(), String> {
        let (state, reach, nonce) = match self.node(node) {
            Some(record) if record.state == NodeState::Removed => {
                return Err(format!("node {node} was removed from the cluster"));
            }
            Some(record) if record.presence.has_other_key(presence) => {
                return Err(format!("node {node} is known by another key"));
            }
            // What an earlier run said may arrive late.
            Some(record) if record.presence.boot > presence.boot => return Ok(()),
            Some(record) => (record.state, record.reach, record.nonce),
            None if node == FIRST_NODE => (NodeState::Up, Reach::Heard, None),
            None => return Err(format!("there is no node {node}")),
        };
        self.last_node = self.last_node.max(node);
        let record = NodeRecord { presence: presence.clone(), state, reach, nonce };
        self.nodes.insert_mut(node, Arc::new(record));
        Ok(())
    }

    pub(super) fn set_state(&mut self, node: NodeId, state: NodeState) -> Result<(), String> {
        let record = self.node(node).ok_or_else(|| format!("there is no node {node}"))?;
        if record.state == NodeState::Removed && state != NodeState::Removed {
            return Err(format!("node {node} was removed from the cluster"));
        }
        let record = NodeRecord { state, ..NodeRecord::clone(record) };
        self.nodes.insert_mut(node, Arc::new(record));
        Ok(())
    }

    pub(super) fn note_reach(&mut self, node: NodeId, reach: Reach) -> Result<(), String> {
        let record = self.node(node).ok_or_else(|| format!("there is no node {node}"))?;
        let record = NodeRecord { reach, ..NodeRecord::clone(record) };
        self.nodes.insert_mut(node, Arc::new(record));
        Ok(())
    }
}

impl super::Index {
    fn load_of(&self, node: NodeId) -> placement::Load {
        self.loads.get(&node).copied().unwrap_or_default()
    }

    /// Adds a tablet's replicas to what their nodes have, or takes them off.
    pub(super) fn count(&mut self, replicas: &[MemberId], change: fn(u32, u32) -> u32) {
        for (at, member) in replicas.iter().enumerate() {
            let mut load = self.load_of(member.node);
            load.replicas = change(load.replicas, 1);
            load.founded = change(load.founded, u32::from(at == 0));
            self.loads.insert_mut(member.node, load);
        }
    }
}

/// What nodes have been given.
pub(super) type Loads = Map<NodeId, placement::Load>;
