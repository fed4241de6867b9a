//! What may be set for a node's storage, and what can be measured of it.

use crate::CopyOptions;
use serde::Deserialize;

/// What may be set for a node's storage, `[storage]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeOptions {
    /// Memory of all memtables together, bytes. Past it writes wait for a flush.
    pub memtable_bytes_max: usize,
    /// Bytes of log files beyond which the tablets that pin the oldest one are flushed.
    pub log_bytes_max: u64,
    /// Size at which a log file is closed and the next one begun, bytes.
    pub log_file_bytes: u64,
    /// Entries that wait for the log's disk, bytes. Past it appends wait.
    pub log_queue_bytes_max: usize,
    /// Segments whose bytes add up to more are not merged.
    pub compact_bytes_max: u64,
    /// Memory of decoded pages that were read lately, bytes; 0 keeps none.
    pub page_cache_bytes_max: usize,
    /// Free bytes of the file system below which writes are refused.
    pub disk_reserve_bytes: u64,
    /// A memtable that was not written to for so long is flushed, s.
    pub idle_flush_s: u64,
    /// How long a tablet has to be past its retention, by a clock that does not jump, before it is
    /// dropped, s.
    pub retention_wait_s: u64,
    /// How long files that are no longer needed lie in the trash, s; less where space is short.
    pub trash_s: u64,
    /// Files of segments that are kept open.
    pub open_files_max: usize,
    /// Tablets that are copied from other nodes at once.
    pub copies_max: usize,
    /// What those copies may take together, bytes a second.
    pub copy_bytes_per_s_max: u64,
    /// Bytes of entries of one tablet that the log keeps, although they are flushed, for members
    /// that are behind. Who lacks more gets a copy.
    pub log_kept_bytes_max: u64,
    /// What may be read to look for damage, bytes a second; 0: nothing is.
    pub scrub_bytes_per_s_max: u64,
    /// Between two rounds of that, s.
    pub scrub_pause_s: u64,
}

impl Default for NodeOptions {
    fn default() -> NodeOptions {
        let copies = CopyOptions::default();
        NodeOptions {
            memtable_bytes_max: 160 << 20,
            log_bytes_max: 512 << 20,
            log_file_bytes: 32 << 20,
            log_queue_bytes_max: 256 << 20,
            compact_bytes_max: 1 << 30,
            page_cache_bytes_max: 128 << 20,
            disk_reserve_bytes: 256 << 20,
            idle_flush_s: 600,
            retention_wait_s: 600,
            trash_s: 300,
            open_files_max: 512,
            copies_max: copies.copies_max,
            copy_bytes_per_s_max: copies.bytes_per_s_max,
            log_kept_bytes_max: copies.kept_bytes_max,
            scrub_bytes_per_s_max: 16 << 20,
            scrub_pause_s: 6 * 3_600,
        }
    }
}

impl NodeOptions {
    /// Checks that the bounds leave room to work.
    ///
    /// # Errors
    /// Names the key that does not, and what was expected.
    pub fn validate(&self) -> Result<(), String> {
        if self.memtable_bytes_max < 1 << 20 {
            return Err("memtable_bytes_max is below 1 MiB; expected 1048576 or more".into());
        }
        if self.log_file_bytes < 64 << 10 {
            return Err("log_file_bytes is below 64 KiB; expected 65536 or more".into());
        }
        if self.log_bytes_max < 2 * self.log_file_bytes {
            return Err("log_bytes_max is less than two log files; expected at least twice \
                        log_file_bytes"
                .into());
        }
        if self.log_queue_bytes_max < 1 << 20 {
            return Err("log_queue_bytes_max is below 1 MiB; expected 1048576 or more".into());
        }
        if self.open_files_max < 16 {
            return Err("open_files_max is below 16; expected 16 or more".into());
        }
        if self.copies_max == 0 {
            return Err("copies_max is 0; expected at least 1".into());
        }
        if self.copy_bytes_per_s_max < 1 << 20 {
            return Err("copy_bytes_per_s_max is below 1 MiB; expected 1048576 or more".into());
        }
        if self.idle_flush_s == 0 {
            return Err("idle_flush_s is 0; expected at least 1".into());
        }
        Ok(())
    }
}

impl NodeOptions {
    /// The bounds of copies.
    pub(crate) fn copies(&self) -> CopyOptions {
        CopyOptions {
            copies_max: self.copies_max,
            bytes_per_s_max: self.copy_bytes_per_s_max,
            kept_bytes_max: self.log_kept_bytes_max,
        }
    }
}

/// Figures of a node, for `/metrics` and `/api/v1/node`. Totals count since the start.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct NodeStats {
    /// Tables.
    pub tables: usize,
    /// Tablets that serve.
    pub tablets: usize,
    /// Tablets that are set aside since something of theirs is damaged or missing.
    pub damaged_tablets: usize,
    /// Segments in which a read met damage.
    pub damaged_segments: usize,
    /// Replicas that run a consensus instance.
    pub running_replicas: usize,
    /// Replicas of groups of several that sleep.
    pub sleeping_replicas: usize,
    /// Starts of consensus instances of groups of several.
    pub replica_wakes: u64,
    /// Replicas that fell asleep since their group was quiet.
    pub replica_sleeps: u64,
    /// Bytes of files that are no longer needed and will be removed.
    pub trash_bytes: u64,
    /// Segments of all tablets.
    pub segments: usize,
    /// Bytes of all segments.
    pub segment_bytes: u64,
    /// Rows that are in memtables only.
    pub memtable_rows: u64,
    /// Bytes of all memtables.
    pub memtable_bytes: usize,
    /// Bytes of decoded pages held.
    pub page_cache_bytes: usize,
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
