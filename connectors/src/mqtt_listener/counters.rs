//! What the listener counts.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of [`Counters::ack_buckets`], µs.
pub const ACK_BOUNDS_US: [u64; 10] =
    [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 500_000, 2_000_000];

/// Counts since the start of the listener; all only grow but `connections` and `waiting`.
#[derive(Debug, Default)]
pub struct Counters {
    /// Messages taken in.
    pub messages: AtomicU64,
    /// Rows stored.
    pub rows: AtomicU64,
    /// Bytes read from clients.
    pub bytes: AtomicU64,
    /// Connections open now.
    pub connections: AtomicU64,
    /// Messages that became dead letters.
    pub dead_letters: AtomicU64,
    /// Messages that wait for tables or time ranges now.
    pub waiting: AtomicU64,
    /// Connections and sessions that ended to give their memory back.
    pub evicted: AtomicU64,
    /// Handshakes of TLS that were done.
    pub handshakes: AtomicU64,
    /// Handshakes of TLS that failed.
    pub failed_handshakes: AtomicU64,
    /// Messages stored and acked.
    pub acks: AtomicU64,
    /// Sum over them of the time from the start of their batch to its end, µs.
    pub ack_us: AtomicU64,
    /// How many of them took at most [`ACK_BOUNDS_US`], the last bucket being longer.
    pub ack_buckets: [AtomicU64; ACK_BOUNDS_US.len() + 1],
}

impl Counters {
    pub(super) fn acked(&self, messages: u64, waited: Duration) {
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.acks.fetch_add(messages, Ordering::Relaxed);
        self.ack_us.fetch_add(waited_us.saturating_mul(messages), Ordering::Relaxed);
        let bucket = ACK_BOUNDS_US.partition_point(|bound| *bound < waited_us);
        self.ack_buckets[bucket].fetch_add(messages, Ordering::Relaxed);
    }
}
