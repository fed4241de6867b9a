//! The boundaries of the windows that a scan will meet, so that no row asks the zone for them.

use super::{Window, Windows};

/// Boundaries kept at most.
const WINDOWS_MAX: i64 = 4_096;

/// Starts of windows one after the other; empty where they are found by reckoning alone.
#[derive(Debug, Default)]
pub(crate) struct Cuts {
    first: i64,
    /// Of one window more than are held.
    starts: Vec<i64>,
}

impl Cuts {
    /// Boundaries of the windows from the first to the last of `hint`.
    pub(crate) fn new(windows: &Windows, hint: Option<(i64, i64)>) -> Cuts {
        let Windows::Calendar(_) = windows else { return Cuts::default() };
        match hint {
            Some((first, last)) if (0..WINDOWS_MAX).contains(&last.saturating_sub(first)) => {
                let starts = (first..=last + 1).map(|index| windows.start(index)).collect();
                Cuts { first, starts }
            }
            _ => Cuts::default(),
        }
    }

    /// The window that holds `time`.
    pub(crate) fn at(&self, windows: &Windows, time: i64) -> Window {
        let place = self.starts.partition_point(|start| *start <= time);
        if place == 0 || place == self.starts.len() {
            return windows.at(time);
        }
        let index = self.first + place as i64 - 1;
        Window { index, start: self.starts[place - 1], end: self.starts[place] }
    }
}
