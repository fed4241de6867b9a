//! The node as a read path.

use super::{
    CATALOG_GROUP, Node,
    question::{AskedNode, Only, View},
};
use crate::route::scan::AsOf;
use oribi_model::{
    BlockIter, Consistency, LogIndex, ReadPath, Result, ScanSpec, Table, TableId, TableStats,
    TabletId, TabletScan, TabletSpec, TimeRange,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

impl ReadPath for Node {
    fn begin(&self, consistency: Consistency) -> Result<Option<Arc<dyn ReadPath>>> {
        let stopping = || oribi_model::Error::Behind(crate::Error::Stopping.to_string());
        let node = self.me.upgrade().ok_or_else(stopping)?;
        let mut asked = AskedNode::new(node, Only::All, self.as_of(consistency));
        asked.find_tables()?;
        Ok(Some(Arc::new(asked)))
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.catalog().table(db, table).cloned()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog().tables().cloned().collect()
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.stats_of(&self.view(), table)
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.scan_of(&self.view(), table, spec, parts_max)
    }
}

impl Node {
    fn as_of(&self, consistency: Consistency) -> AsOf {
        AsOf { consistency, clock_ns: self.clock.now_ns(), catalog: LogIndex(0) }
    }

    /// The view of a question that is asked without a beginning.
    fn view(&self) -> View {
        View::new(Only::All, self.as_of(Consistency::Linearizable))
    }

    /// A scan for a question that knows some tablets to be current. Blocks.
    pub(super) fn scan_of(
        &self,
        view: &View,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> Result<Vec<TabletScan>> {
        let catalog = self.catalog();
        let kept = self.kept_at(&catalog, table, view.as_of.clock_ns);
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
        let there = self.open_elsewhere(there, &spec, view.as_of);
        let there = there.map_err(|(tablet, error)| unreadable(tablet, &error))?;
        there.iter().for_each(|(tablet, blocks)| view.note(blocks.from(), [*tablet], blocks.age()));
        let mut there: HashMap<_, _> = there.into_iter().collect();
        self.make_current(view, here.iter().copied())?;
        if !here.is_empty() {
            view.note(self.hosting.node, here, Duration::ZERO);
        }
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
        let Some(hosted) = hosted else {
            return match self.hosting.is_elsewhere(tablet) {
                true => Err(unreadable(tablet, &"it has moved to other nodes")),
                false => Ok(Vec::new()),
            };
        };
        match hosted.tablet.scan(spec, parts_max) {
            // It went with its rows since the catalog was looked at.
            Err(oribi_store::Error::Dropped(_)) if self.catalog().tablet(tablet).is_none() => {
                Ok(Vec::new())
            }
            Err(error) => Err(unreadable(tablet, &error)),
            Ok(parts) => Ok(parts),
        }
    }
}

/// Which tablet may lack rows, and why.
pub(super) fn not_current(error: crate::Error) -> oribi_model::Error {
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
