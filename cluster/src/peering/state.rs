//! What the tasks of a node among others share.

use super::{
    absences::Absences,
    book::Book,
    scenery::{Planned, Scenery},
};
use crate::{
    Catalog, KeyPin, MemberId, Node, Replica,
    elections::Supervisor,
    join::{JoinOptions, Known, Places},
    liveness::Watch,
    node::CATALOG_GROUP,
    secured::NodeTls,
    transport::Tcp,
};
use oribi_model::{NodeId, TabletId};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{Notify, watch};

pub(super) struct State {
    pub(super) node: Arc<Node>,
    pub(super) options: JoinOptions,
    pub(super) tcp: Arc<Tcp>,
    pub(super) watch: Watch,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) tls: Arc<NodeTls>,
    /// Shared with whoever looks at keys.
    pub(super) book: Arc<Mutex<Book>>,
    /// Told when a node says that it is elsewhere.
    pub(super) heard: Notify,
    /// Nodes that were not heard of for a while.
    pub(super) absences: Mutex<Absences>,
    pub(super) planned: Mutex<Planned>,
    pub(super) stopped: watch::Sender<bool>,
}

impl State {
    pub(super) fn own(&self) -> NodeId {
        self.node.identity().node
    }

    /// Where all nodes are, as far as it is known.
    pub(super) fn places(&self) -> Places {
        self.book.lock().places(&self.node.catalog())
    }

    /// The addresses of the other nodes.
    pub(super) fn others(&self) -> BTreeMap<NodeId, String> {
        let own = self.own();
        let places = self.places().into_iter().filter(|(node, _)| *node != own);
        places.map(|(node, place)| (node, place.address)).collect()
    }

    /// Whether a key is that of a node of the cluster.
    pub(super) fn is_key_of_any(&self, pin: KeyPin) -> bool {
        self.book.lock().is_key_of_any(&self.node.catalog(), pin)
    }

    /// Notes where a node says that it is.
    pub(super) fn hear(&self, node: NodeId, place: Known) {
        if node != self.own() && self.book.lock().hear(node, place) {
            self.heard.notify_one();
        }
    }

    /// The replica of the catalog.
    pub(super) fn catalog(&self) -> Option<Arc<Replica>> {
        self.node.replica(CATALOG_GROUP)
    }

    /// Whether the catalog is led here, as far as this node knows.
    pub(super) fn leads_catalog(&self) -> bool {
        self.catalog().is_some_and(|replica| may_lead(&replica))
    }

    /// Waits; `false` once the node stops.
    pub(super) async fn pause(&self, pause: Duration) -> bool {
        let mut stopped = self.stopped.subscribe();
        let stops = stopped.wait_for(|stopped| *stopped);
        tokio::time::timeout(pause, stops).await.is_err()
    }
}

impl State {
    pub(super) fn scenery(&self) -> Scenery {
        let others: BTreeSet<NodeId> = self.others().into_keys().collect();
        let all = others.iter().copied().chain([self.own()]).collect();
        let live = |node: NodeId| {
            (node, self.watch.view(|view| (view.trusts(node), view.is_dead(node, &all))))
        };
        let lives = others.into_iter().map(live).collect();
        let (catalog, heard) = (*self.node.watch_catalog().borrow(), self.node.heard_changes());
        Scenery { catalog, heard, lives }
    }
}

/// Whether another replica of a tablet is on this one's node by now. The node lets go of it as soon as it knows; the other
/// members may still take it for their leader.
pub(super) fn is_replaced(catalog: &Catalog, group: GroupId, member: MemberId) -> bool {
    let there = catalog.replica_on(TabletId(group.0), member.node);
    group != CATALOG_GROUP && there.is_some_and(|there| there != member)
}

/// Whether a replica leads, or would if it had something to do.
pub(super) fn may_lead(replica: &Replica) -> bool {
    replica.is_sole_voter() || replica.standing().leads
}
