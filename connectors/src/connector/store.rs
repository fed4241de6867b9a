//! What connectors must remember, kept by the catalog.

use futures::future::BoxFuture;
use std::collections::{BTreeMap, BTreeSet};

/// Connectors made at run time, which connectors are paused, and how far each has got. Errors are
/// texts for a person.
pub trait ConnectorStore: Send + Sync + 'static {
    /// The connectors made at run time, by name, as the JSON they were made with.
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

    /// Notes how far a connector has got; sources that are not named keep theirs.
    fn save_cursors(
        &self,
        connector: &str,
        cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>>;
}
