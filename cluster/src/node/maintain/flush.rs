//! Which tablet is flushed next, and the flush itself.

use super::{Looks, blocking};
use crate::{
    Error, Result,
    node::{
        Node,
        hosting::{Hosted, group_of},
        tablet_machine::MEMTABLES_MAX,
    },
    replica::{Keeping, Purge},
};
use oribi_model::TabletId;
use std::{
    cmp::Reverse,
    collections::HashSet,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::time::Instant;

/// How often there is a look at what is due without anybody asking, and how many times as long it may be until the next
/// one while nothing is due for others.
const PAUSE: (Duration, u32) = (Duration::from_secs(1), 15);
/// Flushed between two looks at all tablets that hold anything, of which there may be ten thousand.
const AT_ONCE_MAX: usize = 64;
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

/// The tablets to flush next, in order: those that pin a log that is too long, or else the largest until
/// memory is no longer short, or else those with many memtables and those that have been idle for long.
fn pick(mut candidates: Vec<Candidate>, pressure: Pressure) -> Vec<TabletId> {
    let mut held: usize = candidates.iter().map(|one| one.memtable_bytes).sum();
    if pressure.log_is_long && candidates.iter().any(|one| one.pins) {
        candidates.retain(|one| one.pins);
        candidates.sort_unstable_by_key(|one| Reverse(one.memtable_bytes));
    } else if held > pressure.memtable_bytes {
        candidates.sort_unstable_by_key(|one| Reverse(one.memtable_bytes));
        candidates.retain(|one| {
            let is_short = held > pressure.memtable_bytes;
            held -= one.memtable_bytes;
            is_short
        });
    } else {
        candidates.retain(|one| {
            let idle = one.memtable_bytes > 0 && one.idle_s >= pressure.idle_s;
            idle || one.memtables > pressure.memtables
        });
    }
    candidates.into_iter().take(AT_ONCE_MAX).map(|one| one.tablet).collect()
}

pub(super) async fn run(node: Arc<Node>) {
    let mut look_due = Instant::now();
    while node.until(&node.hosting.memtables.flush_due, PAUSE.0).await {
        while is_short(&node) || Instant::now() >= look_due {
            let mut looks = Looks::default();
            let due = looks.look(|| next(&node));
            if due.is_empty() {
                look_due = Instant::now() + looks.pause(PAUSE);
                break;
            }
            for hosted in due.into_iter().filter_map(|tablet| node.hosting.get(tablet)) {
                // What went wrong was reported; others are flushed meanwhile.
                let _ = flush(&node, hosted).await;
                if node.is_stopping() {
                    return;
                }
            }
        }
        purge_late(&node).await;
        if node.log_is_long() && node.hosting.log.pinning().iter().any(|group| group.0 == 0) {
            node.settle_catalog().await;
        }
    }
}

/// Whether something is to be flushed at once.
fn is_short(node: &Node) -> bool {
    let memtables = &node.hosting.memtables;
    let is_full = memtables.held_bytes() > memtables.flushed_beyond();
    memtables.take_many() || is_full || node.log_is_long()
}

fn next(node: &Node) -> Vec<TabletId> {
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
    // Those that pin the log may have nothing in memory.
    let mut looked_at = node.hosting.memtables.holding();
    looked_at.extend(pinning.iter().copied().map(TabletId));
    let looked_at = looked_at.into_iter().filter_map(|tablet| node.hosting.get(tablet));
    let candidates: Vec<Candidate> = looked_at.filter_map(|one| candidate(&one)).collect();
    node.hosting.count_memtables();
    let pressure = Pressure {
        memtable_bytes: node.hosting.memtables.flushed_beyond(),
        memtables: MEMTABLES_MAX,
        log_is_long,
        idle_s: node.options.idle_flush_s,
    };
    pick(candidates, pressure)
}

/// Flushes a tablet and lets the log forget what was flushed. A failure is noted as a trouble of
/// the tablet, and tried again after a while unless it stopped the tablet for good.
pub(in crate::node) async fn flush(node: &Arc<Node>, hosted: Arc<Hosted>) -> Result<()> {
    let name = format!("tablet {}, flush", hosted.id());
    let (flushing, held_bytes) = (hosted.clone(), hosted.tablet.memtable_bytes());
    match blocking(move || flushing.flush()).await {
        Ok(flushed) => {
            if flushed {
                node.hosting.flushes.fetch_add(1, Ordering::Relaxed);
            }
            node.troubles.clear(&name);
            node.hosting.instances.note_change(group_of(hosted.id()));
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
    // What came meanwhile is not taken for what went: all are counted anew before the next choice.
    let left_bytes = hosted.tablet.memtable_bytes();
    node.hosting.memtables.shrink(held_bytes.saturating_sub(left_bytes));
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
        let picked = |pressure| pick(tablets.to_vec(), pressure);
        assert_eq!(picked(calm), []);
        assert_eq!(picked(Pressure { memtable_bytes: 60, ..calm }), [TabletId(2)]);
        assert_eq!(picked(Pressure { memtable_bytes: 12, ..calm }), [TabletId(2), TabletId(1)]);
        assert_eq!(picked(Pressure { log_is_long: true, ..calm }), [TabletId(1)]);
        assert_eq!(picked(Pressure { idle_s: 100, ..calm }), [TabletId(3)]);
        assert_eq!(picked(Pressure { memtables: 2, ..calm }), [TabletId(3)]);
        let many: Vec<Candidate> = (1..10_000).map(|id| one(id, 1, false, 0)).collect();
        assert_eq!(pick(many, Pressure { memtable_bytes: 9, ..calm }).len(), AT_ONCE_MAX);
    }
}
