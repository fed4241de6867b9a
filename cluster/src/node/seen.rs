//! Rows and figures of tables, as a question sees them.

use super::{
    Node,
    view::{View, unreadable},
};
use oribi_model::{
    BlockIter, Result, ScanSpec, TableId, TableStats, TabletId, TabletScan, TabletSpec, TimeRange,
};
use std::{collections::HashMap, sync::Arc, time::Duration};

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

    /// How much a table holds, on all nodes. Where that cannot be told of a tablet, it may hold rows
    /// of all of its times.
    pub(super) fn stats_of(&self, view: &View, table: TableId) -> TableStats {
        let catalog = self.catalog();
        let kept = self.kept_at(&catalog, table, view.as_of.clock_ns);
        let tablets: Vec<TabletSpec> = catalog.tablets_of(table).to_vec();
        let shown = tablets.iter().filter(|tablet| view.shows(self, tablet.id));
        let is_there = |tablet: &&TabletSpec| self.hosting.is_elsewhere(tablet.id);
        let (there, here): (Vec<&TabletSpec>, Vec<&TabletSpec>) = shown.partition(is_there);
        let are_current = self.make_current(view, here.iter().map(|tablet| tablet.id)).is_ok();
        let mut sum = TableStats::default();
        for tablet in here {
            if let Some(hosted) = self.hosting.get(tablet.id) {
                let stats = hosted.tablet.stats();
                add(&mut sum, (stats.rows, stats.bytes, stats.time), kept);
            }
            if !are_current {
                add(&mut sum, (0, 0, Some(tablet.range)), kept);
            }
        }
        for (tablet, stats) in self.stats_elsewhere(&there, view.as_of) {
            let unsure = || (0, 0, Some(tablet.range));
            add(&mut sum, stats.unwrap_or_else(unsure), kept);
        }
        sum
    }
}

/// Adds rows, bytes and times, of which those that are kept count.
fn add(sum: &mut TableStats, more: (u64, u64, Option<TimeRange>), kept: TimeRange) {
    let (rows, bytes, time) = more;
    sum.rows += rows;
    sum.bytes += bytes;
    let time = time.map(|time| time.intersect(kept)).filter(|time| !time.is_empty());
    sum.time = match (sum.time, time) {
        (Some(a), Some(b)) => Some(TimeRange::new(a.start.min(b.start), a.end.max(b.end))),
        (a, b) => a.or(b),
    };
}
