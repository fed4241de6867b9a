//! Which tablet is flushed next, and the flush itself.

use super::blocking;
use crate::{
    Error, Result,
    node::{Node, hosting::Hosted},
    replica::{Keeping, Purge},
};
use oribi_model::TabletId;
use std::{
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// How often there is a look at what is due without anybody asking.
const PAUSE: Duration = Duration::from_secs(1);
/// When a flush that failed is tried again, ms.
const AGAIN_MS: u64 = 5_000;

/// What the choice of the next flush needs of a tablet.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    tablet: TabletId,
    memtable_bytes: usize,
    /// Memtables that a scan has to merge.
    memtables: usize,
    /// Whether it keeps the oldest log file.
    pins: bool,
    idle_s: u64,
}

/// Bounds for that choice.
#[derive(Debug, Clone, Copy)]
struct Pressure {
    /// Beyond it the largest memtable goes.
    memtable_bytes: usize,
    /// Beyond it a tablet is flushed, however small its memtables are: each delete begins another.
    memtables: usize,
    /// Whether the log is longer than it should be.
    log_is_long: bool,
    idle_s: u64,
}

/// The tablet to flush next: one that pins a log that is too long, or else the largest where
/// memory is short, or else one with many memtables, or else one that has been idle for long.
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
    let due = |one: &&Candidate| {
        let idle = one.memtable_bytes > 0 && one.idle_s >= pressure.idle_s;
        idle || one.memtables > pressure.memtables
    };
    candidates.iter().find(due).map(|one| one.tablet)
}

pub(super) async fn run(node: Arc<Node>) {
    while node.until(&node.hosting.memtables.flush_due, PAUSE).await {
        while let Some(hosted) = next(&node) {
            // What went wrong was reported; others are flushed meanwhile.
            let _ = flush(&node, hosted).await;
            if node.is_stopping() {
                return;
            }
        }
        purge_late(&node).await;
        if node.log_is_long() && node.hosting.log.pinning().iter().any(|group| group.0 == 0) {
            node.settle_catalog().await;
        }
    }
}

fn next(node: &Node) -> Option<Arc<Hosted>> {
    const MEMTABLES_MAX: usize = 16;
    let log_is_long = node.log_is_long();
    let pinning: HashSet<u64> = match log_is_long {
        true => node.hosting.log.pinning().iter().map(|group| group.0).collect(),
        false => HashSet::new(),
    };
    // To flush those once more would not let the log go either.
    let late = node.late_purges.lock().clone();
    let now_ms = node.life_ms();
    let candidate = |hosted: &Arc<Hosted>| {
        let idle_ms = hosted.idle_ms(now_ms);
        let may = hosted.flush_again_ms.load(Ordering::Relaxed) <= now_ms;
        (may && hosted.tablet.failure().is_none()).then(|| Candidate {
            tablet: hosted.id(),
            memtable_bytes: hosted.tablet.memtable_bytes(),
            memtables: hosted.tablet.stats().memtables,
            pins: pinning.contains(&hosted.id().0) && !late.contains(&hosted.id()),
            idle_s: idle_ms / 1_000,
        })
    };
    let candidates: Vec<Candidate> = node.hosting.all().iter().filter_map(candidate).collect();
    let pressure = Pressure {
        memtable_bytes: node.hosting.memtables.flushed_beyond(),
        memtables: MEMTABLES_MAX,
        log_is_long,
        idle_s: node.options.idle_flush_s,
    };
    node.hosting.get(pick(&candidates, pressure)?)
}

/// Flushes a tablet and lets the log forget what was flushed. A failure is noted as a trouble of
/// the tablet, and tried again after a while unless it stopped the tablet for good.
pub(in crate::node) async fn flush(node: &Arc<Node>, hosted: Arc<Hosted>) -> Result<()> {
    let name = format!("tablet {}, flush", hosted.id());
    let flushing = hosted.clone();
    match blocking(move || flushing.flush()).await {
        Ok(flushed) => {
            if flushed {
                node.hosting.flushes.fetch_add(1, Ordering::Relaxed);
            }
            node.troubles.clear(&name);
        }
        // It was dropped meanwhile, and nothing of it is to be kept.
        Err(Error::Store(oribi_store::Error::Dropped(_))) => return Ok(()),
        Err(error) => {
            hosted.flush_again_ms.store(node.life_ms() + AGAIN_MS, Ordering::Relaxed);
            node.troubles.set(&name, error.to_string());
            node.look_at_disk();
            return Err(error);
        }
    }
    node.hosting.count_memtables();
    node.room.notify_waiters();
    purge(node, &hosted, Duration::ZERO).await;
    node.compact_soon(hosted.id());
    Ok(())
}

/// Asks the log to forget what was flushed. Where that takes longer than `wait`, it is asked again
/// later.
pub(in crate::node) async fn purge(node: &Node, hosted: &Hosted, wait: Duration) {
    let keeping = if node.log_is_long() { Keeping::ForCopies } else { Keeping::ForMembers };
    let late = match hosted.replica.purge_but(keeping, wait).await {
        Ok(Purge::Done) => false,
        Ok(Purge::Asked) => true,
        Err(error) => {
            tracing::warn!(tablet = hosted.id().0, %error, "the log cannot be purged yet");
            true
        }
    };
    let mut purges = node.late_purges.lock();
    if late {
        purges.insert(hosted.id())
    } else {
        purges.remove(&hosted.id())
    };
}

async fn purge_late(node: &Node) {
    let late = node.late_purges.lock().clone();
    for tablet in late {
        match node.hosting.get(tablet) {
            Some(hosted) => purge(node, &hosted, Duration::ZERO).await,
            None => drop(node.late_purges.lock().remove(&tablet)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_first_then_memory_then_many_memtables_then_idleness() {
        let one = |id, memtable_bytes, pins, idle_s| Candidate {
            tablet: TabletId(id),
            memtable_bytes,
            memtables: id as usize,
            pins,
            idle_s,
        };
        let tablets = [one(1, 10, true, 0), one(2, 50, false, 0), one(3, 5, false, 100)];
        let calm =
            Pressure { memtable_bytes: 100, memtables: 9, log_is_long: false, idle_s: 1_000 };
        assert_eq!(pick(&tablets, calm), None);
        assert_eq!(pick(&tablets, Pressure { memtable_bytes: 60, ..calm }), Some(TabletId(2)));
        assert_eq!(pick(&tablets, Pressure { log_is_long: true, ..calm }), Some(TabletId(1)));
        assert_eq!(pick(&tablets, Pressure { idle_s: 100, ..calm }), Some(TabletId(3)));
        assert_eq!(pick(&tablets, Pressure { memtables: 2, ..calm }), Some(TabletId(3)));
    }
}
