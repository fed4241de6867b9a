//! The consensus instances of a node: how many run, and which of them should rest.
//!
//! An instance holds some 110 KiB from its start. Its queues are rings made for thousands of steps
//! (1.4 MiB), which become resident as writes walk through them; a new instance begins with fresh
//! ones.

use std::{
    cmp::Reverse,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

/// Beyond so many running instances some rest at once.
const RUNNING_MAX: usize = 1_024;
/// How many run on once some had to rest, so that it does not come to that with every start.
const RUNNING_KEPT: usize = RUNNING_MAX - RUNNING_MAX / 8;
/// An instance without a write for so long rests.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// An instance that took so many writes rests where more than [`WORN_KEPT`] run.
const WRITES_MAX: u64 = 512;
const WORN_KEPT: usize = 16;

/// The instances of one node.
#[derive(Debug, Default)]
pub(crate) struct Instances {
    running: AtomicUsize,
    crowded: Notify,
}

impl Instances {
    /// Told when there are too many.
    pub(crate) fn crowded(&self) -> &Notify {
        &self.crowded
    }

    pub(super) fn started(&self) {
        if self.running.fetch_add(1, Ordering::Relaxed) >= RUNNING_MAX {
            self.crowded.notify_one();
        }
    }

    pub(super) fn ended(&self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the running instance of a replica was used for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    /// When it started, or the last write began.
    pub(crate) last: Instant,
    /// Writes since it started.
    pub(crate) writes: u64,
}

impl Usage {
    /// That of an instance which starts now.
    pub(super) fn begin() -> Usage {
        Usage { last: Instant::now(), writes: 0 }
    }

    pub(super) fn note_write(&mut self) {
        self.last = Instant::now();
        self.writes += 1;
    }
}

/// Which of the running instances should rest, as places in `usages`: those without a write for a
/// while, those that are worn, and where too many are left, those whose last write is oldest.
pub(crate) fn to_rest(now: Instant, usages: &[Usage]) -> Vec<usize> {
    let many = usages.len() > WORN_KEPT;
    let is_due = |usage: &Usage| {
        now.saturating_duration_since(usage.last) >= IDLE_MAX
            || (many && usage.writes >= WRITES_MAX)
    };
    let places = 0..usages.len();
    let (mut resting, mut staying): (Vec<usize>, Vec<usize>) =
        places.partition(|place| is_due(&usages[*place]));
    if staying.len() > RUNNING_MAX {
        staying.sort_unstable_by_key(|place| Reverse(usages[*place].last));
        resting.extend(staying.drain(RUNNING_KEPT..));
    }
    resting
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usages(count: usize, now: Instant) -> Vec<Usage> {
        let usage = |at| Usage { last: now - Duration::from_millis(at as u64), writes: 1 };
        (0..count).map(usage).collect()
    }

    #[test]
    fn the_oldest_of_too_many_rest() {
        let now = Instant::now();
        assert!(to_rest(now, &usages(RUNNING_MAX, now)).is_empty());
        let mut resting = to_rest(now, &usages(RUNNING_MAX + 1, now));
        resting.sort_unstable();
        assert_eq!(resting, (RUNNING_KEPT..=RUNNING_MAX).collect::<Vec<_>>());
    }

    #[test]
    fn idle_and_worn_ones_rest() {
        let now = Instant::now() + IDLE_MAX;
        let mut few = usages(WORN_KEPT, now);
        few[3].last = now - IDLE_MAX;
        few[5].writes = WRITES_MAX;
        assert_eq!(to_rest(now, &few), [3]);
        let mut many = [few, usages(1, now)].concat();
        assert_eq!(to_rest(now, &many), [3, 5]);
        many[3].last = now;
        assert_eq!(to_rest(now, &many), [5]);
    }
}
