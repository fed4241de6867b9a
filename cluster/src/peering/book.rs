//! Where the other nodes are: by the catalog, and by what a node says that starts elsewhere before the
//! catalog can be changed.

use crate::{
    Catalog, KeyPin, NodeState,
    join::{Known, Places},
};
use oribi_model::NodeId;

/// What nodes have said of themselves.
#[derive(Debug, Default)]
pub(super) struct Book {
    heard: Places,
}

impl Book {
    /// Notes where a node says that it is; what an earlier run of it said changes nothing. Whether
    /// that is new.
    pub(super) fn hear(&mut self, node: NodeId, place: Known) -> bool {
        let before = self.heard.get(&node);
        if before.is_some_and(|before| *before == place || before.boot > place.boot) {
            return false;
        }
        self.heard.insert(node, place);
        true
    }

    /// Where all nodes are that were not removed: by the later of the two runs, that of the catalog
    /// or that which was heard.
    pub(super) fn places(&self, catalog: &Catalog) -> Places {
        let is_removed = |node: &NodeId| {
            catalog.node(*node).is_some_and(|record| record.state == NodeState::Removed)
        };
        let recorded = catalog.nodes().map(|(node, record)| {
            let presence = &record.presence;
            let address = presence.addresses.node.clone();
            (node, Known { address, boot: presence.boot, pin: presence.pin })
        });
        let mut places: Places = recorded.filter(|(node, _)| !is_removed(node)).collect();
        for (node, heard) in self.heard.iter().filter(|(node, _)| !is_removed(node)) {
            let place = places.entry(*node).or_insert_with(|| heard.clone());
            if heard.boot > place.boot {
                *place = Known { pin: place.pin.or(heard.pin), ..heard.clone() };
            }
        }
        places
    }

    /// Whether a key is that of a node: by the catalog, or where that knows of none, by what was heard.
    pub(super) fn is_key_of(&self, catalog: &Catalog, node: NodeId, pin: KeyPin) -> bool {
        self.pin_of(catalog, node) == Some(pin)
    }

    /// The key of a node that was not removed, as far as it is known.
    pub(super) fn pin_of(&self, catalog: &Catalog, node: NodeId) -> Option<KeyPin> {
        let record = catalog.node(node);
        if record.is_some_and(|record| record.state == NodeState::Removed) {
            return None;
        }
        let heard = || self.heard.get(&node)?.pin;
        record.and_then(|record| record.presence.pin).or_else(heard)
    }

    /// Whether a key is that of any node of the cluster.
    pub(super) fn is_key_of_any(&self, catalog: &Catalog, pin: KeyPin) -> bool {
        self.places(catalog).values().any(|place| place.pin == Some(pin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Boot, Change, NodeAddresses, Presence};

    fn place(address: &str, boot: u64) -> Known {
        Known { address: address.into(), boot: Boot(boot), pin: None }
    }

    fn announced(address: &str, boot: u64) -> Change {
        let addresses = NodeAddresses { node: address.into(), ..NodeAddresses::default() };
        let presence = Presence { addresses, version: String::new(), boot: Boot(boot), pin: None };
        Change::AnnounceNode { node: NodeId(1), presence }
    }

    #[test]
    fn the_later_run_counts() {
        let catalog = Catalog::default().apply(&announced("old:1", 3)).unwrap();
        let mut book = Book::default();
        let at = |book: &Book, catalog: &Catalog| {
            book.places(catalog).get(&NodeId(1)).map(|place| place.address.clone())
        };
        assert_eq!(at(&book, &catalog).unwrap(), "old:1");
        assert!(book.hear(NodeId(1), place("older:1", 2)));
        assert_eq!(at(&book, &catalog).unwrap(), "old:1");
        assert!(book.hear(NodeId(1), place("new:1", 4)));
        assert!(!book.hear(NodeId(1), place("new:1", 4)));
        assert!(!book.hear(NodeId(1), place("older:1", 2)));
        assert_eq!(at(&book, &catalog).unwrap(), "new:1");
        let later = catalog.apply(&announced("newest:1", 5)).unwrap();
        assert_eq!(at(&book, &later).unwrap(), "newest:1");
        let removed = Change::SetNodeState { node: NodeId(1), state: NodeState::Removed };
        assert_eq!(at(&book, &later.apply(&removed).unwrap()), None);
    }
}
