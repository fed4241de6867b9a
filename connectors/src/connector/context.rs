//! What connectors run with.

use super::{ConnectorStore, Vault, status::Progress};
use crate::sparkplug_store::EdgeNodes;
use futures::future::BoxFuture;
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, Feed, WindowFeed};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio_util::sync::CancellationToken;

/// What connectors work with.
#[derive(Clone)]
pub struct Parts {
    /// The write path.
    pub ingest: Arc<dyn Ingest>,
    /// Committed rows.
    pub feed: Arc<dyn Feed>,
    /// Windows of them.
    pub windows: Arc<dyn WindowFeed>,
    /// Times of rows without one.
    pub arrival: ArrivalClock,
    /// What must be remembered.
    pub store: Arc<dyn ConnectorStore>,
    /// What seals the secrets that are remembered with it.
    pub vault: Arc<dyn Vault>,
    /// How far ahead of now an event may lie, ns.
    pub ahead_ns_max: i64,
    /// The folder of the files that entries made over HTTP may name.
    pub files: PathBuf,
}

/// What one connector runs with.
#[derive(Clone)]
pub(crate) struct RunContext {
    pub(crate) name: Arc<str>,
    /// Since when this node runs it.
    pub(crate) epoch: u64,
    pub(crate) parts: Parts,
    pub(crate) progress: Arc<Progress>,
    pub(crate) stop: CancellationToken,
    /// What Sparkplug's births said.
    pub(crate) nodes: Arc<EdgeNodes>,
}

impl RunContext {
    /// Notes how far the connector has got, as [`ConnectorStore::save_cursors`].
    pub(crate) fn save_cursors(
        &self,
        cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>> {
        self.parts.store.save_cursors(&self.name, self.epoch, cursors)
    }
}
