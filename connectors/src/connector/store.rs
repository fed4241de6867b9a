//! What connectors must remember, kept by the catalog.

use futures::future::BoxFuture;
use std::collections::BTreeMap;

/// Connectors made at run time, and how far each connector has got. Errors are texts for a person.
pub trait ConnectorStore: Send + Sync + 'static {
    /// The connectors made at run time, by name, as the JSON they were made with.
    fn connectors(&self) -> Vec<(String, String)>;

    /// Keeps one.
    fn put(&self, name: &str, json: &str) -> BoxFuture<'_, Result<(), String>>;

    /// Forgets one and how far it has got.
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), String>>;

    /// For each source of a connector the first place that is not done.
    fn cursors(&self, connector: &str) -> BTreeMap<String, u64>;

    /// Notes how far a connector has got; sources that are not named keep theirs.
    fn save_cursors(
        &self,
        connector: &str,
        cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>>;
}
