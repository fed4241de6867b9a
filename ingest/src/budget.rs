//! How many new tables and time ranges writes may cause.

use oribi_model::TableId;
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

const MINUTE: Duration = Duration::from_secs(60);

/// New tables, and new ranges of each table, that may be made; what was taken comes back steadily
/// over a minute.
pub(crate) struct Budget {
    /// Of each kind in a minute, and at once.
    most: usize,
    state: Mutex<State>,
}

struct State {
    /// First ranges of tables, together.
    tables: Level,
    /// Further ones, by table; full ones are left out.
    ranges: HashMap<TableId, Level>,
    /// Tables that `ranges` had after full ones were left out.
    kept: usize,
}

#[derive(Clone, Copy)]
struct Level {
    left: f64,
    as_of: Instant,
}

impl Level {
    fn now(&mut self, most: usize, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.as_of).as_secs_f64();
        self.left = (self.left + passed * most as f64 / MINUTE.as_secs_f64()).min(most as f64);
        self.as_of = now;
        self.left
    }
}

/// What one write may take of the tables that are left: at most half, so that one writer of
/// thousands leaves some to each of the others.
pub(crate) struct Turn {
    tables: AtomicUsize,
}

fn share(left: f64) -> usize {
    if left < 1.0 { 0 } else { ((left / 2.0) as usize).max(1) }
}

impl Budget {
    pub(crate) fn new(most: usize) -> Budget {
        let tables = Level { left: most as f64, as_of: Instant::now() };
        let state = State { tables, ranges: HashMap::new(), kept: 0 };
        Budget { most, state: Mutex::new(state) }
    }

    pub(crate) fn turn(&self) -> Turn {
        let left = self.state.lock().tables.now(self.most, Instant::now());
        Turn { tables: AtomicUsize::new(share(left)) }
    }

    /// Takes a new table, if one is left.
    pub(crate) fn take_table(&self, turn: &Turn) -> bool {
        let mut state = self.state.lock();
        let take = |left: usize| left.checked_sub(1);
        let took = || turn.tables.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take);
        let is_left = state.tables.now(self.most, Instant::now()) >= 1.0 && took().is_ok();
        if is_left {
            state.tables.left -= 1.0;
        }
        is_left
    }

    /// How many new ranges a table may have now, of so many that it wants. Each table has a budget,
    /// of which one write takes at most half.
    pub(crate) fn take_ranges(&self, table: TableId, wanted: usize) -> usize {
        let now = Instant::now();
        let mut state = self.state.lock();
        if state.ranges.len() > 2 * state.kept + 1024 {
            let most = self.most;
            state.ranges.retain(|_, level| level.now(most, now) < most as f64);
            state.kept = state.ranges.len();
        }
        let full = Level { left: self.most as f64, as_of: now };
        let level = state.ranges.entry(table).or_insert(full);
        let count = wanted.min(share(level.now(self.most, now)));
        level.left -= count as f64;
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_of_thousands_leaves_something_to_others() {
        let budget = Budget::new(100);
        let greedy = || {
            let turn = budget.turn();
            (0..1000).filter(|_| budget.take_table(&turn)).count()
        };
        let taken: Vec<usize> = (0..4).map(|_| greedy()).collect();
        assert_eq!(taken, [50, 25, 12, 6]);
        assert!(budget.take_table(&budget.turn()));
    }

    #[test]
    fn tables_do_not_take_each_others_ranges() {
        let budget = Budget::new(8);
        let take = |table| budget.take_ranges(TableId(table), 100);
        assert_eq!([take(1), take(1), take(1), take(2)], [4, 2, 1, 4]);
    }
}
