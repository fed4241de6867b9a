//! The node as a read path.

use super::Node;
use oribi_model::{ReadPath, Result, ScanSpec, Table, TableId, TableStats, TabletScan, TimeRange};
use std::sync::Arc;

impl ReadPath for Node {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.catalog().table(db, table).cloned()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog().tables().cloned().collect()
    }

    fn stats(&self, table: TableId) -> TableStats {
        let catalog = self.catalog();
        let kept = self.kept(&catalog, table);
        let mut sum = TableStats::default();
        for hosted in self.hosting.of_table(&catalog, table) {
            let stats = hosted.tablet.stats();
            sum.rows += stats.rows;
            sum.bytes += stats.bytes;
            let time = stats.time.map(|time| time.intersect(kept)).filter(|time| !time.is_empty());
            sum.time = match (sum.time, time) {
                (Some(a), Some(b)) => Some(TimeRange::new(a.start.min(b.start), a.end.max(b.end))),
                (a, b) => a.or(b),
            };
        }
        sum
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        let catalog = self.catalog();
        let kept = self.kept(&catalog, table);
        let time = match kept == TimeRange::ALL {
            true => spec.time,
            false => spec.time.intersect(kept),
        };
        let spec = ScanSpec { time, ..spec.clone() };
        let mut scans = Vec::new();
        for hosted in self.hosting.of_table(&catalog, table) {
            let tablet = hosted.tablet.spec();
            if !tablet.range.overlaps(spec.time) {
                continue;
            }
            let parts = hosted.tablet.scan(&spec, parts_max).map_err(|error| {
                oribi_model::Error::Unreadable { tablet: tablet.id, reason: error.to_string() }
            })?;
            if !parts.is_empty() {
                scans.push(TabletScan { tablet: tablet.id, range: tablet.range, parts });
            }
        }
        Ok(scans)
    }
}
