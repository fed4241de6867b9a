//! The node as a read path.

use super::{
    CATALOG_GROUP, Node,
    question::{AskedNode, Only, View},
};
use oribi_model::{
    BlockIter, ReadPath, Result, ScanSpec, Table, TableId, TableStats, TabletId, TabletScan,
    TabletSpec, TimeRange,
};
use std::{collections::HashMap, sync::Arc};

impl ReadPath for Node {
    fn begin(&self) -> Result<Option<Arc<dyn ReadPath>>> {
        if self.hosting.has_no_others() {
            return Ok(None);
        }
        let behind = |error: crate::Error| oribi_model::Error::Behind(error.to_string());
        self.wait_for_catalog().map_err(behind)?;
        let node = self.me.upgrade().ok_or_else(|| behind(crate::Error::Stopping))?;
        Ok(Some(Arc::new(AskedNode::new(node, Only::All))))
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.catalog().table(db, table).cloned()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog().tables().cloned().collect()
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.stats_of(&View::default(), table)
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.scan_of(&View::default(), table, spec, parts_max)
    }
}

impl Node {
    /// A scan for a question that knows some tablets to be current. Blocks.
    pub(super) fn scan_of(
        &self,
        view: &View,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> Result<Vec<TabletScan>> {
        let catalog = self.catalog();
        let kept = self.kept(&catalog, table);
        let time = match kept == TimeRange::ALL {
            true => spec.time,
            false => spec.time.intersect(kept),
        };
        let spec = Arc::new(ScanSpec { time, ..spec.clone() });
        let tablets = catalog.tablets_of(table).iter().filter(|one| one.range.overlaps(time));
        let shown = tablets.filter(|tablet| view.shows(self, tablet.id));
        let tablets: Vec<TabletSpec> = shown.copied().collect();
        let ids = tablets.iter().map(|tablet| tablet.id);
        let (there, here): (Vec<_>, Vec<_>) = ids.partition(|id| self.hosting.is_elsewhere(*id));
        let there = self.open_elsewhere(there, &spec);
        let there = there.map_err(|(tablet, error)| unreadable(tablet, &error))?;
        let mut there: HashMap<_, _> = there.into_iter().collect();
        self.make_current(view, here.into_iter()).map_err(not_current)?;
        let mut scans = Vec::new();
        for tablet in tablets {
            let parts = match there.remove(&tablet.id) {
                Some(blocks) => vec![Box::new(blocks) as BlockIter],
                None => self.scan_here(tablet.id, &spec, parts_max)?,
            };
            if !parts.is_empty() {
                scans.push(TabletScan { tablet: tablet.id, range: tablet.range, parts });
            }
        }
        Ok(scans)
    }

    fn scan_here(
        &self,
        tablet: TabletId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> Result<Vec<BlockIter>> {
        let hosted = self.hosting.readable(tablet).map_err(|reason| unreadable(tablet, &reason))?;
        let Some(hosted) = hosted else { return Ok(Vec::new()) };
        match hosted.tablet.scan(spec, parts_max) {
            // It went with its rows since the catalog was looked at.
            Err(oribi_store::Error::Dropped(_)) => Ok(Vec::new()),
            Err(error) => Err(unreadable(tablet, &error)),
            Ok(parts) => Ok(parts),
        }
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
