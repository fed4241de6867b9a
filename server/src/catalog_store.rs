//! The catalog as the place where connectors remember.

use futures::future::BoxFuture;
use oribi_cluster::{Change, Node};
use oribi_connectors::{ConnectorStore, Seat};
use oribi_model::Name;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What connectors must remember, in the catalog of a node.
pub(crate) struct CatalogStore(pub(crate) Arc<Node>);

impl CatalogStore {
    fn change(
        &self,
        name: &str,
        change: impl FnOnce(Name) -> Change,
    ) -> BoxFuture<'_, Result<(), String>> {
        let change = Name::new(name).map(change);
        Box::pin(async move {
            let change = change.map_err(|wrong| wrong.to_string())?;
            self.0.change(change).await.map(drop).map_err(|wrong| wrong.to_string())
        })
    }
}

impl ConnectorStore for CatalogStore {
    fn connectors(&self) -> Vec<(String, String)> {
        let catalog = self.0.catalog();
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
        self.0.catalog().paused().map(Name::to_string).collect()
    }

    fn pause(&self, name: &str) -> BoxFuture<'_, Result<(), String>> {
        self.change(name, |name| Change::PauseConnector { name })
    }

    fn resume(&self, name: &str) -> BoxFuture<'_, Result<(), String>> {
        self.change(name, |name| Change::ResumeConnector { name })
    }

    fn cursors(&self, connector: &str) -> BTreeMap<String, u64> {
        let catalog = self.0.catalog();
        let cursors = catalog.cursors(connector).into_iter().flatten();
        cursors.map(|(source, next)| (source.clone(), *next)).collect()
    }

    fn seat(&self, _: &str) -> Seat {
        Seat::Here { epoch: 0 }
    }

    fn take(&self, _: &str, _: u64) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }

    fn save_cursors(
        &self,
        connector: &str,
        _: u64,
        mut cursors: BTreeMap<String, u64>,
    ) -> BoxFuture<'_, Result<(), String>> {
        // A connector without news saves every second all the same.
        let catalog = self.0.catalog();
        if let Some(saved) = catalog.cursors(connector) {
            cursors.retain(|source, next| saved.get(source) != Some(next));
        }
        if cursors.is_empty() {
            return Box::pin(async { Ok(()) });
        }
        self.change(connector, |connector| Change::SaveCursors { connector, cursors })
    }
}
