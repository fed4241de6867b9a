//! A node: its log, its catalog, and the tablets it hosts.

use crate::{Catalog, Change, Result};
use oribi_model::{
    Clock, ReadPath, RowBatch, ScanSpec, Table, TableId, TableStats, TabletId, TabletScan,
    TagPredicate, TimeRange,
};
use oribi_store::disk::Disk;
use serde::Deserialize;
use std::{path::PathBuf, sync::Arc};

/// What may be set for a node's storage, `[storage]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// Memory of all memtables together, bytes. Past it writes wait for a flush.
    pub memtable_bytes_max: usize,
    /// Bytes of log files beyond which the tablet that pins the oldest one is flushed.
    pub log_bytes_max: u64,
    /// Size at which a log file is closed and the next one begun, bytes.
    pub log_file_bytes: u64,
    /// Segments whose bytes add up to more are not merged.
    pub compact_bytes_max: u64,
    /// Free bytes of the file system below which writes are refused.
    pub disk_reserve_bytes: u64,
    /// A memtable that was not written to for so long is flushed, s.
    pub idle_flush_s: u64,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        NodeOptions {
            memtable_bytes_max: 160 << 20,
            log_bytes_max: 512 << 20,
            log_file_bytes: 32 << 20,
            compact_bytes_max: 1 << 30,
            disk_reserve_bytes: 256 << 20,
            idle_flush_s: 600,
        }
    }
}

/// Figures of a node, for `/metrics` and `/api/v1/node`. Totals count since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeStats {
    /// Tables.
    pub tables: usize,
    /// Tablets hosted.
    pub tablets: usize,
    /// Segments of all tablets.
    pub segments: usize,
    /// Bytes of all segments.
    pub segment_bytes: u64,
    /// Rows that are in memtables only.
    pub memtable_rows: u64,
    /// Bytes of all memtables.
    pub memtable_bytes: usize,
    /// Bytes of log files.
    pub log_bytes: u64,
    /// Frames written to the log, each with one sync, in total.
    pub log_syncs: u64,
    /// Bytes written to the log, in total.
    pub log_written_bytes: u64,
    /// Time spent in writes and syncs of the log, in total, µs.
    pub log_sync_us: u64,
    /// Flushes, in total.
    pub flushes: u64,
    /// Compactions, in total.
    pub compactions: u64,
    /// Bytes free on the data directory's file system.
    pub disk_free_bytes: u64,
}

/// A running node.
pub struct Node {
    options: NodeOptions,
}

impl Node {
    /// Opens the data directory, makes it where it is missing, and replays what was not flushed.
    /// Resolves once every row that was acked before can be read.
    ///
    /// # Errors
    /// [`crate::Error::InUse`], [`crate::Error::DataDir`], or what the disk answers.
    pub async fn open(
        data_dir: PathBuf,
        options: NodeOptions,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Node>> {
        let _ = (data_dir, &options, disk, clock);
        unimplemented!()
    }

    /// The options it was opened with.
    pub fn options(&self) -> &NodeOptions {
        &self.options
    }

    /// The catalog as of now.
    pub fn catalog(&self) -> Arc<Catalog> {
        unimplemented!()
    }

    /// Commits a change of the catalog. Resolves with the catalog that has it.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] says why the catalog does not allow it.
    pub async fn change(&self, change: Change) -> Result<Arc<Catalog>> {
        let _ = change;
        unimplemented!()
    }

    /// Commits rows of one tablet. Resolves once they are synced and visible.
    ///
    /// # Errors
    /// Whether the rows were stored is unknown; writing them again is harmless.
    pub async fn write(&self, tablet: TabletId, batch: RowBatch) -> Result<()> {
        let _ = (tablet, batch);
        unimplemented!()
    }

    /// Removes the matching rows of a table as of now.
    ///
    /// # Errors
    /// As [`Node::write`]; some tablets may have done it.
    pub async fn delete(&self, table: TableId, time: TimeRange, tags: TagPredicate) -> Result<()> {
        let _ = (table, time, tags);
        unimplemented!()
    }

    /// Flushes and compacts every tablet, then rotates and purges the log.
    ///
    /// # Errors
    /// What the disk answers.
    pub async fn compact(&self) -> Result<()> {
        unimplemented!()
    }

    /// Figures as of now.
    pub fn stats(&self) -> NodeStats {
        unimplemented!()
    }

    /// Why the node no longer takes writes, where a disk failure stopped it.
    pub fn failure(&self) -> Option<String> {
        unimplemented!()
    }

    /// Stops taking writes and ends all background work. Everything acked is safe.
    pub async fn stop(&self) {
        unimplemented!()
    }
}

impl ReadPath for Node {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.catalog().table(db, table).cloned()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog().tables().cloned().collect()
    }

    fn stats(&self, _: TableId) -> TableStats {
        unimplemented!()
    }

    fn scan(
        &self,
        _: TableId,
        _: &ScanSpec,
        _: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        unimplemented!()
    }
}
