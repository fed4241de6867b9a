//! What a node stands in: the way to the others, and which of them has what.

use crate::{Assignment, MemberId, replica::NoPeers, transport::Network};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::{collections::BTreeSet, sync::Arc};

/// Says with whom the group of the catalog or of a tablet begins. The only place that does.
type Assign = Arc<dyn Fn(GroupId) -> Assignment + Send + Sync>;

/// Whether this node hears a majority of these nodes, itself among them: without one, what it
/// appends may stay unknown for long.
type Hears = Arc<dyn Fn(&BTreeSet<NodeId>) -> bool + Send + Sync>;

/// The surroundings of a node. Clones share them.
#[derive(Clone)]
pub(super) struct Around {
    pub(super) network: Arc<dyn Network>,
    pub(super) assign: Assign,
    /// Whether there is no other node at present.
    pub(super) is_alone: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) hears: Hears,
}

impl Around {
    /// Nobody.
    pub(super) fn alone(node: NodeId) -> Around {
        let assign = move |_| Assignment::alone(MemberId::first(node));
        Around {
            network: Arc::new(NoPeers),
            assign: Arc::new(assign),
            is_alone: Arc::new(|| true),
            hears: Arc::new(|_| true),
        }
    }
}
