//! Where a table is cut in time: pure decisions.

use oribi_model::{
    TimeRange,
    time::{NS_PER_DAY, NS_PER_SECOND},
};

const HOUR_NS: i64 = 3_600 * NS_PER_SECOND;
/// Lengths that Oribi chooses from; each is a multiple of the one before, and all are aligned to
/// the epoch.
const LENGTHS_NS: [i64; 7] = [
    HOUR_NS,
    4 * HOUR_NS,
    NS_PER_DAY,
    8 * NS_PER_DAY,
    32 * NS_PER_DAY,
    128 * NS_PER_DAY,
    512 * NS_PER_DAY,
];
/// Ranges up to this length are made for late rows of any age; a longer one only for rows at least
/// [`AGE_SHARE`] times as old as it is long, so that history of decades takes few.
const LATE_LENGTH_NS_MAX: i64 = 32 * NS_PER_DAY;
const AGE_SHARE: i64 = 4;
/// Length of the first range of a table, whose rate is not known yet.
const FIRST_LENGTH_NS: i64 = NS_PER_DAY;
/// The longest range that is made ahead of the clock.
const LIVE_LENGTH_NS_MAX: i64 = 8 * NS_PER_DAY;
/// Rows that a range should not exceed.
const ROWS_MAX: f64 = 200e6;
/// A range is at most this share of the retention, since rows go tablet by tablet.
const RETENTION_SHARE: i64 = 4;

/// What the decision needs of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cutting {
    /// Length that was set for the table; it decides.
    pub(crate) set_ns: Option<i64>,
    pub(crate) retention_ns: Option<i64>,
    /// Rows a second of event time, as far as known.
    pub(crate) rows_per_s: Option<f64>,
}

impl Cutting {
    /// Length of the ranges about now.
    fn live_ns(&self) -> i64 {
        let wanted = |length: &&i64| match self.rows_per_s {
            Some(rate) => {
                **length <= LIVE_LENGTH_NS_MAX
                    && rate * (**length / NS_PER_SECOND) as f64 <= ROWS_MAX
            }
            None => **length <= FIRST_LENGTH_NS,
        };
        let length = LENGTHS_NS.iter().rev().find(wanted).copied().unwrap_or(HOUR_NS);
        self.set_ns.unwrap_or_else(|| length.min(self.longest_ns()))
    }

    /// The longest range that the retention leaves.
    fn longest_ns(&self) -> i64 {
        let share = self.retention_ns.map_or(i64::MAX, |retention| retention / RETENTION_SHARE);
        LENGTHS_NS.iter().rev().find(|length| **length <= share).copied().unwrap_or(HOUR_NS)
    }

    /// New ranges that, with the `present` ones (ascending, disjoint), hold all of `times`. Rows
    /// about now and ahead get ranges of the live length, late rows the longest that overlaps
    /// none and does not reach the live ones.
    pub(crate) fn cover(
        &self,
        times: &[i64],
        present: &[TimeRange],
        now_ns: i64,
    ) -> Vec<TimeRange> {
        let mut missing: Vec<i64> =
            times.iter().copied().filter(|time| holder(present, *time).is_none()).collect();
        missing.sort_unstable();
        let live_ns = self.live_ns();
        let live_start = aligned(now_ns, live_ns).start;
        let mut ranges = present.to_vec();
        let mut made = Vec::new();
        for time in missing {
            if holder(&ranges, time).is_some() {
                continue;
            }
            let range = match self.set_ns {
                None if time < live_start => self.late(time, &ranges, live_start),
                _ => within_gap(aligned(time, live_ns), time, &ranges),
            };
            let at = ranges.partition_point(|other| other.start < range.start);
            ranges.insert(at, range);
            made.push(range);
        }
        made
    }

    fn late(&self, time: i64, present: &[TimeRange], live_start: i64) -> TimeRange {
        let age_ns = live_start.saturating_sub(time);
        let longest = self.longest_ns().min(LATE_LENGTH_NS_MAX.max(age_ns / AGE_SHARE));
        let lengths = LENGTHS_NS.iter().rev().filter(|length| **length <= longest);
        let free = |range: &TimeRange| {
            range.end <= live_start && !present.iter().any(|other| other.overlaps(*range))
        };
        let found = lengths.map(|length| aligned(time, *length)).find(free);
        found.unwrap_or_else(|| within_gap(aligned(time, HOUR_NS), time, present))
    }

    /// The range to make ahead of the clock: the one after that of now, once less than a tenth
    /// of it is left. `None`: there is nothing to do.
    pub(crate) fn ahead(&self, present: &[TimeRange], now_ns: i64) -> Option<TimeRange> {
        let end = ends_soon(present, now_ns)?;
        Some(within_gap(aligned(end, self.live_ns()), end, present))
    }
}

/// Where the range of now ends, if it is the last one and less than a tenth of it is left.
pub(crate) fn ends_soon(present: &[TimeRange], now_ns: i64) -> Option<i64> {
    let live = holder(present, now_ns)?;
    let left = live.end.saturating_sub(now_ns);
    let length = live.end.saturating_sub(live.start);
    let is_last = present.last().is_some_and(|last| last.end == live.end);
    (is_last && left < length / 10).then_some(live.end)
}

/// The range of this length, aligned to the epoch, that holds `time`.
fn aligned(time: i64, length: i64) -> TimeRange {
    let start = time.checked_sub(time.rem_euclid(length)).unwrap_or(i64::MIN);
    TimeRange::new(start, start.saturating_add(length))
}

/// What is left of `range` around `time` between its neighbours.
fn within_gap(range: TimeRange, time: i64, present: &[TimeRange]) -> TimeRange {
    let after = present.partition_point(|other| other.start <= time);
    let start = present[..after].last().map_or(range.start, |before| before.end.max(range.start));
    let end = present.get(after).map_or(range.end, |next| next.start.min(range.end));
    TimeRange::new(start, end)
}

fn holder(ranges: &[TimeRange], time: i64) -> Option<TimeRange> {
    let after = ranges.partition_point(|range| range.start <= time);
    ranges[..after].last().copied().filter(|range| range.contains(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 20_000 * NS_PER_DAY + 5 * HOUR_NS;

    fn disjoint(ranges: &[TimeRange]) -> bool {
        let mut ranges = ranges.to_vec();
        ranges.sort_unstable();
        ranges.windows(2).all(|pair| pair[0].end <= pair[1].start)
    }

    #[test]
    fn rows_of_now_get_a_day_and_old_ones_the_longest_range() {
        let cutting = Cutting::default();
        let made = cutting.cover(&[NOW, NOW - 400 * NS_PER_DAY, NOW - NS_PER_DAY], &[], NOW);
        assert_eq!(made.len(), 3);
        assert!(disjoint(&made));
        let day = 20_000 * NS_PER_DAY;
        assert!(made.contains(&TimeRange::new(day, day + NS_PER_DAY)));
        assert_eq!(made[0].end - made[0].start, 32 * NS_PER_DAY);
        assert!(made.iter().all(|range| range.end <= day + NS_PER_DAY));
    }

    #[test]
    fn a_batch_over_a_thousand_days_needs_few_ranges() {
        let times: Vec<i64> = (0..1_000).map(|day| NOW - day * NS_PER_DAY).collect();
        let made = Cutting::default().cover(&times, &[], NOW);
        assert!(made.len() < 45 && disjoint(&made), "{}", made.len());
        assert!(times.iter().all(|time| made.iter().any(|range| range.contains(*time))));
    }

    #[test]
    fn history_of_decades_needs_few_ranges_and_late_rows_get_no_longer_ones_than_before() {
        let times: Vec<i64> = (1..56 * 365).map(|day| NOW - day * NS_PER_DAY).collect();
        let made = Cutting::default().cover(&times, &[], NOW);
        assert!(made.len() < 100 && disjoint(&made), "{}", made.len());
        assert!(times.iter().all(|time| made.iter().any(|range| range.contains(*time))));
        let recent = made.iter().filter(|range| range.start > NOW - 500 * NS_PER_DAY);
        assert!(recent.clone().count() > 10);
        assert!(recent.clone().all(|range| range.end - range.start <= 32 * NS_PER_DAY));
    }

    #[test]
    fn the_length_follows_the_rate_and_what_was_set() {
        let fast = Cutting { rows_per_s: Some(50_000.0), ..Cutting::default() };
        assert_eq!(fast.live_ns(), HOUR_NS);
        let slow = Cutting { rows_per_s: Some(1.0), ..Cutting::default() };
        assert_eq!(slow.live_ns(), 8 * NS_PER_DAY);
        let set = Cutting { set_ns: Some(7 * HOUR_NS), ..slow };
        let made = set.cover(&[NOW - 90 * NS_PER_DAY, NOW], &[], NOW);
        assert!(made.iter().all(|range| range.end - range.start == 7 * HOUR_NS));
        let kept = Cutting { retention_ns: Some(4 * NS_PER_DAY), ..slow };
        assert_eq!(kept.live_ns(), NS_PER_DAY);
    }

    #[test]
    fn a_gap_between_odd_neighbours_is_filled_exactly() {
        let present = [TimeRange::new(0, 7 * HOUR_NS), TimeRange::new(8 * HOUR_NS, 9 * HOUR_NS)];
        let made = Cutting::default().cover(&[7 * HOUR_NS + 1], &present, NOW);
        assert_eq!(made, [TimeRange::new(7 * HOUR_NS, 8 * HOUR_NS)]);
        let extremes = Cutting::default().cover(&[i64::MIN, i64::MAX - 1], &[], NOW);
        assert!(extremes[0].contains(i64::MIN) && extremes[1].contains(i64::MAX - 1));
    }

    #[test]
    fn the_next_range_is_made_before_the_clock_reaches_it() {
        let cutting = Cutting::default();
        let day = TimeRange::new(20_000 * NS_PER_DAY, 20_001 * NS_PER_DAY);
        assert_eq!(cutting.ahead(&[day], NOW), None);
        let next = TimeRange::new(day.end, day.end + NS_PER_DAY);
        assert_eq!(cutting.ahead(&[day], day.end - HOUR_NS), Some(next));
        assert_eq!(cutting.ahead(&[day, next], day.end - HOUR_NS), None);
    }
}
