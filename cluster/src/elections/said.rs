//! Liveness as a test has it.

use super::Lives;
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::collections::BTreeSet;

/// Who is dead, as the test says.
#[derive(Default)]
pub(crate) struct Said(Mutex<BTreeSet<NodeId>>);

impl Said {
    pub(crate) fn died(&self, node: NodeId) {
        self.0.lock().insert(node);
    }

    pub(crate) fn came_back(&self, node: NodeId) {
        self.0.lock().remove(&node);
    }
}

impl Lives for Said {
    fn trusts(&self, node: NodeId) -> bool {
        !self.0.lock().contains(&node)
    }

    fn is_dead(&self, node: NodeId, _: &BTreeSet<NodeId>) -> bool {
        !self.trusts(node)
    }

    fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|node| self.trusts(**node)).count() > voters.len() / 2
    }
}
