//! The catalog as the place where connectors remember.

use futures::future::BoxFuture;
use oribi_cluster::{Catalog, Change, ConnectorSeat, Node, NodeState, PeersView};
use oribi_connectors::{ConnectorStore, Seat};
use oribi_model::{Name, NodeId};
use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long a connector whose node is gone is left to the first in line for it.
const GONE_WAIT: Duration = Duration::from_millis(200);
/// How much longer each one behind waits.
const TURN_WAIT: Duration = Duration::from_millis(400);

/// What connectors must remember, in the catalog, and which of them are this node's.
pub(crate) struct CatalogStore {
    node: Arc<Node>,
    peers: PeersView,
    /// Whether the catalog that is here has all that was agreed on before this node started.
    is_current: Arc<AtomicBool>,
}

impl CatalogStore {
    /// The catalog of `node`, which sees the others as `peers` says.
    pub(crate) fn new(node: Arc<Node>, peers: PeersView) -> CatalogStore {
        let is_alone = node.catalog().nodes().all(|(id, _)| id == node.identity().node);
        let is_current = Arc::new(AtomicBool::new(is_alone));
        if !is_alone {
            tokio::spawn(catch_up(node.clone(), is_current.clone()));
        }
        CatalogStore { node, peers, is_current }
    }

    /// How long this node leaves a connector that nobody runs to others: those with fewer connectors
    /// come first.
    fn turn(&self, catalog: &Catalog, connector: &str) -> Duration {
        let own = self.node.identity().node;
        let up = catalog.nodes().filter(|(_, record)| record.state == NodeState::Up);
        let others = up.map(|(id, _)| id).filter(|id| *id != own && self.peers.trusts(*id));
        let place = |id: NodeId| {
            let mut hasher = DefaultHasher::new();
            (connector, id.0).hash(&mut hasher);
            (catalog.seats_on(id), hasher.finish())
        };
        let before = others.filter(|id| place(*id) < place(own)).count();
        TURN_WAIT * u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(Name) -> Change,
    ) -> BoxFuture<'_, Result<(), String>> {
        let change = Name::new(name).map(change);
        Box::pin(async move {
            let change = change.map_err(|wrong| wrong.to_string())?;
            self.node.change(change).await.map(drop).map_err(|wrong| wrong.to_string())
        })
    }
}

impl ConnectorStore for CatalogStore {
    fn connectors(&self) -> Vec<(String, String)> {
        let catalog = self.node.catalog();
        catalog.connectors().map(|(name, spec)| (name.to_string(), spec.to_string())).collect()
    }

    fn put(&self, name: &str, json: &str) -> BoxFuture<'_, Result<(), String>> {
        let spec = Arc::from(json);
        self.change(name, |name| Change::PutConnector { name, spec })
    }

    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), String>> {
        self.change(name, |name| Change::DropConnector { name })
    }

    fn paused(&self) -> BTreeSet<String> {
        self.node.catalog().paused().map(Name::to_string).collect()
    }

    fn pause(&self, name: &str) -> BoxFuture<'_, Result<(), String>> {
        self.change(name, |name| Change::PauseConnector { name })
    }

    fn resume(&self, name: &str) -> BoxFuture<'_, Result<(), String>> {
        self.change(name, |name| Change::ResumeConnector { name })
    }

    fn cursors(&self, connector: &str) -> BTreeMap<String, u64> {
        let catalog = self.node.catalog();
        let cursors = catalog.cursors(connector).into_iter().flatten();
        cursors.map(|(source, next)| (source.clone(), *next)).collect()
    }

    fn seat(&self, connector: &str) -> Seat {
        if !self.is_current.load(Ordering::Acquire) || !self.node.hears_cluster() {
            return Seat::Elsewhere;
        }
        let catalog = self.node.catalog();
        match catalog.seat_of(connector) {
            None => Seat::Free { epoch: 0, wait: self.turn(&catalog, connector) },
            Some(ConnectorSeat { node, epoch }) if node == self.node.identity().node => {
                Seat::Here { epoch }
            }
            Some(ConnectorSeat { node, .. }) if self.peers.trusts(node) => Seat::Elsewhere,
            Some(ConnectorSeat { epoch, .. }) => {
                Seat::Free { epoch, wait: GONE_WAIT + self.turn(&catalog, connector) }
            }
        }
    }

    fn take(&self, connector: &str, epoch: u64) -> BoxFuture<'_, Result<(), String>> {
        let node = self.node.identity().node;
        self.change(connector, |connector| Change::SeatConnector { connector, node, after: epoch })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.node.catalog_changed())
    }

    fn save_cursors(
        &self,
        connector: &str,
        epoch: u64,
        mut cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>> {
        // A connector without news saves every second all the same.
        let catalog = self.node.catalog();
        if let Some(saved) = catalog.cursors(connector) {
            cursors.retain(|source, next| saved.get(source) != Some(next));
        }
        if cursors.is_empty() {
            return Box::pin(async { Ok(()) });
        }
        self.change(connector, |connector| Change::SaveCursors {
            connector,
            cursors,
            epoch: Some(epoch),
        })
    }
}

/// Waits until the catalog has what others agreed on while this node was away: it may say that this
/// node runs what another one has taken since.
async fn catch_up(node: Arc<Node>, is_current: Arc<AtomicBool>) {
    const PAUSE: Duration = Duration::from_millis(200);
    while node.catalog_now().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
    is_current.store(true, Ordering::Release);
}
