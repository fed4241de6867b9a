//! Which questions go on while questions give way to writes.

use oribi_model::Pressure;
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Of the questions that run otherwise, one of so many goes on.
const SHARE: usize = 8;
/// What a question leaves to writes after each block while they wait; most blocks take a small part
/// of it.
const REST: Duration = Duration::from_millis(20);

/// Turns of which few are given while pressure is high.
#[derive(Debug)]
pub(crate) struct Turns {
    pressure: Pressure,
    most: usize,
    taken: AtomicUsize,
}

impl Turns {
    pub(crate) fn new(pressure: Pressure, running_max: usize) -> Turns {
        Turns { pressure, most: (running_max / SHARE).max(1), taken: AtomicUsize::new(0) }
    }

    /// Whether only those go on that have a turn.
    pub(crate) fn are_needed(&self) -> bool {
        self.pressure.is_high()
    }

    /// How many go on then: none where the process holds all that it may, as writes would wait for what a
    /// question holds.
    pub(crate) fn most(&self) -> usize {
        if self.pressure.is_full() { 0 } else { self.most }
    }

    /// Takes a turn, if one is left.
    pub(crate) fn take(&self) -> bool {
        let more = |taken: usize| (taken < self.most()).then_some(taken + 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    /// Leaves the cores to writes for a moment where these wait. Blocks.
    pub(crate) fn rest(&self) {
        if self.pressure.is_behind() {
            std::thread::sleep(REST);
        }
    }

    pub(crate) fn give_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}
