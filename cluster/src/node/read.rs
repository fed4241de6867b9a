//! The node as a read path.

use super::{CATALOG_GROUP, Node};
use oribi_model::{
    ReadPath, Result, ScanSpec, Table, TableId, TableStats, TabletId, TabletScan, TimeRange,
};
use std::sync::Arc;

impl ReadPath for Node {
    fn catch_up(&self) -> Result<()> {
        self.wait_for_catalog().map_err(|error| oribi_model::Error::Behind(error.to_string()))
    }

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
        let wanted = catalog.tablets_of(table).iter().filter(|one| one.range.overlaps(spec.time));
        let wanted = wanted.map(|tablet| tablet.id).collect();
        self.wait_until_current(wanted).map_err(not_current)?;
        let hosted = self
            .hosting
            .readable(&catalog, table, spec.time)
            .map_err(|(tablet, reason)| unreadable(tablet, &reason))?;
        let mut scans = Vec::new();
        for hosted in hosted {
            let tablet = hosted.tablet.spec();
            let parts = match hosted.tablet.scan(&spec, parts_max) {
                // It went with its rows since the catalog was looked at.
                Err(oribi_store::Error::Dropped(_)) => continue,
                Err(error) => return Err(unreadable(tablet.id, &error)),
                Ok(parts) => parts,
            };
            if !parts.is_empty() {
                scans.push(TabletScan { tablet: tablet.id, range: tablet.range, parts });
            }
        }
        Ok(scans)
    }
}

/// Which tablet may lack rows, and why.
fn not_current(error: crate::Error) -> oribi_model::Error {
    let reason = error.to_string();
    match error {
        crate::Error::Unavailable { group, .. } if group != CATALOG_GROUP.0 => {
            unreadable(TabletId(group), &reason)
        }
        crate::Error::NoTablet(tablet) | crate::Error::Damaged { tablet, .. } => {
            unreadable(tablet, &reason)
        }
        _ => oribi_model::Error::Behind(reason),
    }
}

fn unreadable(tablet: TabletId, reason: &dyn std::fmt::Display) -> oribi_model::Error {
    oribi_model::Error::Unreadable { tablet, reason: reason.to_string() }
}
