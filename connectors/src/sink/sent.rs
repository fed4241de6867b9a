//! What was handed to a broker, counted once it is confirmed.

use crate::connector::Progress;
use std::sync::atomic::{AtomicU64, Ordering};

/// Records handed over and not confirmed yet.
#[derive(Debug, Default)]
pub(super) struct Sent {
    messages: u64,
    rows: u64,
    bytes: u64,
    /// Rows of which no record was made.
    pub(super) skipped: u64,
}

impl Sent {
    pub(super) fn record(&mut self, payload: &[u8]) {
        self.messages += 1;
        self.rows += 1;
        self.bytes += payload.len() as u64;
    }

    /// Counts them, which are confirmed now.
    pub(super) fn confirmed(self, progress: &Progress) {
        if self.messages > 0 {
            progress.succeeded();
        }
        let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
        add(&progress.messages, self.messages);
        add(&progress.rows, self.rows);
        add(&progress.bytes, self.bytes);
        add(&progress.skipped, self.skipped);
    }
}
