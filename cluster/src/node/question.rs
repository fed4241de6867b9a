//! A node as one question sees it.

use super::{
    CATALOG_GROUP, Node,
    view::{Only, View},
};
use crate::route::scan::AsOf;
use oribi_model::{
    Consistency, Place, ReadPath, Reading, Result, ScanSpec, Table, TableId, TableStats, TabletId,
    TabletScan, TimeRange,
};
use std::{sync::Arc, time::Duration};

/// A node as a question sees it.
pub(super) struct AskedNode {
    node: Arc<Node>,
    view: View,
}

impl AskedNode {
    pub(super) fn new(node: Arc<Node>, only: Only, as_of: AsOf) -> AskedNode {
        AskedNode { node, view: View::new(only, as_of) }
    }

    /// Waits until the catalog is as current as the question asks for. Blocks.
    pub(super) fn find_tables(&mut self) -> Result<()> {
        match self.view.as_of.consistency {
            Consistency::Linearizable => {
                let behind = |error: crate::Error| oribi_model::Error::Behind(error.to_string());
                self.node.wait_for_catalog().map_err(behind)?;
            }
            Consistency::Stale(max) => self.node.bound_age(&self.view, vec![CATALOG_GROUP], max)?,
        }
        self.view.as_of.catalog = self.node.catalog_index();
        Ok(())
    }

    /// Waits until these tablets are as current as the question asks for, which another node asks.
    /// Blocks.
    pub(super) fn make_current(&self, tablets: &[TabletId]) -> crate::Result<()> {
        let current = self.node.make_current(&self.view, tablets.iter().copied());
        current.map_err(|error| crate::Error::Read(error.to_string()))
    }

    /// Begins a question of another node about these tablets, which must be here. Blocks.
    pub(super) fn begin(&self, tablets: &[TabletId]) -> crate::Result<()> {
        self.node.wait_for_catalog_at(self.view.as_of.catalog)?;
        self.make_current(tablets)?;
        let absent = tablets.iter().find_map(|one| self.node.hosting.reason_absent(*one));
        absent.map_or(Ok(()), |reason| Err(crate::Error::Read(reason)))
    }

    /// How old what was read may be.
    pub(super) fn age(&self) -> Duration {
        self.view.age()
    }
}

impl ReadPath for AskedNode {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.node.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.node.tables()
    }

    fn places(&self, table: TableId, time: TimeRange) -> Vec<Place> {
        match self.view.shows_all() {
            true => self.node.places_of(table, time),
            false => Vec::new(),
        }
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        Some(Arc::new(AskedNode { node: self.node.clone(), view: self.view.here() }))
    }

    fn reading(&self) -> Option<Reading> {
        Some(self.view.reading(self.node.hosting.node))
    }

    fn ask(&self, place: &Place, question: &[u8]) -> Result<Vec<u8>> {
        self.node.ask_place(&self.view, place, question)
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.node.stats_of(&self.view, table)
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.node.scan_of(&self.view, table, spec, parts_max)
    }
}
