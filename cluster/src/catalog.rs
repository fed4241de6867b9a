//! What the cluster agreed on: databases, tables with their schemas, tablets, and the nodes that have
//! their replicas.

mod apply;
mod change;
mod moving;
mod nodes;
mod placement;
mod restored;
mod seats;
#[cfg(test)]
mod tests;
mod tokens;

pub use apply::COLUMNS_MAX;
pub use change::{Change, ColumnSpec};
pub(crate) use nodes::FIRST_NODE;
pub use nodes::{NODES_MAX, NodeAddresses, NodeRecord, NodeState, Presence, Reach};
pub use restored::RestoredConnectors;
pub use seats::ConnectorSeat;
pub use tokens::{TOKENS_AT_ONCE_MAX, TOKENS_MAX};

use crate::ClusterKeyId;
use moving::Moving;
use nodes::{Loads, Placement};
use oribi_model::{ColumnId, Name, NodeId, Table, TableId, TabletId, TabletSpec, TimeRange};
use rpds::{RedBlackTreeMapSync as Map, RedBlackTreeSetSync as Set};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokens::Tokens;

/// How far a connector has got: for each of its sources the first place that was not done.
pub type Cursors = Map<String, u64>;

/// The catalog as of one log entry. Immutable once published. A clone shares everything, and a
/// change copies only the path to what it touches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    databases: Set<Name>,
    tables: Map<TableId, Arc<Table>>,
    /// Of each table, the greatest column id ever given, which is never given again.
    last_columns: Map<TableId, ColumnId>,
    tablets: Map<TabletId, TabletSpec>,
    /// Connectors made at run time, by name, as JSON.
    #[serde(default)]
    connectors: Map<Name, Arc<str>>,
    /// Connectors, made at run time or not, that are not to run.
    #[serde(default)]
    paused: Set<Name>,
    /// Of each connector, how far it has got with each of its sources.
    #[serde(default)]
    cursors: Map<Name, Cursors>,
    /// Of each connector, which node runs it.
    #[serde(default)]
    seats: Map<Name, ConnectorSeat>,
    /// The greatest epoch of a seat ever given.
    #[serde(default)]
    last_seat: u64,
    /// Nodes, gone ones too.
    #[serde(default)]
    nodes: Map<NodeId, Arc<NodeRecord>>,
    /// The replicas of tablets, but of those that have one on the first node.
    #[serde(default)]
    placements: Map<TabletId, Placement>,
    /// What is known of replicas beyond where they are, of tablets some of which have moved.
    #[serde(default)]
    moving: Map<TabletId, Arc<Moving>>,
    last_table: TableId,
    last_tablet: TabletId,
    /// The greatest id of a node ever given.
    #[serde(default)]
    last_node: NodeId,
    /// Absent where there never was one.
    #[serde(default, skip_serializing_if = "Tokens::is_empty")]
    tokens: Tokens,
    /// The key that secrets of connectors are sealed with; absent where there never was any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_key: Option<ClusterKeyId>,
    #[serde(skip)]
    index: Index,
}

/// What can be computed from the rest, so that look-ups need no search.
#[derive(Debug, Clone, PartialEq, Default)]
struct Index {
    by_name: Map<Name, Map<Name, TableId>>,
    /// Of each table, its tablets by ascending start, then bucket.
    by_table: Map<TableId, Arc<Vec<TabletSpec>>>,
    loads: Loads,
}

impl Catalog {
    /// The databases, by name.
    pub fn databases(&self) -> impl Iterator<Item = &Name> {
        self.databases.iter()
    }

    /// The table of this name.
    pub fn table(&self, db: &str, table: &str) -> Option<&Arc<Table>> {
        self.tables.get(self.index.by_name.get(db)?.get(table)?)
    }

    /// The table with this id.
    pub fn table_by_id(&self, id: TableId) -> Option<&Arc<Table>> {
        self.tables.get(&id)
    }

    /// All tables, by database and name.
    pub fn tables(&self) -> impl Iterator<Item = &Arc<Table>> {
        self.index.by_name.values().flat_map(Map::values).filter_map(|id| self.tables.get(id))
    }

    /// The tablet with this id.
    pub fn tablet(&self, id: TabletId) -> Option<&TabletSpec> {
        self.tablets.get(&id)
    }

    /// All tablets, by id.
    pub fn tablets(&self) -> impl Iterator<Item = &TabletSpec> {
        self.tablets.values()
    }

    /// The tablets of a table by ascending start, then bucket. Tablets with one range are all
    /// buckets of that range; ranges of a table never overlap.
    pub fn tablets_of(&self, table: TableId) -> &[TabletSpec] {
        self.index.by_table.get(&table).map_or(&[], |tablets| tablets.as_slice())
    }

    /// The tablets of a table whose range holds `time`, by bucket; empty where there is none yet.
    pub fn tablets_at(&self, table: TableId, time: i64) -> &[TabletSpec] {
        let tablets = self.tablets_of(table);
        let end = tablets.partition_point(|tablet| tablet.range.start <= time);
        let Some(last) = tablets[..end].last().filter(|last| last.range.contains(time)) else {
            return &[];
        };
        &tablets[end - last.bucket.count as usize..end]
    }

    /// The ranges of a table's tablets, by ascending start.
    pub fn ranges_of(&self, table: TableId) -> Vec<TimeRange> {
        let mut ranges: Vec<TimeRange> =
            self.tablets_of(table).iter().map(|tablet| tablet.range).collect();
        ranges.dedup();
        ranges
    }

    /// The connectors made at run time, by name, each as the JSON it was made with.
    pub fn connectors(&self) -> impl Iterator<Item = (&Name, &Arc<str>)> {
        self.connectors.iter()
    }

    /// The connectors that are not to run until they are resumed, by name.
    pub fn paused(&self) -> impl Iterator<Item = &Name> {
        self.paused.iter()
    }

    /// How far a connector has got with each of its sources: the first place that was not done.
    pub fn cursors(&self, connector: &str) -> Option<&Cursors> {
        self.cursors.get(connector)
    }

    /// The key that secrets of connectors are sealed with; `None` until the first of them.
    pub fn cluster_key(&self) -> Option<ClusterKeyId> {
        self.cluster_key
    }

    /// The greatest tablet id ever given.
    pub(crate) fn last_tablet(&self) -> TabletId {
        self.last_tablet
    }

    /// Makes the look-ups of a catalog that was read from a file.
    pub(crate) fn reindex(&mut self) {
        self.index = Index::default();
        self.tokens.reindex();
        for table in self.tables.values() {
            self.index.add_table(table);
        }
        let mut tablets: Vec<TabletSpec> = self.tablets.values().copied().collect();
        tablets.sort_unstable_by_key(|tablet| (tablet.table, place_of(tablet)));
        for same in tablets.chunk_by(|a, b| a.table == b.table) {
            self.index.by_table.insert_mut(same[0].table, Arc::new(same.to_vec()));
        }
        for tablet in tablets {
            let replicas = self.replicas_of(tablet.id).to_vec();
            self.index.count(&replicas, u32::wrapping_add);
        }
    }
}

/// The order of a table's tablets.
fn place_of(tablet: &TabletSpec) -> (i64, u32) {
    (tablet.range.start, tablet.bucket.index)
}

impl Index {
    fn add_table(&mut self, table: &Table) {
        let mut tables = self.by_name.get(&table.db).cloned().unwrap_or_default();
        tables.insert_mut(table.name.clone(), table.id);
        self.by_name.insert_mut(table.db.clone(), tables);
    }

    fn remove_table(&mut self, table: &Table) {
        self.by_table.remove_mut(&table.id);
        let Some(mut tables) = self.by_name.get(&table.db).cloned() else { return };
        tables.remove_mut(&table.name);
        self.by_name.insert_mut(table.db.clone(), tables);
    }

    /// Replaces the list of a table's tablets.
    fn change_tablets(&mut self, table: TableId, change: impl FnOnce(&mut Vec<TabletSpec>)) {
        let mut tablets = self.by_table.get(&table).cloned().unwrap_or_default();
        change(Arc::make_mut(&mut tablets));
        match tablets.is_empty() {
            true => drop(self.by_table.remove_mut(&table)),
            false => self.by_table.insert_mut(table, tablets),
        }
    }
}
