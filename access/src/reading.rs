//! The read path as one token sees it: what it may not read is not there.

use crate::{Access, May};
use oribi_model::{
    Consistency, Place, ReadPath, Reading, Result, ScanSpec, Table, TableId, TableStats,
    TabletScan, TimeRange,
};
use std::sync::Arc;

/// `read`, as who asks may see it.
pub fn reading(read: Arc<dyn ReadPath>, access: &Access) -> Arc<dyn ReadPath> {
    match access.is_unlimited() {
        true => read,
        false => Arc::new(Filtered { read, access: access.clone() }),
    }
}

struct Filtered {
    read: Arc<dyn ReadPath>,
    access: Access,
}

impl Filtered {
    fn wrap(&self, read: Arc<dyn ReadPath>) -> Arc<dyn ReadPath> {
        Arc::new(Filtered { read, access: self.access.clone() })
    }
}

impl ReadPath for Filtered {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.access.may(May::Read, db, table).then(|| self.read.table(db, table)).flatten()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        let mut tables = self.read.tables();
        tables.retain(|table| self.access.may(May::Read, &table.db, &table.name));
        tables
    }

    fn is_refused(&self, db: &str, table: &str) -> bool {
        !self.access.may(May::Read, db, table)
    }

    fn places(&self, table: TableId, time: TimeRange) -> Vec<Place> {
        self.read.places(table, time)
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        self.read.without_places().map(|read| self.wrap(read))
    }

    fn ask(&self, place: &Place, question: &[u8]) -> Result<Vec<u8>> {
        self.read.ask(place, question)
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.read.stats(table)
    }

    fn begin(&self, consistency: Consistency) -> Result<Option<Arc<dyn ReadPath>>> {
        Ok(self.read.begin(consistency)?.map(|read| self.wrap(read)))
    }

    fn reading(&self) -> Option<Reading> {
        self.read.reading()
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.read.scan(table, spec, parts_max)
    }
}
