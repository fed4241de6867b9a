//! What a node is to those around it, and the way to the others: none until it is set.

use super::{CATALOG_GROUP, Node};
use crate::{
    Replica,
    liveness::Health,
    replica::Instances,
    transport::{CallError, Network, Pending, Request},
};
use bytes::Bytes;
use oribi_model::NodeId;
use oribi_store::log::{GroupId, Op};
use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};
use tokio::sync::watch;

/// Whether this node hears a majority of these nodes, itself among them: without one, what it
/// appends may stay unknown for long.
pub(crate) type Hears = Arc<dyn Fn(&BTreeSet<NodeId>) -> bool + Send + Sync>;

/// A network that may come later.
#[derive(Default)]
pub(super) struct Links(OnceLock<(Arc<dyn Network>, Hears)>);

impl Links {
    /// Gives the way; the first that is given stays.
    pub(super) fn set(&self, network: Arc<dyn Network>, hears: Hears) {
        if self.0.set((network, hears)).is_err() {
            tracing::error!("the way to other nodes was given before");
        }
    }

    /// Whether there is no way to other nodes.
    pub(super) fn is_alone(&self) -> bool {
        self.0.get().is_none()
    }

    /// Whether a majority of these nodes is heard.
    pub(super) fn hears(&self, nodes: &BTreeSet<NodeId>) -> bool {
        self.0.get().is_none_or(|(_, hears)| hears(nodes))
    }
}

impl Node {
    /// Gives the node the way to the others, and who of them is heard. Said once.
    pub(crate) fn connect(&self, network: Arc<dyn Network>, hears: Hears) {
        self.hosting.around.links.set(network, hears);
    }

    /// Resolves once the catalog has other nodes.
    pub async fn has_company(&self) {
        let mut changed = self.catalog.watch();
        while self.hosting.has_no_others() {
            if changed.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Resolves once the catalog has changed after this call in anything but how far connectors have
    /// got.
    pub fn catalog_changed(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut changed = self.catalog.watch();
        async move {
            if changed.changed().await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Whether a majority of those who decide on the catalog is heard, so that what is known of it is
    /// not old.
    pub fn hears_cluster(&self) -> bool {
        let voters = self.catalog_replica.members().voters;
        let nodes = voters.into_iter().map(|voter| voter.node).collect();
        self.hosting.has_no_others() || self.hosting.around.links.hears(&nodes)
    }

    /// Whether a node belongs to the cluster, or may: what the catalog here does not know may have
    /// come to it since, where this node does not hear those who decide on it.
    pub(crate) fn may_belong(&self, node: NodeId) -> bool {
        let catalog = self.catalog();
        let is_begun = catalog.node(self.hosting.node).is_some();
        !is_begun || catalog.node(node).is_some() || !self.hears_cluster()
    }

    /// Whether there is no other node at present, as far as is known here.
    pub(crate) fn has_no_others(&self) -> bool {
        self.hosting.has_no_others()
    }

    /// The other nodes that are not heard at present.
    pub(super) fn away(&self) -> Vec<NodeId> {
        let links = &self.hosting.around.links;
        let is_away = |node: &NodeId| !links.hears(&BTreeSet::from([*node]));
        self.other_nodes().into_iter().filter(is_away).collect()
    }

    /// Why no leader of a group was found, for a person.
    pub(super) fn why_no_leader(&self, group: GroupId) -> String {
        let founder = self.hosting.assignment(group).founder().node;
        let is_begun = self.replica(group).is_some_and(|replica| replica.is_begun());
        let is_heard = self.hosting.around.links.hears(&BTreeSet::from([founder]));
        match is_begun || is_heard {
            true => "no leader was found in time".to_owned(),
            false => format!(
                "nothing was written to it yet, and node {founder}, which is to begin it, is not heard of"
            ),
        }
    }

    /// The consensus instances of tablets that run here.
    pub(crate) fn instances(&self) -> &Instances {
        &self.hosting.instances
    }

    /// All replicas that are here, that of the catalog included.
    pub(crate) fn replicas(&self) -> Vec<Arc<Replica>> {
        let hosted = self.hosting.all().into_iter().map(|hosted| hosted.replica.clone());
        hosted.chain([self.catalog_replica.clone()]).collect()
    }

    /// Those that may have no leader, or have one that is to be proved: who sleeps asks for none.
    pub(crate) fn awake(&self) -> Vec<Arc<Replica>> {
        let tablets = self.hosting.instances.running();
        tablets.into_iter().chain([self.catalog_replica.clone()]).collect()
    }

    /// Whether no replica of a tablet is awake.
    pub(crate) fn sleeps(&self) -> bool {
        self.awake().iter().all(|replica| replica.group() == CATALOG_GROUP)
    }

    /// Told of every change of the catalog but how far connectors have got.
    pub(crate) fn watch_catalog(&self) -> watch::Receiver<u64> {
        self.catalog.watch()
    }

    /// How the node is, as others are told; how its disk is they are told otherwise.
    pub(crate) fn health(&self) -> Health {
        const FULL: usize = 1_000;
        let permille = self.memtable_bytes() * FULL / self.options.memtable_bytes_max.max(1);
        Health {
            memtables_permille: u16::try_from(permille).unwrap_or(u16::MAX),
            catalog_index: *self.catalog.watch().borrow(),
            clock_ns: self.clock.now_ns(),
            leaves_lead: self.leaves_lead(),
            ..Health::default()
        }
    }

    /// How often the log was synced.
    pub(crate) fn log_syncs(&self) -> u64 {
        self.hosting.log.stats().syncs
    }

    /// Has the disk sync something that is written for it and says nothing. `told` is called as soon as
    /// it has, on the thread that writes the log; where that fails it is dropped.
    pub(crate) fn try_disk(&self, told: impl FnOnce() + Send + 'static) {
        let tell = |outcome: Result<(), String>| {
            if outcome.is_ok() {
                told();
            }
        };
        self.hosting.log.submit(CATALOG_GROUP, Op::Lift, Box::new(tell));
    }
}

impl Network for Links {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        match self.0.get() {
            Some((network, _)) => network.call(to, request),
            None => Box::pin(std::future::ready(Err(CallError::NotConnected(to)))),
        }
    }

    fn notify(&self, to: NodeId, request: Request) -> Result<(), CallError> {
        match self.0.get() {
            Some((network, _)) => network.notify(to, request),
            None => Err(CallError::NotConnected(to)),
        }
    }
}
