//! What the cluster agreed on: databases, tables with their schemas, and tablets.

mod apply;
mod change;

pub use apply::COLUMNS_MAX;
pub use change::{Change, ColumnSpec};

use oribi_model::{ColumnId, Name, Table, TableId, TabletId, TabletSpec, TimeRange};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The catalog as of one log entry. Immutable once published; clones share tables.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalog {
    databases: BTreeSet<Name>,
    tables: BTreeMap<TableId, Arc<Table>>,
    /// Of each table, the greatest column id ever given, which is never given again.
    last_columns: BTreeMap<TableId, ColumnId>,
    tablets: BTreeMap<TabletId, TabletSpec>,
    /// Connectors made at run time, by name, as JSON.
    #[serde(default)]
    connectors: BTreeMap<Name, Arc<str>>,
    /// Connectors, made at run time or not, that are not to run.
    #[serde(default)]
    paused: BTreeSet<Name>,
    /// Of each connector, how far it has got with each of its sources.
    #[serde(default)]
    cursors: BTreeMap<Name, BTreeMap<String, u64>>,
    last_table: TableId,
    last_tablet: TabletId,
    #[serde(skip)]
    index: Index,
}

/// What can be computed from the rest, so that look-ups need no search.
#[derive(Debug, Clone, PartialEq, Default)]
struct Index {
    by_name: BTreeMap<Name, BTreeMap<Name, TableId>>,
    /// Of each table, its tablets by ascending start, then bucket.
    by_table: BTreeMap<TableId, Vec<TabletSpec>>,
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
        self.index.by_name.values().flat_map(BTreeMap::values).filter_map(|id| self.tables.get(id))
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
        self.index.by_table.get(&table).map_or(&[], Vec::as_slice)
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
    pub fn cursors(&self, connector: &str) -> Option<&BTreeMap<String, u64>> {
        self.cursors.get(connector)
    }

    /// Makes the look-ups of a catalog that was read from a file.
    pub(crate) fn reindex(&mut self) {
        let mut index = Index::default();
        for table in self.tables.values() {
            index.by_name.entry(table.db.clone()).or_default().insert(table.name.clone(), table.id);
        }
        for tablet in self.tablets.values() {
            index.by_table.entry(tablet.table).or_default().push(*tablet);
        }
        for tablets in index.by_table.values_mut() {
            tablets.sort_unstable_by_key(|tablet| (tablet.range.start, tablet.bucket.index));
        }
        self.index = index;
    }
}
