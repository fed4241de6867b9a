//! One question's view of a node: what it has once found to be current stays so for it.

use super::{CATALOG_GROUP, Node, hosting::group_of};
use crate::route::scan::AsOf;
use oribi_model::{
    Consistency, NodeId, Place, ReadPath, Reading, Result, ScanSpec, Table, TableId, TableStats,
    TabletId, TabletScan, TabletSpec, TimeRange,
};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::Instant;

/// What a question sees of a node.
pub(super) struct View {
    /// Tablets that are as current as the question asks for.
    current: Mutex<HashSet<TabletId>>,
    only: Only,
    pub(super) as_of: AsOf,
    began: Instant,
    /// Shared by those who see parts of the same.
    read: Arc<Mutex<Read>>,
}

/// What was read for a question.
#[derive(Default)]
struct Read {
    nodes: BTreeSet<NodeId>,
    tablets: HashSet<TabletId>,
    age: Duration,
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
    pub(super) fn new(only: Only, as_of: AsOf) -> View {
        let (current, read) = Default::default();
        View { current, only, as_of, began: Instant::now(), read }
    }

    /// Notes that a tablet was read at a node, and how old that may be.
    pub(super) fn note(
        &self,
        node: NodeId,
        tablets: impl IntoIterator<Item = TabletId>,
        age: Duration,
    ) {
        let mut read = self.read.lock();
        read.nodes.insert(node);
        read.tablets.extend(tablets);
        read.age = read.age.max(age);
    }

    /// How old what was read may be.
    pub(super) fn age(&self) -> Duration {
        self.read.lock().age
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
        match self.view.only {
            Only::All => self.node.places_of(table, time),
            Only::Here | Only::These(_) => Vec::new(),
        }
    }

    fn without_places(&self) -> Option<Arc<dyn ReadPath>> {
        let (node, as_of) = (self.node.clone(), self.view.as_of);
        Some(Arc::new(AskedNode {
            node,
            view: View { read: self.view.read.clone(), ..View::new(Only::Here, as_of) },
        }))
    }

    fn reading(&self) -> Option<Reading> {
        let read = self.view.read.lock();
        // The node that was asked has answered, whatever it had to read for that.
        let nodes = read.nodes.len() + usize::from(!read.nodes.contains(&self.node.hosting.node));
        let is_stale = self.view.as_of.consistency != Consistency::Linearizable;
        let (tablets, staleness) = (read.tablets.len(), is_stale.then_some(read.age));
        Some(Reading { nodes, tablets, staleness })
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

impl Node {
    /// Waits until these tablets, which are here, are current for a question. Blocks.
    ///
    /// # Errors
    /// The first one of which that cannot be told in time, or that is too old.
    pub(super) fn make_current(
        &self,
        view: &View,
        tablets: impl Iterator<Item = TabletId>,
    ) -> Result<()> {
        if self.hosting.has_no_others() {
            return Ok(());
        }
        let new: Vec<TabletId> = {
            let current = view.current.lock();
            tablets.filter(|tablet| !current.contains(tablet)).collect()
        };
        match view.as_of.consistency {
            Consistency::Linearizable => {
                self.wait_until_current(new.clone()).map_err(super::read::not_current)?;
            }
            Consistency::Stale(max) => {
                self.bound_age(view, new.iter().map(|tablet| group_of(*tablet)).collect(), max)?;
            }
        }
        view.current.lock().extend(new);
        Ok(())
    }

    /// Sees to it that replicas that are here are no older than `max` as of the beginning of the
    /// question: those that are lag behind nobody knows how far are made current. Blocks.
    ///
    /// # Errors
    /// [`oribi_model::Error::TooStale`] names the first one for which that cannot be done.
    fn bound_age(&self, view: &View, groups: Vec<GroupId>, max: Duration) -> Result<()> {
        let age = |group: GroupId| self.age_of(group, view.began);
        let is_old = |group: &GroupId| age(*group).is_none_or(|age| age > max);
        let old: Vec<GroupId> = groups.iter().copied().filter(is_old).collect();
        if !old.is_empty() {
            // Whether it was worth it is looked at of each.
            let _ = self.block_on(|node| async move { node.follow(old).await });
        }
        for group in groups {
            match age(group) {
                Some(age) if age <= max => view.note(self.hosting.node, [], age),
                age => {
                    let what = match group {
                        CATALOG_GROUP => "the catalog".to_owned(),
                        GroupId(tablet) => format!("tablet {tablet}"),
                    };
                    return Err(oribi_model::Error::TooStale { what, age, max });
                }
            }
        }
        Ok(())
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
