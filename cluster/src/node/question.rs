//! One question's view of a node: what it has once found to be current stays so for it.

use super::Node;
use oribi_model::{
    Place, ReadPath, Result, ScanSpec, Table, TableId, TableStats, TabletId, TabletScan,
    TabletSpec, TimeRange,
};
use parking_lot::Mutex;
use std::{collections::HashSet, sync::Arc};

/// What a question sees of a node.
#[derive(Default)]
pub(super) struct View {
    /// Tablets that have every row that was acked before the question began.
    current: Mutex<HashSet<TabletId>>,
    only: Only,
}

/// Which tablets a question sees.
#[derive(Default)]
pub(super) enum Only {
    #[default]
    All,
    /// Those of this node.
    Here,
    These(HashSet<TabletId>),
}

impl View {
    pub(super) fn of(only: Only) -> View {
        View { only, ..View::default() }
    }

    /// Whether the question sees a tablet.
    pub(super) fn shows(&self, node: &Node, tablet: TabletId) -> bool {
        match &self.only {
            Only::All => true,
            Only::Here => !node.hosting.is_elsewhere(tablet),
            Only::These(tablets) => tablets.contains(&tablet),
        }
    }
}

/// A node as a question sees it.
pub(super) struct AskedNode {
    node: Arc<Node>,
    view: View,
}

impl AskedNode {
    pub(super) fn new(node: Arc<Node>, only: Only) -> AskedNode {
        AskedNode { node, view: View::of(only) }
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
        match self.view.only {
            Only::All => self.node.places_of(table, time),
            Only::Here | Only::These(_) => Vec::new(),
        }
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        Some(Arc::new(AskedNode::new(self.node.clone(), Only::Here)))
    }

    fn ask(&self, place: &Place, question: &[u8]) -> Result<Vec<u8>> {
        self.node.ask_place(place, question)
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.node.stats_of(&self.view, table)
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.node.scan_of(&self.view, table, spec, parts_max)
    }
}

impl Node {
    /// Waits until these tablets, which are here, are current for a question. Blocks.
    pub(super) fn make_current(
        &self,
        view: &View,
        tablets: impl Iterator<Item = TabletId>,
    ) -> crate::Result<()> {
        if self.hosting.has_no_others() {
            return Ok(());
        }
        let new: Vec<TabletId> = {
            let current = view.current.lock();
            tablets.filter(|tablet| !current.contains(tablet)).collect()
        };
        self.wait_until_current(new.clone())?;
        view.current.lock().extend(new);
        Ok(())
    }

    /// How much a table holds, on all nodes. Where that cannot be told of a tablet, it may hold rows
    /// of all of its times.
    pub(super) fn stats_of(&self, view: &View, table: TableId) -> TableStats {
        let catalog = self.catalog();
        let kept = self.kept(&catalog, table);
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
        for (tablet, stats) in self.stats_elsewhere(&there) {
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
