//! A node: its log, its catalog, and the tablets it hosts.

mod catalog_machine;
mod damage;
mod data_dir;
mod feed;
mod hosting;
mod maintain;
mod options;
mod read;
mod recovery;
mod retention;
mod service;
mod tablet_machine;
#[cfg(test)]
mod tests;
mod troubles;
mod upkeep;

pub use options::{NodeOptions, NodeStats};
#[cfg(test)]
pub(crate) use tablet_machine::TabletMachine;
pub use troubles::Trouble;

use crate::{
    Assignment, Catalog, Change, Error, MemberId, NodeIdentity, Result, command::Command,
    partition::Cutting, replica::Replica,
};
use catalog_machine::CatalogMachine;
use hosting::{Dropped, Hosting};
use maintain::blocking;
use oribi_model::{
    Clock, NodeId, RowBatch, TableId, TabletId, TagPredicate, TimeRange, time::NS_PER_SECOND,
};
use oribi_store::{Consent, Repaired, disk::Disk, log::GroupId};
use parking_lot::Mutex;
use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Notify, task::JoinHandle, time::Instant};
use troubles::Troubles;
use upkeep::CatalogFlushes;

/// The group of the catalog.
const CATALOG_GROUP: GroupId = GroupId(0);

/// The replicas that the group of the catalog or of a tablet begins with. The only place that says
/// so.
fn assignment_of(_group: GroupId, node: NodeId) -> Assignment {
    Assignment::alone(MemberId::first(node))
}

/// What [`Node::cover`] did.
#[derive(Debug)]
pub struct Cover {
    /// The catalog with the new tablets.
    pub catalog: Arc<Catalog>,
    /// New time ranges that it would have taken beyond those allowed.
    pub missing: usize,
}

/// New time ranges that rows of one table take.
#[derive(Debug, Clone, Copy)]
pub struct RangesWanted {
    /// How many.
    pub count: usize,
    /// Whether the table has none yet.
    pub is_first: bool,
}

/// A running node.
pub struct Node {
    options: NodeOptions,
    clock: Arc<dyn Clock>,
    catalog: Arc<CatalogMachine>,
    catalog_replica: Arc<Replica>,
    hosting: Hosting,
    /// The greatest id of a tablet that lies on disk although the catalog never gave it away.
    unowned: TabletId,
    /// Held while new ranges are chosen and committed.
    covering: tokio::sync::Mutex<()>,
    started: Instant,
    disk_free_bytes: AtomicU64,
    troubles: Troubles,
    stopping: AtomicBool,
    stop: Notify,
    flush_due: Notify,
    compact_due: Notify,
    to_compact: Mutex<BTreeSet<TabletId>>,
    /// Tablets whose flushed entries the log still has.
    late_purges: Mutex<BTreeSet<TabletId>>,
    drop_due: Notify,
    dropped: Mutex<Vec<Dropped>>,
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
        let node = blocking(move || recovery::recover(data_dir, options, disk, clock)).await?;
        let node = Arc::new(node);
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
        recovery::recover(data_dir, options, disk, clock)
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
        let node = Node {
            options,
            clock,
            catalog,
            catalog_replica,
            hosting,
            unowned,
            covering: tokio::sync::Mutex::default(),
            started: now,
            disk_free_bytes: AtomicU64::new(u64::MAX),
            troubles,
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            flush_due: Notify::new(),
            compact_due: Notify::new(),
            to_compact: Mutex::default(),
            late_purges: Mutex::default(),
            drop_due: Notify::new(),
            dropped: Mutex::default(),
            catalog_flushes: Mutex::new(CatalogFlushes::at(now)),
            room: Notify::new(),
            tasks: Mutex::default(),
        };
        node.look_at_disk();
        node.look_at_troubles();
        node
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

    /// Commits a change of the catalog. Resolves with a catalog that has it.
    ///
    /// # Errors
    /// [`Error::Refused`] says why the catalog does not allow it.
    pub async fn change(&self, change: Change) -> Result<Arc<Catalog>> {
        self.check()?;
        if matches!(change, Change::CreateTablets { .. })
            && self.catalog().last_tablet() < self.unowned
        {
            let skip = Change::SkipTablets { upto: self.unowned };
            self.unless_stalled(self.catalog_replica.write(Command::change(skip))).await?;
        }
        self.unless_stalled(self.catalog_replica.write(Command::change(change))).await?;
        self.take_dropped().await;
        Ok(self.catalog())
    }

    /// Takes out the tablets that the catalog no longer has. Their files go later.
    async fn take_dropped(&self) {
        let dropped = self.hosting.take_dropped(&self.catalog);
        if dropped.is_empty() {
            return;
        }
        let replicas: Vec<_> = dropped.iter().filter_map(|one| one.hosted.clone()).collect();
        self.dropped.lock().extend(dropped);
        self.drop_due.notify_one();
        self.room.notify_waiters();
        for hosted in replicas {
            hosted.replica.close().await;
        }
    }

    /// Commits rows of one tablet. Resolves once they are synced and visible. Gives the number of
    /// rows that the tablet had not had from the same record of their source before.
    ///
    /// # Errors
    /// [`Error::NoTablet`] where it was dropped, [`Error::Damaged`] where it is set aside.
    /// [`Error::outcome`] tells whether the rows may have been stored all the same.
    pub async fn write(&self, tablet: TabletId, batch: RowBatch) -> Result<u64> {
        let new_rows = self.new_rows(tablet, &batch);
        self.commit(tablet, Command::rows(batch)).await?;
        if self.memtable_bytes() > self.options.memtable_bytes_max / 2 {
            self.flush_due.notify_one();
        }
        Ok(new_rows)
    }

    /// Rows that a tablet's marks will not leave out: a source has one write under way at a time.
    fn new_rows(&self, tablet: TabletId, batch: &RowBatch) -> u64 {
        let Some(cursor) = &batch.cursor else { return batch.rows() as u64 };
        let next =
            self.hosting.get(tablet).map_or(0, |hosted| hosted.tablet.next_of(&cursor.source));
        (cursor.offsets.len() - cursor.offsets.partition_point(|offset| *offset < next)) as u64
    }

    async fn commit(&self, tablet: TabletId, command: Command) -> Result<()> {
        self.check()?;
        let hosted = self.hosting.serving(tablet, &self.catalog)?;
        if let Some(reason) = hosted.tablet.failure() {
            return Err(Error::Damaged { tablet, reason });
        }
        match self.unless_stalled(hosted.replica.write(command)).await {
            Err(Error::Closed { .. }) => Err(Error::NoTablet(tablet)),
            outcome => outcome,
        }
    }

    /// Waits for a write, but not for long where the log cannot be written; what becomes of the
    /// write is not known then.
    async fn unless_stalled(&self, write: impl Future<Output = Result<()>>) -> Result<()> {
        const PATIENCE: Duration = Duration::from_secs(3);
        let mut write = std::pin::pin!(write);
        loop {
            if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut write).await {
                return outcome;
            }
            if let Some(reason) = self.stalled() {
                return Err(Error::Unknown { group: CATALOG_GROUP.0, reason });
            }
        }
    }

    /// Waits until the memtables have room.
    pub async fn room(&self) {
        loop {
            let freed = self.room.notified();
            if self.memtable_bytes() <= self.options.memtable_bytes_max || self.check().is_err() {
                return;
            }
            self.flush_due.notify_one();
            freed.await;
        }
    }

    /// Makes tablets for those of `times` that lie in none, in at most as many new ranges as `grant`
    /// gives when it is told how many it takes; no other call chooses ranges meanwhile.
    ///
    /// # Errors
    /// [`Error::Refused`] where the table is gone, or as [`Node::change`].
    pub async fn cover(
        &self,
        table: TableId,
        times: &[i64],
        grant: impl FnOnce(RangesWanted) -> usize,
    ) -> Result<Cover> {
        let _one = self.covering.lock().await;
        let catalog = self.catalog();
        let Some((cutting, buckets)) = self.cutting(&catalog, table) else {
            return Err(Error::Refused("the table was dropped".into()));
        };
        let present = catalog.ranges_of(table);
        let mut ranges = cutting.cover(times, &present, self.clock.now_ns());
        if ranges.is_empty() {
            return Ok(Cover { catalog, missing: 0 });
        }
        let granted = grant(RangesWanted { count: ranges.len(), is_first: present.is_empty() });
        let missing = ranges.len().saturating_sub(granted);
        ranges.truncate(granted);
        if ranges.is_empty() {
            return Ok(Cover { catalog, missing });
        }
        let catalog = self.change(Change::CreateTablets { table, ranges, buckets }).await?;
        Ok(Cover { catalog, missing })
    }

    /// Removes the matching rows of a table as of now.
    ///
    /// # Errors
    /// As [`Node::write`]; some tablets may have done it.
    pub async fn delete(&self, table: TableId, time: TimeRange, tags: TagPredicate) -> Result<()> {
        self.check()?;
        let catalog = self.catalog();
        for tablet in catalog.tablets_of(table) {
            if tablet.range.overlaps(time) {
                let rested = self.hosting.get(tablet.id).filter(|one| !one.replica.is_running());
                match self.commit(tablet.id, Command::delete(time, tags.clone())).await {
                    // It went with all its rows.
                    Err(Error::NoTablet(_)) => {}
                    outcome => outcome?,
                }
                if let Some(hosted) = rested.filter(|one| one.replica.usage().is_some()) {
                    hosted.replica.rest().await;
                }
            }
        }
        Ok(())
    }

    /// Flushes and compacts every tablet, then rotates, purges and trims the log: what lies on the
    /// disk afterwards is data, and little else.
    ///
    /// # Errors
    /// What the disk answers.
    pub async fn compact(self: &Arc<Node>) -> Result<()> {
        const PURGE_WAIT: Duration = Duration::from_secs(4);
        self.check()?;
        for hosted in self.hosting.all() {
            maintain::flush(self, hosted.clone()).await?;
            match blocking(move || Ok(hosted.tablet.compact_fully()?)).await {
                Err(Error::Store(oribi_store::Error::Dropped(_))) => continue,
                outcome => outcome?,
            }
            self.hosting.compactions.fetch_add(1, Ordering::Relaxed);
        }
        self.settle_catalog().await;
        self.purge_within(PURGE_WAIT).await;
        let (log, trash) = (self.hosting.log.clone(), self.hosting.options.trash.clone());
        let now_ms = self.life_ms();
        blocking(move || {
            log.rotate()?;
            log.trim()?;
            trash.empty(now_ms, Duration::ZERO)?;
            Ok(())
        })
        .await
    }

    /// Figures as of now.
    pub fn stats(&self) -> NodeStats {
        let log = self.hosting.log.stats();
        let mut stats = NodeStats {
            tables: self.catalog().tables().count(),
            page_cache_bytes: self.hosting.options.pages.bytes(),
            log_bytes: log.bytes,
            log_syncs: log.syncs,
            log_written_bytes: log.written_bytes,
            log_sync_us: log.sync_us,
            flushes: self.hosting.flushes.load(Ordering::Relaxed),
            compactions: self.hosting.compactions.load(Ordering::Relaxed),
            disk_free_bytes: self.disk_free_bytes(),
            damaged_tablets: self.hosting.damaged().len(),
            trash_bytes: self.hosting.options.trash.bytes().unwrap_or(0),
            ..NodeStats::default()
        };
        for hosted in self.hosting.all() {
            let tablet = hosted.tablet.stats();
            stats.tablets += 1;
            stats.damaged_segments += tablet.damaged_segments;
            stats.running_replicas += usize::from(hosted.replica.is_running());
            stats.segments += tablet.segments;
            stats.segment_bytes += tablet.bytes;
            stats.memtable_rows += tablet.memtable_rows;
            stats.memtable_bytes += hosted.tablet.memtable_bytes();
        }
        stats
    }

    /// Why the node no longer takes any writes, where the log has failed.
    pub fn failure(&self) -> Option<String> {
        self.hosting.log.failure()
    }

    /// Why the log cannot be written at present, while that is tried again and again.
    pub fn stalled(&self) -> Option<String> {
        self.hosting.log.stats().stalled
    }

    /// What is not well, by name. The node serves everything that is not concerned.
    pub fn troubles(&self) -> Vec<Trouble> {
        self.troubles.list()
    }

    /// Bytes free on the data directory's file system, as of the last look about a second ago.
    pub fn disk_free_bytes(&self) -> u64 {
        self.disk_free_bytes.load(Ordering::Relaxed)
    }

    /// Event times that a table keeps: those not past its retention.
    pub fn kept(&self, catalog: &Catalog, table: TableId) -> TimeRange {
        let options = catalog.table_by_id(table).map(|table| &table.options);
        match options.and_then(|options| options.retention_ns) {
            Some(retention) => {
                let horizon = self.clock.now_ns().saturating_sub(retention);
                TimeRange::new(horizon, i64::MAX)
            }
            None => TimeRange::ALL,
        }
    }

    /// Stops taking writes and ends all background work. Everything acked is safe.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.room.notify_waiters();
        self.hosting.instances.close();
        let mut ending = std::pin::pin!(self.end_work());
        loop {
            tokio::select! {
                () = &mut ending => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            // Whoever waits for a log that cannot be written would wait for ever.
            if self.stalled().is_some() {
                self.close_log().await;
            }
        }
        self.close_log().await;
    }

    async fn end_work(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "background work ended abnormally");
            }
        }
        let hosted = self.hosting.all();
        futures::future::join_all(hosted.iter().map(|hosted| hosted.replica.rest())).await;
        if let Err(error) = self.flush_catalog().await {
            tracing::warn!(%error, "the catalog was not written; the log has its changes");
        }
        self.catalog_replica.rest().await;
    }

    async fn close_log(&self) {
        let log = self.hosting.log.clone();
        let closed = tokio::task::spawn_blocking(move || log.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "closing the log ended abnormally");
        }
    }

    fn check(&self) -> Result<()> {
        if let Some(reason) = self.failure() {
            return Err(oribi_store::Error::Poisoned(reason).into());
        }
        if self.is_stopping() { Err(Error::Stopping) } else { Ok(()) }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn memtable_bytes(&self) -> usize {
        self.hosting.memtable_bytes.load(Ordering::Relaxed)
    }

    fn life_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for `due` or `pause`; `false` once the node stops.
    async fn until(&self, due: &Notify, pause: Duration) -> bool {
        let stopped = self.stop.notified();
        if self.is_stopping() {
            return false;
        }
        tokio::select! {
            () = stopped => {}
            () = due.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        !self.is_stopping()
    }

    /// How a table is cut, and into how many buckets.
    fn cutting(&self, catalog: &Catalog, table: TableId) -> Option<(Cutting, u32)> {
        /// Rows over less time say little of the rate.
        const SPAN_NS_MIN: i64 = 600 * NS_PER_SECOND;
        let options = &catalog.table_by_id(table)?.options;
        let newest = self.hosting.of_table(catalog, table).pop();
        let rows_per_s = newest.and_then(|hosted| {
            let stats = hosted.tablet.stats();
            let span = stats.time.map(|time| time.end.saturating_sub(time.start))?;
            let rate = stats.rows as f64 / (span / NS_PER_SECOND).max(1) as f64;
            (span >= SPAN_NS_MIN).then_some(rate)
        });
        let (set_ns, retention_ns) = (options.range_ns, options.retention_ns);
        let cutting = Cutting { set_ns, retention_ns, rows_per_s };
        Some((cutting, options.buckets.unwrap_or(1)))
    }

    /// Ranges to make before the clock reaches them.
    fn ranges_ahead(&self) -> Vec<(TableId, TimeRange, u32)> {
        let catalog = self.catalog();
        let now_ns = self.clock.now_ns();
        let ahead = |table: TableId| {
            let (cutting, buckets) = self.cutting(&catalog, table)?;
            let range = cutting.ahead(&catalog.ranges_of(table), now_ns)?;
            Some((table, range, buckets))
        };
        catalog.tables().filter_map(|table| ahead(table.id)).collect()
    }
}
