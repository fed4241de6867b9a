//! Background work: flushes, compactions, purges, retention, ranges ahead of the clock.

use super::{Node, hosting::Hosted};
use crate::{Change, Error, Result};
use oribi_model::{TabletId, TimeRange};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How often the clock and the disk are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Starts the background tasks of a node on the present runtime.
pub(super) fn start(node: &Arc<Node>) {
    let tasks = [
        tokio::spawn(flusher(node.clone())),
        tokio::spawn(compactor(node.clone())),
        tokio::spawn(ticker(node.clone())),
    ];
    node.tasks.lock().extend(tasks);
}

/// What the choice of the next flush needs of a tablet.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    tablet: TabletId,
    memtable_bytes: usize,
    /// Whether it keeps the oldest log file.
    pins: bool,
    idle_s: u64,
}

/// Bounds for that choice.
#[derive(Debug, Clone, Copy)]
struct Pressure {
    /// Beyond it the largest memtable goes.
    memtable_bytes: usize,
    /// Whether the log is longer than it should be.
    log_is_long: bool,
    idle_s: u64,
}

/// The tablet to flush next: one that pins a log that is too long, or else the largest where
/// memory is short, or else one that has been idle for long.
fn pick(candidates: &[Candidate], pressure: Pressure) -> Option<TabletId> {
    let pinning = candidates.iter().filter(|one| pressure.log_is_long && one.pins);
    if let Some(found) = pinning.max_by_key(|one| one.memtable_bytes) {
        return Some(found.tablet);
    }
    let held: usize = candidates.iter().map(|one| one.memtable_bytes).sum();
    if held > pressure.memtable_bytes {
        let largest = candidates.iter().max_by_key(|one| one.memtable_bytes);
        return largest.map(|one| one.tablet);
    }
    let idle = |one: &&Candidate| one.memtable_bytes > 0 && one.idle_s >= pressure.idle_s;
    candidates.iter().find(idle).map(|one| one.tablet)
}

async fn flusher(node: Arc<Node>) {
    while node.until(&node.flush_due, TICK).await {
        while let Some(hosted) = next_flush(&node) {
            if let Err(error) = flush(&node, hosted).await {
                node.fail(&error);
                return;
            }
        }
        if node.log_is_long()
            && node.hosting.log.pinning().iter().any(|group| group.0 == 0)
            && let Err(error) = node.flush_catalog().await
        {
            node.fail(&error);
            return;
        }
    }
}

fn next_flush(node: &Node) -> Option<Arc<Hosted>> {
    let log_is_long = node.log_is_long();
    let pinning = if log_is_long { node.hosting.log.pinning() } else { Vec::new() };
    let now_ms = node.life_ms();
    let candidates: Vec<Candidate> = node
        .hosting
        .all()
        .iter()
        .map(|hosted| {
            let tablet = hosted.tablet.spec().id;
            let applied = hosted.tablet.applied();
            let mut seen = hosted.seen.lock();
            if seen.0 != applied {
                *seen = (applied, now_ms);
            }
            Candidate {
                tablet,
                memtable_bytes: hosted.tablet.memtable_bytes(),
                pins: pinning.iter().any(|group| group.0 == tablet.0),
                idle_s: (now_ms - seen.1) / 1_000,
            }
        })
        .collect();
    let pressure = Pressure {
        memtable_bytes: node.options.memtable_bytes_max / 2,
        log_is_long,
        idle_s: node.options.idle_flush_s,
    };
    node.hosting.get(pick(&candidates, pressure)?)
}

/// Flushes a tablet and lets the log forget what was flushed. A replica without writes rests.
pub(super) async fn flush(node: &Arc<Node>, hosted: Arc<Hosted>) -> Result<()> {
    let flushing = hosted.clone();
    let flushed = blocking(move || flushing.flush()).await?;
    if flushed {
        node.hosting.flushes.fetch_add(1, Ordering::Relaxed);
    }
    node.hosting.count_memtables();
    node.room.notify_waiters();
    hosted.replica.purge().await?;
    let idle_ms = node.life_ms().saturating_sub(hosted.seen.lock().1);
    if idle_ms >= node.options.idle_flush_s * 1_000 && hosted.replica.is_running().await {
        hosted.replica.rest().await;
    }
    node.compact_due.notify_one();
    Ok(())
}

async fn compactor(node: Arc<Node>) {
    while node.until(&node.compact_due, Duration::from_secs(10)).await {
        for hosted in node.hosting.all() {
            loop {
                let compacting = hosted.clone();
                match blocking(move || Ok(compacting.tablet.compact()?)).await {
                    Ok(true) => {
                        node.hosting.compactions.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(false) => break,
                    // A segment that cannot be read is reported and stays; the rest goes on.
                    Err(Error::Store(error @ oribi_store::Error::Source { .. })) => {
                        let tablet = hosted.tablet.spec().id.0;
                        tracing::error!(tablet, %error, "cannot compact a tablet");
                        break;
                    }
                    Err(error) => return node.fail(&error),
                }
                if node.is_stopping() {
                    return;
                }
            }
        }
    }
}

async fn ticker(node: Arc<Node>) {
    let never = tokio::sync::Notify::new();
    while node.until(&never, TICK).await {
        node.look_at_disk();
        let dropped = node.expired();
        if !dropped.is_empty() {
            tracing::info!(tablets = dropped.len(), "dropping tablets past their retention");
            let outcome = node.change(Change::DropTablets { tablets: dropped }).await;
            report("drop tablets past their retention", outcome);
        }
        for (table, range, buckets) in node.ranges_ahead() {
            let ranges = vec![range];
            let outcome = node.change(Change::CreateTablets { table, ranges, buckets }).await;
            report("make a tablet ahead of the clock", outcome);
        }
    }
}

fn report<T>(action: &str, outcome: Result<T>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "cannot {action}");
    }
}

impl Node {
    fn log_is_long(&self) -> bool {
        self.hosting.log.stats().bytes > self.options.log_bytes_max
    }

    /// Tablets all of whose rows are past the retention of their table.
    fn expired(&self) -> Vec<TabletId> {
        let catalog = self.catalog();
        let expired = |table: &oribi_model::TableId, range: TimeRange| {
            range.end <= self.kept(&catalog, *table).start
        };
        catalog
            .tablets()
            .filter(|tablet| expired(&tablet.table, tablet.range))
            .map(|tablet| tablet.id)
            .collect()
    }
}

/// Runs blocking work off the asynchronous threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(Error::Stopping),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_first_then_the_log_then_idleness() {
        let one = |id, memtable_bytes, pins, idle_s| Candidate {
            tablet: TabletId(id),
            memtable_bytes,
            pins,
            idle_s,
        };
        let tablets = [one(1, 10, true, 0), one(2, 50, false, 0), one(3, 5, false, 100)];
        let calm = Pressure { memtable_bytes: 100, log_is_long: false, idle_s: 1_000 };
        assert_eq!(pick(&tablets, calm), None);
        assert_eq!(pick(&tablets, Pressure { memtable_bytes: 60, ..calm }), Some(TabletId(2)));
        assert_eq!(pick(&tablets, Pressure { log_is_long: true, ..calm }), Some(TabletId(1)));
        assert_eq!(pick(&tablets, Pressure { idle_s: 100, ..calm }), Some(TabletId(3)));
    }
}
