//! A node: its log, its catalog, and the tablets it hosts.

mod catalog_machine;
mod data_dir;
mod feed;
mod hosting;
mod maintain;
mod options;
mod read;
mod tablet_machine;
#[cfg(test)]
mod tests;

pub use options::{NodeOptions, NodeStats};

use crate::{
    Catalog, Change, Error, Result, command::Command, partition::Cutting, replica::Replica,
};
use catalog_machine::CatalogMachine;
use data_dir::DataDir;
use hosting::Hosting;
use maintain::blocking;
use oribi_model::{
    Clock, NodeId, RowBatch, TableId, TabletId, TagPredicate, TimeRange, time::NS_PER_SECOND,
};
use oribi_store::{
    PageCache, TabletOptions,
    disk::Disk,
    log::{GroupId, Log, LogOptions},
};
use parking_lot::Mutex;
use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, task::JoinHandle};

/// The group of the catalog.
const CATALOG_GROUP: GroupId = GroupId(0);
/// The only node that there is so far.
const THIS_NODE: NodeId = NodeId(1);

/// What [`Node::cover`] did.
#[derive(Debug)]
pub struct Cover {
    /// The catalog with the new tablets.
    pub catalog: Arc<Catalog>,
    /// New time ranges.
    pub made: usize,
    /// New time ranges that it would have taken beyond those allowed.
    pub missing: usize,
}

/// A running node.
pub struct Node {
    options: NodeOptions,
    clock: Arc<dyn Clock>,
    catalog: Arc<CatalogMachine>,
    catalog_replica: Replica,
    hosting: Hosting,
    /// Held while new ranges are chosen and committed.
    covering: tokio::sync::Mutex<()>,
    started: Instant,
    disk_free_bytes: AtomicU64,
    failure: Mutex<Option<String>>,
    stopping: AtomicBool,
    stop: Notify,
    flush_due: Notify,
    compact_due: Notify,
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
        let node = blocking(move || Node::recover(data_dir, options, disk, clock)).await?;
        let node = Arc::new(node);
        maintain::start(&node);
        Ok(node)
    }

    fn recover(
        data_dir: PathBuf,
        options: NodeOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Node> {
        let dir = Arc::new(DataDir::open(&disk, data_dir)?);
        let log_options =
            LogOptions { file_bytes: options.log_file_bytes, ..LogOptions::default() };
        let log = Arc::new(Log::open(disk.clone(), dir.log(), log_options)?);
        let catalog = Arc::new(CatalogMachine::open(disk.clone(), dir.catalog())?);
        let catalog_replica =
            Replica::recover(THIS_NODE, CATALOG_GROUP, log.clone(), catalog.clone())?;
        let pages = Arc::new(PageCache::new(options.page_cache_bytes_max));
        let compact_bytes_max = options.compact_bytes_max;
        let tablet_options = TabletOptions { compact_bytes_max, pages };
        let hosting = Hosting::new(THIS_NODE, disk, dir, log, tablet_options);
        hosting.open_all(&catalog.current())?;
        let node = Node {
            options,
            clock,
            catalog,
            catalog_replica,
            hosting,
            covering: tokio::sync::Mutex::default(),
            started: Instant::now(),
            disk_free_bytes: AtomicU64::new(u64::MAX),
            failure: Mutex::default(),
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
            flush_due: Notify::new(),
            compact_due: Notify::new(),
            room: Notify::new(),
            tasks: Mutex::default(),
        };
        node.look_at_disk();
        Ok(node)
    }

    /// The options it was opened with.
    pub fn options(&self) -> &NodeOptions {
        &self.options
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
        self.catalog_replica.write(Command::change(change)).await?;
        let catalog = self.catalog();
        for (id, hosted) in self.hosting.take_dropped(&catalog) {
            hosted.replica.rest().await;
            // Scans that are under way keep their open files.
            self.hosting.remove(id)?;
        }
        Ok(catalog)
    }

    /// Commits rows of one tablet. Resolves once they are synced and visible.
    ///
    /// # Errors
    /// [`Error::NoTablet`] where it was dropped. After others it is unknown whether the rows were
    /// stored; writing them again is harmless.
    pub async fn write(&self, tablet: TabletId, batch: RowBatch) -> Result<()> {
        self.check()?;
        let hosted = self.hosting.get_or_open(tablet, &self.catalog())?;
        hosted.replica.write(Command::rows(batch)).await?;
        if self.memtable_bytes() > self.options.memtable_bytes_max / 2 {
            self.flush_due.notify_one();
        }
        Ok(())
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

    /// Makes tablets for those of `times` that lie in none, in at most `ranges_max` new ranges.
    ///
    /// # Errors
    /// [`Error::Refused`] where the table is gone, or as [`Node::change`].
    pub async fn cover(&self, table: TableId, times: &[i64], ranges_max: usize) -> Result<Cover> {
        let _one = self.covering.lock().await;
        let catalog = self.catalog();
        let Some((cutting, buckets)) = self.cutting(&catalog, table) else {
            return Err(Error::Refused("the table was dropped".into()));
        };
        let mut ranges = cutting.cover(times, &catalog.ranges_of(table), self.clock.now_ns());
        let missing = ranges.len().saturating_sub(ranges_max);
        ranges.truncate(ranges_max);
        let made = ranges.len();
        if made == 0 {
            return Ok(Cover { catalog, made, missing });
        }
        let catalog = self.change(Change::CreateTablets { table, ranges, buckets }).await?;
        Ok(Cover { catalog, made, missing })
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
                let hosted = self.hosting.get_or_open(tablet.id, &catalog)?;
                hosted.replica.write(Command::delete(time, tags.clone())).await?;
            }
        }
        Ok(())
    }

    /// Flushes and compacts every tablet, then rotates and purges the log.
    ///
    /// # Errors
    /// What the disk answers.
    pub async fn compact(self: &Arc<Node>) -> Result<()> {
        self.check()?;
        for hosted in self.hosting.all() {
            maintain::flush(self, hosted.clone()).await?;
            blocking(move || Ok(hosted.tablet.compact_fully()?)).await?;
            self.hosting.compactions.fetch_add(1, Ordering::Relaxed);
        }
        self.flush_catalog().await?;
        let log = self.hosting.log.clone();
        blocking(move || Ok(log.rotate()?)).await
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
            ..NodeStats::default()
        };
        for hosted in self.hosting.all() {
            let tablet = hosted.tablet.stats();
            stats.tablets += 1;
            stats.segments += tablet.segments;
            stats.segment_bytes += tablet.bytes;
            stats.memtable_rows += tablet.memtable_rows;
            stats.memtable_bytes += hosted.tablet.memtable_bytes();
        }
        stats
    }

    /// Why the node no longer takes writes, where a disk failure stopped it.
    pub fn failure(&self) -> Option<String> {
        self.failure.lock().clone().or_else(|| self.hosting.log.failure())
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
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "background work ended abnormally");
            }
        }
        for hosted in self.hosting.all() {
            hosted.replica.rest().await;
        }
        self.catalog_replica.rest().await;
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

    fn fail(&self, error: &Error) {
        if self.is_stopping() {
            return;
        }
        tracing::error!(%error, "the node has stopped taking writes");
        self.failure.lock().get_or_insert_with(|| error.to_string());
        self.room.notify_waiters();
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

    fn look_at_disk(&self) {
        let path = self.hosting.dir.path();
        match self.hosting.disk.free_bytes(path) {
            Ok(bytes) => self.disk_free_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot ask for the free space of the disk"),
        }
    }

    async fn flush_catalog(&self) -> Result<()> {
        let mut sealed = None;
        self.catalog_replica.seal(|index, state| sealed = Some((index, state, self.catalog())));
        if let Some((index, state, catalog)) = sealed {
            let machine = self.catalog.clone();
            blocking(move || machine.flush(&catalog, index, state)).await?;
        }
        self.catalog_replica.purge().await
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
