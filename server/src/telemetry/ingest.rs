//! The write path with its rows, writes and times counted, whichever door they came by.

use futures::{FutureExt, future::BoxFuture};
use oribi_connectors::mqtt_listener::ACK_BOUNDS_US;
use oribi_ingest::{Ingest, Receipt, Result};
use oribi_model::{Name, Points, Rejection, Table};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Counts since the start; all only grow.
#[derive(Debug, Default)]
pub(crate) struct IngestCounters {
    /// Rows acked.
    pub(crate) rows: AtomicU64,
    /// Rows refused, one by one.
    pub(crate) rejected: AtomicU64,
    /// Writes acked.
    pub(crate) writes: AtomicU64,
    /// Writes that were not.
    pub(crate) failures: AtomicU64,
    /// Time from arrival to ack, in total, µs.
    pub(crate) write_us: AtomicU64,
    /// Writes that took at most [`ACK_BOUNDS_US`], the last bucket being longer.
    pub(crate) write_buckets: [AtomicU64; ACK_BOUNDS_US.len() + 1],
}

impl IngestCounters {
    fn acked(&self, receipt: &Receipt, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let add = |count: &AtomicU64, more: u64| count.fetch_add(more, Ordering::Relaxed);
        add(&self.rows, receipt.rows);
        add(&self.rejected, receipt.rejected.len() as u64);
        add(&self.writes, 1);
        add(&self.write_us, took_us);
        add(&self.write_buckets[ACK_BOUNDS_US.partition_point(|bound| *bound < took_us)], 1);
    }
}

/// A write path that counts.
pub(crate) struct CountedIngest<I> {
    inner: I,
    counters: Arc<IngestCounters>,
}

impl<I: Ingest> CountedIngest<I> {
    /// Counts what goes through `inner`.
    pub(crate) fn new(inner: I, counters: Arc<IngestCounters>) -> CountedIngest<I> {
        CountedIngest { inner, counters }
    }

    async fn counted(&self, write: BoxFuture<'_, Result<Receipt>>) -> Result<Receipt> {
        let started = Instant::now();
        let written = write.await;
        match &written {
            // Nothing but rows that come again.
            Ok(receipt)
                if receipt.rows == 0
                    && receipt.rejected.is_empty()
                    && !receipt.deferred.is_empty() => {}
            Ok(receipt) => self.counters.acked(receipt, started.elapsed()),
            Err(_) => {
                self.counters.failures.fetch_add(1, Ordering::Relaxed);
            }
        }
        written
    }
}

impl<I: Ingest> Ingest for CountedIngest<I> {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        self.counted(self.inner.write(points)).boxed()
    }

    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        self.counted(self.inner.write_present(points)).boxed()
    }

    fn refused(&self, points: &[Points]) -> Vec<Rejection> {
        self.inner.refused(points)
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.inner.table(db, table)
    }

    fn databases(&self) -> Vec<Name> {
        self.inner.databases()
    }

    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        self.inner.create_database(db)
    }

    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        self.inner.drop_database(db)
    }
}
