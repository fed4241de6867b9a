//! How much each node has, and how much more it may be given at once.

use super::{Host, Limits, Placed, Scene};
use oribi_model::{NodeId, TabletId};
use std::collections::BTreeMap;

/// Counts of what nodes have and are being given.
#[derive(Clone)]
pub(super) struct Room {
    limits: Limits,
    loads: BTreeMap<NodeId, usize>,
    incoming: BTreeMap<NodeId, usize>,
}

impl Room {
    pub(super) fn new(scene: &Scene, limits: Limits) -> Room {
        let (mut loads, mut incoming) = (BTreeMap::new(), BTreeMap::new());
        for placed in &scene.tablets {
            for member in &placed.staying {
                *loads.entry(member.node).or_default() += 1;
            }
            for member in &placed.behind {
                *incoming.entry(member.node).or_default() += 1;
            }
        }
        Room { limits, loads, incoming }
    }

    /// Replicas that a node has and is to keep, those on their way included.
    pub(super) fn load(&self, node: NodeId) -> usize {
        self.loads.get(&node).copied().unwrap_or(0)
    }

    /// Gives a tablet one more node, where one may take it.
    pub(super) fn take(&mut self, scene: &Scene, placed: &Placed) -> Option<NodeId> {
        let is_free = |node: NodeId| {
            !placed.stays_on(node) && placed.leaving.iter().all(|member| member.node != node)
        };
        let to = self.best(scene, placed.tablet, is_free)?;
        *self.loads.entry(to).or_default() += 1;
        *self.incoming.entry(to).or_default() += 1;
        Some(to)
    }

    /// Notes that a replica goes from one node to another.
    pub(super) fn give(&mut self, from: NodeId, to: NodeId) {
        self.loads.entry(from).and_modify(|load| *load = load.saturating_sub(1));
        *self.loads.entry(to).or_default() += 1;
        *self.incoming.entry(to).or_default() += 1;
    }

    /// The node with the fewest replicas that may take one more.
    pub(super) fn emptiest(
        &self,
        scene: &Scene,
        is_free: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        self.able(scene, is_free).min_by_key(|node| (self.load(*node), *node))
    }

    /// As [`Room::emptiest`]; between equals decided for each tablet otherwise.
    fn best(
        &self,
        scene: &Scene,
        tablet: TabletId,
        is_free: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let turned = |node: &NodeId| (u64::from(node.0) + tablet.0) % (scene.hosts.len() as u64);
        self.able(scene, is_free).min_by_key(|node| (self.load(*node), turned(node), *node))
    }

    fn able(
        &self,
        scene: &Scene,
        is_free: impl Fn(NodeId) -> bool,
    ) -> impl Iterator<Item = NodeId> {
        let serving = scene.hosts.iter().filter(|(_, host)| **host == Host::Serves);
        serving.map(|(node, _)| *node).filter(move |node| {
            let incoming = self.incoming.get(node).copied().unwrap_or(0);
            is_free(*node) && incoming < self.limits.to_node
        })
    }
}
