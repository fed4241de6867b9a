//! Figures of a node, and why it does not take writes.

use super::{Node, NodeStats, Trouble};
use std::sync::atomic::Ordering;

impl Node {
    /// Figures as of now.
    pub fn stats(&self) -> NodeStats {
        let log = self.hosting.log.stats();
        let (replica_wakes, replica_sleeps) = self.hosting.instances.wakes_and_sleeps();
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
            replica_wakes,
            replica_sleeps,
            ..NodeStats::default()
        };
        for hosted in self.hosting.all() {
            let tablet = hosted.tablet.stats();
            stats.tablets += 1;
            stats.damaged_segments += tablet.damaged_segments;
            stats.running_replicas += usize::from(hosted.replica.is_running());
            stats.sleeping_replicas += usize::from(hosted.replica.is_asleep());
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
        // Writes are refused for it at once.
        self.look_at_log();
        self.troubles.list()
    }

    /// Whether so little is free that rows are refused here.
    pub fn is_short_of_disk(&self) -> bool {
        self.disk_free_bytes() < self.options.disk_reserve_bytes
    }

    /// Bytes free on the data directory's file system, as of the last look about a second ago.
    pub fn disk_free_bytes(&self) -> u64 {
        self.disk_free_bytes.load(Ordering::Relaxed)
    }
}
