//! The write path on this node.

use crate::{Ingest, Receipt, Result};
use futures::future::BoxFuture;
use oribi_cluster::Node;
use oribi_model::{Clock, Name, Points, Table};
use serde::Deserialize;
use std::sync::Arc;

/// Bounds of the write path, `[ingest]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestOptions {
    /// Rows in flight, as bytes of their batches; past it writes wait.
    pub inflight_bytes_max: usize,
    /// How long a write waits for room before it is refused, ms.
    pub wait_ms_max: u64,
    /// New tablets that writes may cause in a minute.
    pub tablets_per_minute_max: u32,
}

impl Default for IngestOptions {
    fn default() -> IngestOptions {
        IngestOptions {
            inflight_bytes_max: 128 << 20,
            wait_ms_max: 10_000,
            tablets_per_minute_max: 600,
        }
    }
}

/// The write path on this node.
pub struct Ingestor {
    node: Arc<Node>,
}

impl Ingestor {
    /// A write path into `node`.
    pub fn new(node: Arc<Node>, options: IngestOptions, clock: Arc<dyn Clock>) -> Ingestor {
        let _ = (options, clock);
        Ingestor { node }
    }
}

impl Ingest for Ingestor {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        let _ = points;
        unimplemented!()
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.node.catalog().table(db, table).cloned()
    }

    fn databases(&self) -> Vec<Name> {
        self.node.catalog().databases().cloned().collect()
    }

    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        let _ = db;
        unimplemented!()
    }

    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        let _ = db;
        unimplemented!()
    }
}
