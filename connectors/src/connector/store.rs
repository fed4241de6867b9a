//! What connectors must remember, kept by the catalog.

use futures::future::BoxFuture;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Which node runs a connector. With each that takes it the epoch rises, and what is saved under an
/// older one is refused, so that a node that was thought to be dead changes nothing any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// No node, or one that is gone. This node may take it if nobody has within so long.
    Free {
        /// The epoch of who had it last.
        epoch: u64,
        /// How long to leave it to others.
        wait: Duration,
    },
    /// This node.
    Here {
        /// Since when it is so.
        epoch: u64,
    },
    /// Another node.
    Elsewhere,
}

/// Connectors made at run time, which connectors are paused, and how far each has got. Errors are
/// texts for a person.
pub trait ConnectorStore: Send + Sync + 'static {
    /// The connectors made at run time, by name, as the JSON they were kept with.
    fn connectors(&self) -> Vec<(String, String)>;

    /// Keeps one, which is to run.
    fn put(&self, name: &str, json: &str) -> BoxFuture<'_, Result<(), String>>;

    /// Forgets one and how far it has got.
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), String>>;

    /// The connectors that are not to run, by name.
    fn paused(&self) -> BTreeSet<String>;

    /// Notes that a connector is not to run until it is resumed.
    fn pause(&self, name: &str) -> BoxFuture<'_, Result<(), String>>;

    /// Notes that a connector is to run.
    fn resume(&self, name: &str) -> BoxFuture<'_, Result<(), String>>;

    /// For each source of a connector the first place that is not done.
    fn cursors(&self, connector: &str) -> BTreeMap<String, u64>;

    /// Which node runs a connector.
    fn seat(&self, connector: &str) -> Seat;

    /// Has this node run a connector; refused where another took it after `epoch`.
    fn take(&self, connector: &str, epoch: u64) -> BoxFuture<'_, Result<(), String>>;

    /// Resolves once anything but places may have changed after the call.
    fn changed(&self) -> BoxFuture<'static, ()>;

    /// Notes how far a connector has got; sources that are not named keep theirs. Refused where
    /// another node took it after `epoch`.
    fn save_cursors(
        &self,
        connector: &str,
        epoch: u64,
        cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>>;
}
