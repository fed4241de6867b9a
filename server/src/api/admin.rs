//! What administrative paths know of the node.

use super::problem::{ApiError, Result};
use crate::{
    audit::Audit,
    auth::{ClusterVault, Keyring},
    front::FrontCounters,
    telemetry::{IngestCounters, Memory, Metrics},
    tls::TlsState,
};
use axum::extract::{Path, rejection::PathRejection};
use oribi_access::{Access, May, reading};
use oribi_cluster::{Node, NodeRecord, PeersView};
use oribi_connectors::{Connectors, RouteSpec, mqtt_listener::Counters};
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, Clock, Name, ReadPath, Table};
use oribi_query::{QueryEngine, QueryOptions};
use std::{net::SocketAddr, sync::Arc, time::Instant};

/// The addresses bound.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// HTTP.
    pub(crate) http: SocketAddr,
    /// MQTT.
    pub(crate) mqtt: SocketAddr,
    /// Other nodes.
    pub(crate) node: SocketAddr,
}

/// The node, and what is told of it.
pub(crate) struct Admin {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// The cluster as the node sees it.
    pub(crate) peers: PeersView,
    /// The tokens.
    pub(crate) keyring: Arc<Keyring>,
    /// The key of the cluster.
    pub(crate) vault: Arc<ClusterVault>,
    /// What was changed.
    pub(crate) audit: Arc<Audit>,
    /// TLS of HTTP, where it is spoken.
    pub(crate) tls: Option<Arc<TlsState>>,
    /// Bounds on predicates.
    pub(crate) query: QueryOptions,
    /// What relative times are relative to.
    pub(crate) clock: Arc<dyn Clock>,
    /// Where it listens.
    pub(crate) addresses: Addresses,
    /// When the process started.
    pub(crate) started: Instant,
    /// The connectors.
    pub(crate) connectors: Connectors,
    /// The read path.
    pub(crate) engine: QueryEngine,
    /// The write path.
    pub(crate) write: Arc<dyn Ingest>,
    /// Routes of the MQTT listener.
    pub(crate) mqtt_routes: Vec<RouteSpec>,
    /// Times of rows without one.
    pub(crate) arrival: ArrivalClock,
    /// How far ahead of now an event may lie, ns.
    pub(crate) ahead_ns_max: i64,
    /// What the MQTT listener counts.
    pub(crate) mqtt: Arc<Counters>,
    /// What the write path counts.
    pub(crate) ingest: Arc<IngestCounters>,
    /// What the HTTP front door counts.
    pub(crate) front: Arc<FrontCounters>,
    /// All of it, for Prometheus.
    pub(crate) metrics: Arc<Metrics>,
    /// Memory, and how near its bound it is.
    pub(crate) memory: Memory,
    /// Held while everything is compacted, which one at a time is enough for.
    pub(crate) compacting: tokio::sync::Mutex<()>,
}

impl Admin {
    /// A path at another node: what this one speaks, that one does.
    pub(super) fn at(&self, other: &NodeRecord, path: &str) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}{path}", other.presence.addresses.http)
    }

    /// The read path as who asks may see it.
    pub(super) fn seen_by(&self, access: &Access) -> Arc<dyn ReadPath> {
        reading(self.node.clone(), access)
    }

    /// The table of a path, for who may administer it.
    ///
    /// # Errors
    /// 403 whether or not it exists, 404 with the names that are alike.
    pub(super) fn table(&self, access: &Access, db: &Name, name: &Name) -> Result<Arc<Table>> {
        access.check(May::Admin, db, name)?;
        if let Some(table) = self.node.table(db, name) {
            return Ok(table);
        }
        const NEAR_MAX: usize = 5;
        let limit = name.chars().count().max(3) / 3;
        let tables = self.seen_by(access).tables();
        let near = tables
            .iter()
            .filter(|table| {
                strsim::damerau_levenshtein(&table.name.to_lowercase(), &name.to_lowercase())
                    <= limit
            })
            .map(|table| match table.db == *db {
                true => table.name.to_string(),
                false => format!("{}.{}", table.db, table.name),
            })
            .take(NEAR_MAX)
            .collect();
        Err(ApiError::unknown_table(db, name, near))
    }
}

/// The name in a path, decoded and checked.
///
/// # Errors
/// 400 where the rules of names refuse it.
pub(super) fn name_of_path(path: Result<Path<String>, PathRejection>) -> Result<Name> {
    let Path(name) = path.map_err(|wrong| ApiError::parameter("table", wrong.body_text()))?;
    Name::new(&name).map_err(|wrong| ApiError::parameter("table", wrong.to_string()))
}
