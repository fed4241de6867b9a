//! A catalog as a cluster of its own begins with that is made of a backup.

use super::Catalog;
use oribi_model::Name;

/// What becomes of the connectors that were made at run time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoredConnectors {
    /// They are paused: the cluster that was backed up may run still.
    Paused,
    /// They run, unless they were paused.
    AsTheyWere,
}

impl Catalog {
    /// All of it but the nodes: every tablet is the first node's alone, and nobody runs a connector.
    /// Ids that were given are never given again.
    pub(crate) fn of_one_node(mut self, connectors: RestoredConnectors) -> Catalog {
        (self.nodes, self.placements, self.moving, self.seats) = Default::default();
        self.last_node = Default::default();
        // The key that secrets were sealed with is in no backup.
        self.cluster_key = None;
        if connectors == RestoredConnectors::Paused {
            let made: Vec<Name> = self.connectors.keys().cloned().collect();
            made.into_iter().for_each(|name| self.paused.insert_mut(name));
        }
        self.reindex();
        self
    }
}
