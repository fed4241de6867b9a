//! When which sample of a recording is sent.

use super::recordings::Recording;
use std::sync::Arc;

/// A sample and the time that it gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// Event time, ns since the Unix epoch.
    pub(super) time_ns: i64,
    /// Place in the recording.
    pub(super) sample: usize,
}

/// The times of a replay, ns since the Unix epoch, and its steps, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Where history begins; from there samples keep their recorded time of day and steps.
    pub(super) history_from_ns: i64,
    /// From here on the samples follow each other as fast as those of now.
    pub(super) recent_from_ns: i64,
    /// When the replay was started; before, no step is shorter than `recent_step_ns`.
    pub(super) now_ns: i64,
    /// Least step before `now_ns`.
    pub(super) recent_step_ns: i64,
    /// Step from `now_ns` on.
    pub(super) step_ns: i64,
    /// Moves times within their step, so that devices do not all speak at once.
    pub(super) phase_ns: i64,
    /// Moves the recording in history, so that copies of a device differ, whole s.
    pub(super) shift_s: i64,
}

/// The samples of a recording in the order of their times, without end.
#[derive(Debug)]
pub(super) struct Replay {
    recording: Arc<Recording>,
    pace: Pace,
    /// Start of the present round of the recording, s; history only.
    round_s: i64,
    next: usize,
    /// Time of the next sample once history is over.
    time_ns: Option<i64>,
}

const NS_PER_S: i64 = 1_000_000_000;

impl Replay {
    /// A replay from the start of its history.
    pub(super) fn new(recording: Arc<Recording>, pace: Pace) -> Replay {
        let from_s = pace.history_from_ns.div_euclid(NS_PER_S) + pace.shift_s;
        let period_s = recording.period_s();
        let first = |round_s| recording.times_s.partition_point(|at_s| round_s + at_s < from_s);
        // The end of a round reaches into the first day of the next.
        let later_s = from_s - from_s.rem_euclid(period_s);
        let earlier_s = later_s - period_s;
        let (round_s, next) = match first(earlier_s) {
            next if next < recording.len() => (earlier_s, next),
            _ => (later_s, first(later_s)),
        };
        Replay { recording, pace, round_s, next, time_ns: None }
    }

    fn history(&mut self) -> Option<Due> {
        if self.next == self.recording.len() {
            self.next = 0;
            self.round_s += self.recording.period_s();
        }
        let at_s = self.round_s + self.recording.times_s[self.next] - self.pace.shift_s;
        let time_ns = at_s * NS_PER_S + self.pace.phase_ns;
        (time_ns < self.pace.recent_from_ns).then_some(Due { time_ns, sample: self.next })
    }
}

impl Iterator for Replay {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        let pace = self.pace;
        if self.time_ns.is_none()
            && let Some(due) = self.history()
        {
            self.next += 1;
            return Some(due);
        }
        let time_ns = self.time_ns.unwrap_or(pace.recent_from_ns + pace.phase_ns);
        let due = Due { time_ns, sample: self.next % self.recording.len() };
        let is_past = time_ns < pace.now_ns;
        let step_ns = if is_past { pace.step_ns.max(pace.recent_step_ns) } else { pace.step_ns };
        self.time_ns = Some(time_ns + step_ns);
        self.next = due.sample + 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_S: i64 = 86_400;

    fn pace() -> Pace {
        Pace {
            history_from_ns: 10 * DAY_S * NS_PER_S,
            recent_from_ns: 13 * DAY_S * NS_PER_S,
            now_ns: (13 * DAY_S + 10) * NS_PER_S,
            recent_step_ns: NS_PER_S,
            step_ns: NS_PER_S / 2,
            phase_ns: 0,
            shift_s: 0,
        }
    }

    fn recording() -> Arc<Recording> {
        // Two samples a day over two days.
        let csv = "step_s,a\n21600,1\n43200,2\n43200,3\n43200,4\n";
        Arc::new(Recording::parse("s", "d", csv).unwrap())
    }

    #[test]
    fn history_keeps_the_time_of_day_and_starts_over() {
        let history: Vec<Due> = Replay::new(recording(), pace()).take(7).collect();
        let hours: Vec<i64> =
            history.iter().map(|due| due.time_ns / NS_PER_S / 3_600 - 240).collect();
        assert_eq!(hours, [6, 18, 30, 42, 54, 66, 72]);
        let samples: Vec<usize> = history.iter().map(|due| due.sample).collect();
        assert_eq!(samples, [0, 1, 2, 3, 0, 1, 2]);
    }

    #[test]
    fn a_round_follows_another_without_a_gap() {
        // From noon to noon: the last sample lies in the first day of the next round.
        let csv = "step_s,a\n43200,1\n43200,2\n36000,3\n";
        let recording = Arc::new(Recording::parse("s", "d", csv).unwrap());
        let history: Vec<Due> = Replay::new(recording, pace()).take(7).collect();
        let hours: Vec<i64> =
            history.iter().map(|due| due.time_ns / NS_PER_S / 3_600 - 240).collect();
        assert_eq!(hours, [0, 10, 12, 24, 34, 36, 48]);
    }

    #[test]
    fn recent_samples_go_on_where_history_ended_in_two_steps() {
        let recent: Vec<Due> = Replay::new(recording(), pace()).skip(6).take(14).collect();
        let from_ns = pace().recent_from_ns;
        let halves: Vec<i64> =
            recent.iter().map(|due| (due.time_ns - from_ns) / (NS_PER_S / 2)).collect();
        assert_eq!(halves, [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23]);
        assert!(recent.windows(2).all(|pair| pair[1].sample == (pair[0].sample + 1) % 4));
    }

    #[test]
    fn times_ascend_whatever_the_phase_and_shift() {
        for (phase_ns, shift_s) in [(0, 0), (999_000_000, 0), (250_000_000, 133_200), (1, -5_000)] {
            let pace = Pace { phase_ns, shift_s, step_ns: 7, ..pace() };
            let times: Vec<i64> =
                Replay::new(recording(), pace).take(500).map(|due| due.time_ns).collect();
            assert!(times.is_sorted_by(|left, right| left < right));
            assert!(times[0] >= pace.history_from_ns);
        }
    }
}
