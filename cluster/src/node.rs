//! A node: its log, its catalog, and the tablets it hosts.

mod around;
mod arrivals;
mod asleep;
mod backup;
mod catalog_machine;
mod changes;
mod compaction;
mod current;
mod damage;
mod data_dir;
mod dropping;
mod elsewhere;
mod feed;
mod forward;
mod given_up;
mod hosting;
mod life;
mod links;
mod maintain;
mod moving;
mod options;
mod outbox;
mod parts;
mod question;
mod read;
mod recovery;
mod retention;
mod route;
mod scans;
mod seen;
mod service;
mod soundings;
mod stats;
mod tablet_machine;
#[cfg(test)]
mod tests;
mod troubles;
mod upkeep;
mod vacant;
mod view;
mod write;

pub use backup::HeldFiles;
pub use changes::{Cover, RangesWanted};
pub use data_dir::vet;
pub(crate) use data_dir::{Claim, Remains, Vacancy, leave};
pub(crate) use life::Leaving;
pub use options::{NodeOptions, NodeStats};
pub use soundings::Election;
#[cfg(test)]
pub(crate) use tablet_machine::{Memtables, TabletMachine};
pub use troubles::Trouble;
pub use vacant::RestoredCatalog;
pub(crate) use vacant::Vacant;

use crate::{
    Assignment, Catalog, MemberId, NodeIdentity, Result, catalog::FIRST_NODE, replica::Replica,
};
use around::Around;
use arrivals::Arrivals;
use backup::Backups;
pub(crate) use catalog_machine::CatalogMachine;
use hosting::{Dropped, Hosting, Moved};
use maintain::blocking;
use oribi_model::{Answerer, Clock, TableId, TabletId, TimeRange};
use oribi_store::{Consent, Repaired, disk::Disk, log::GroupId};
use parking_lot::Mutex;
use route::Routes;
use scans::Scans;
use soundings::Soundings;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64},
    },
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use troubles::Troubles;
use upkeep::CatalogFlushes;

/// The group of the catalog.
pub(crate) const CATALOG_GROUP: GroupId = GroupId(0);

/// With whom the group of the catalog begins: who makes a cluster founds it.
fn catalog_assignment() -> Assignment {
    Assignment::alone(MemberId::first(FIRST_NODE))
}

/// A running node.
pub struct Node {
    options: NodeOptions,
    clock: Arc<dyn Clock>,
    catalog: Arc<CatalogMachine>,
    catalog_replica: Arc<Replica>,
    hosting: Hosting,
    routes: Routes,
    scans: Scans,
    soundings: Soundings,
    backups: Backups,
    arrivals: Arrivals,
    /// Answers other nodes' questions about tablets that are here.
    answerer: Mutex<Option<Arc<dyn Answerer>>>,
    /// Itself, for what other nodes ask and nobody here waits for.
    me: Weak<Node>,
    /// The greatest id of a tablet that lies on disk although the catalog never gave it away.
    unowned: TabletId,
    /// Held while new ranges are chosen and committed.
    covering: tokio::sync::Mutex<()>,
    /// Held while tablets that were dropped are taken out.
    dropping: tokio::sync::Mutex<()>,
    started: Instant,
    disk_free_bytes: AtomicU64,
    troubles: Troubles,
    stopping: AtomicBool,
    /// It wants to lead nothing that others can lead.
    leaving_lead: AtomicBool,
    stop: Notify,
    compact_due: Notify,
    to_compact: Mutex<BTreeSet<TabletId>>,
    /// Tablets whose flushed entries the log still has.
    late_purges: Mutex<BTreeSet<TabletId>>,
    drop_due: Notify,
    dropped: Mutex<Vec<Dropped>>,
    /// Replicas that have left and whose files are still there.
    moved: Mutex<Vec<Arc<Moved>>>,
    catalog_flushes: Mutex<CatalogFlushes>,
    /// Memtables have become smaller.
    room: Notify,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Node {
    /// Opens the data directory, makes it where it is missing, and replays what was not flushed.
    /// Resolves once every row that was acked before can be read. Runs background tasks on the
    /// present tokio runtime until [`Node::stop`].
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::DataDir`], or what the disk answers.
    pub async fn open(
        data_dir: PathBuf,
        options: NodeOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Node>> {
        Node::open_among(data_dir, options, disk, clock, Around::default()).await
    }

    /// As [`Node::open`], among other nodes.
    async fn open_among(
        data_dir: PathBuf,
        options: NodeOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        around: Around,
    ) -> Result<Arc<Node>> {
        let recover = move || recovery::recover(data_dir, options, disk, clock, around);
        let node = blocking(recover).await?;
        let node = Arc::new_cyclic(|me| Node { me: me.clone(), ..node });
        maintain::start(&node);
        Ok(node)
    }

    /// The node as it would be opened, without any background work. Blocks.
    pub(crate) fn look(
        data_dir: PathBuf,
        options: NodeOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Node> {
        recovery::recover(data_dir, options, disk, clock, Around::default())
    }

    /// Makes the manifest of a tablet of the catalog again, on `disk`. Blocks.
    pub(crate) fn repair(
        &self,
        tablet: TabletId,
        consent: Consent,
        disk: &Arc<dyn Disk>,
    ) -> Result<Repaired> {
        self.hosting.repair(tablet, consent, disk, &self.catalog())
    }

    /// Reads every block of every segment, and gives what cannot be read. Blocks.
    pub(crate) fn verify(&self) -> Vec<Trouble> {
        let mut hosted = self.hosting.all();
        hosted.sort_unstable_by_key(|hosted| hosted.id());
        let verified = hosted.iter().map(|hosted| (hosted.id(), hosted.tablet.verify()));
        let trouble = |(tablet, outcome): (TabletId, oribi_store::Result<()>)| {
            let (name, message) = (format!("tablet {tablet}"), outcome.err()?.to_string());
            Some(Trouble { name, message })
        };
        verified.filter_map(trouble).collect()
    }

    fn new(
        options: NodeOptions,
        clock: Arc<dyn Clock>,
        (catalog, catalog_replica): (Arc<CatalogMachine>, Arc<Replica>),
        hosting: Hosting,
        troubles: Troubles,
        unowned: TabletId,
    ) -> Node {
        let now = Instant::now();
        let routes = Routes::new(hosting.around.links.clone() as _);
        let node = Node {
            options,
            clock,
            catalog,
            catalog_replica,
            hosting,
            routes,
            scans: Scans::default(),
            soundings: Soundings::default(),
            backups: Backups::default(),
            arrivals: Arrivals::default(),
            answerer: Mutex::default(),
            me: Weak::new(),
            unowned,
            covering: tokio::sync::Mutex::default(),
            dropping: tokio::sync::Mutex::default(),
            started: now,
            disk_free_bytes: AtomicU64::new(u64::MAX),
            troubles,
            stopping: AtomicBool::new(false),
            leaving_lead: AtomicBool::new(false),
            stop: Notify::new(),
            compact_due: Notify::new(),
            to_compact: Mutex::default(),
            late_purges: Mutex::default(),
            drop_due: Notify::new(),
            dropped: Mutex::default(),
            moved: Mutex::default(),
            catalog_flushes: Mutex::new(CatalogFlushes::at(now)),
            room: Notify::new(),
            tasks: Mutex::default(),
        };
        node.look_at_disk();
        node.look_at_troubles();
        node.look_at_tablets();
        node
    }

    /// Has other nodes' questions answered by this one, until the node stops.
    pub fn answer_by(&self, answerer: Arc<dyn Answerer>) {
        *self.answerer.lock() = Some(answerer);
    }

    /// The options it was opened with.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// Who it is, in this run.
    pub fn identity(&self) -> NodeIdentity {
        self.hosting.dir.identity()
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.catalog.current()
    }

    /// Event times that a table keeps: those not past its retention.
    pub fn kept(&self, catalog: &Catalog, table: TableId) -> TimeRange {
        self.kept_at(catalog, table, self.clock.now_ns())
    }

    /// As [`Node::kept`], by another look at a clock.
    fn kept_at(&self, catalog: &Catalog, table: TableId, now_ns: i64) -> TimeRange {
        let options = catalog.table_by_id(table).map(|table| &table.options);
        match options.and_then(|options| options.retention_ns) {
            Some(retention) => {
                let horizon = now_ns.saturating_sub(retention);
                TimeRange::new(horizon, i64::MAX)
            }
            None => TimeRange::ALL,
        }
    }
}
