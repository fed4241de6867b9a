//! Event time: nanoseconds since the Unix epoch (UTC), as `i64`.

use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI16, AtomicI64, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

/// Nanoseconds in a second.
pub const NS_PER_SECOND: i64 = 1_000_000_000;
/// Nanoseconds in a day without leap seconds.
pub const NS_PER_DAY: i64 = 86_400 * NS_PER_SECOND;

/// A half-open range of event time: `start` is in it, `end` is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimeRange {
    /// First nanosecond inside.
    pub start: i64,
    /// First nanosecond after.
    pub end: i64,
}

impl TimeRange {
    /// All of time but its very last nanosecond, which a half-open range cannot hold.
    pub const ALL: TimeRange = TimeRange { start: i64::MIN, end: i64::MAX };

    /// The range from `start` up to, not including, `end`.
    pub fn new(start: i64, end: i64) -> TimeRange {
        TimeRange { start, end }
    }

    /// Whether no time is inside.
    pub fn is_empty(self) -> bool {
        self.end <= self.start
    }

    /// Whether `time` is inside.
    pub fn contains(self, time: i64) -> bool {
        self.start <= time && time < self.end
    }

    /// Whether every time of `other` is inside.
    pub fn covers(self, other: TimeRange) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// Whether some time is in both.
    pub fn overlaps(self, other: TimeRange) -> bool {
        !self.intersect(other).is_empty()
    }

    /// What is in both; may be empty.
    pub fn intersect(self, other: TimeRange) -> TimeRange {
        TimeRange { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// Where "now" comes from, so that a test can say what time it is.
pub trait Clock: Send + Sync + 'static {
    /// Nanoseconds since the Unix epoch.
    fn now_ns(&self) -> i64;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since_epoch.as_nanos()).unwrap_or(i64::MAX)
    }
}

/// Gives rows without a time of their own one each: now, but always later than the one before, and
/// never one that another node gives.
#[derive(Clone)]
pub struct ArrivalClock {
    clock: Arc<dyn Clock>,
    given: Arc<Given>,
}

/// What the clones of a clock share.
struct Given {
    last_ns: AtomicI64,
    /// The place of the node among those that give times; negative where it is the only one.
    slot: AtomicI16,
}

/// Nodes that give times at once, and the ns from one time of a node to its next.
const SLOTS: i64 = 256;

impl ArrivalClock {
    /// A clock over `clock`, of the only node that gives times; clones share the order.
    pub fn new(clock: Arc<dyn Clock>) -> ArrivalClock {
        let given = Given { last_ns: AtomicI64::new(i64::MIN), slot: AtomicI16::new(-1) };
        ArrivalClock { clock, given: Arc::new(given) }
    }

    /// From now on other nodes give times, too, each with a slot of its own: the last 8 bits of all
    /// times are `slot`.
    pub fn share(&self, slot: u8) {
        self.given.slot.store(slot.into(), Ordering::Relaxed);
    }

    /// From now on only times after this one are given, ns since the Unix epoch: some up to it were
    /// given before.
    pub fn begin_after(&self, time_ns: i64) {
        self.given.last_ns.fetch_max(time_ns, Ordering::Relaxed);
    }

    /// The last time that was given, ns since the Unix epoch, or after which they begin.
    pub fn last_ns(&self) -> Option<i64> {
        Some(self.given.last_ns.load(Ordering::Relaxed)).filter(|last_ns| *last_ns > i64::MIN)
    }

    /// The arrival time of one row, later than every one given before.
    pub fn next_ns(&self) -> i64 {
        self.next_of_ns(1)
    }

    /// The first of so many arrival times in a row, 1 ns apart, or 256 ns where other nodes give
    /// times, too. No other row gets one of them.
    pub fn next_of_ns(&self, count: u32) -> i64 {
        let slot = self.given.slot.load(Ordering::Relaxed);
        let step_ns = if slot < 0 { 1 } else { SLOTS };
        let more_ns = i64::from(count.max(1) - 1) * step_ns;
        let now_ns = self.clock.now_ns();
        let mut last_ns = self.given.last_ns.load(Ordering::Relaxed);
        loop {
            let earliest_ns = now_ns.max(last_ns.saturating_add(1));
            let next_ns = match slot {
                ..0 => earliest_ns,
                slot => in_slot(earliest_ns, slot.into()),
            };
            match self.given.last_ns.compare_exchange_weak(
                last_ns,
                next_ns.saturating_add(more_ns),
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return next_ns,
                Err(seen_ns) => last_ns = seen_ns,
            }
        }
    }

    /// The clock underneath, for the present without the promise of order.
    pub fn now_ns(&self) -> i64 {
        self.clock.now_ns()
    }
}

/// The first time of a slot that is not before this one.
fn in_slot(time_ns: i64, slot: i64) -> i64 {
    let ahead_ns = slot.wrapping_sub(time_ns).rem_euclid(SLOTS);
    time_ns.saturating_add(ahead_ns)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stopped;
    impl Clock for Stopped {
        fn now_ns(&self) -> i64 {
            7
        }
    }

    #[test]
    fn times_that_are_reserved_are_nobody_elses() {
        let clock = ArrivalClock::new(Arc::new(Stopped));
        assert_eq!((clock.next_of_ns(3), clock.next_ns(), clock.next_of_ns(0)), (7, 10, 11));
        assert_eq!(clock.next_ns(), 12);
    }

    #[test]
    fn arrival_times_grow_on_a_stopped_clock() {
        let arrival = ArrivalClock::new(Arc::new(Stopped));
        assert_eq!([arrival.next_ns(), arrival.next_ns(), arrival.clone().next_ns()], [7, 8, 9]);
    }

    #[test]
    fn nodes_with_slots_of_their_own_never_give_the_same_time() {
        let clocks = [0, 7, 255].map(|slot| {
            let clock = ArrivalClock::new(Arc::new(Stopped));
            clock.share(slot);
            clock
        });
        let mut given = std::collections::BTreeSet::new();
        for clock in &clocks {
            let mut last_ns = i64::MIN;
            for count in [1, 1, 3, 0, 1] {
                let first_ns = clock.next_of_ns(count);
                let all = (0..i64::from(count.max(1))).map(|at| first_ns + at * SLOTS);
                for time_ns in all {
                    assert!(time_ns >= 7 && time_ns > last_ns && given.insert(time_ns));
                    last_ns = time_ns;
                }
            }
        }
        assert_eq!(clocks[1].next_ns(), 7 + 7 * SLOTS, "the slot's own time is not passed over");
        assert_eq!([in_slot(-1, 0), in_slot(-257, 255), in_slot(-256, 0)], [0, -257, -256]);
    }

    #[test]
    fn no_time_up_to_one_that_was_given_before_is_given_again() {
        let clock = ArrivalClock::new(Arc::new(Stopped));
        assert_eq!(clock.last_ns(), None);
        clock.begin_after(1_000);
        clock.begin_after(900);
        assert_eq!((clock.next_ns(), clock.last_ns()), (1_001, Some(1_001)));
        clock.share(3);
        assert_eq!(clock.clone().next_ns(), 4 * SLOTS + 3);
    }

    #[test]
    fn ranges_are_half_open() {
        let range = TimeRange::new(10, 20);
        assert!(range.contains(10) && !range.contains(20));
        assert!(!range.overlaps(TimeRange::new(20, 30)));
        assert!(range.covers(TimeRange::new(12, 20)));
    }
}
