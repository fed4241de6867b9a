//! For how long nodes have been dead.

use oribi_model::NodeId;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Since when nodes are dead, as this node and a majority of all see it.
#[derive(Debug, Default)]
pub(super) struct Absences(BTreeMap<NodeId, Instant>);

impl Absences {
    pub(super) fn look(&mut self, now: Instant, dead: &BTreeSet<NodeId>) {
        self.0.retain(|node, _| dead.contains(node));
        for node in dead {
            self.0.entry(*node).or_insert(now);
        }
    }

    /// For how long a node has been dead; nothing where it lives.
    pub(super) fn of(&self, node: NodeId, now: Instant) -> Duration {
        self.0.get(&node).map_or(Duration::ZERO, |since| now.saturating_duration_since(*since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_absent_since_it_was_found_dead_first() {
        let (mut absences, start) = (Absences::default(), Instant::now());
        let at = |s| start + Duration::from_secs(s);
        let (one, two) = (NodeId(1), NodeId(2));
        absences.look(at(0), &BTreeSet::from([one]));
        absences.look(at(3), &BTreeSet::from([one, two]));
        assert_eq!(absences.of(one, at(5)), Duration::from_secs(5));
        assert_eq!(absences.of(two, at(5)), Duration::from_secs(2));
        absences.look(at(6), &BTreeSet::from([two]));
        assert_eq!(absences.of(one, at(7)), Duration::ZERO);
        absences.look(at(8), &BTreeSet::from([one, two]));
        assert_eq!(absences.of(one, at(9)), Duration::from_secs(1));
    }
}
