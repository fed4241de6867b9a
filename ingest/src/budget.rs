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

impl Turn {
    /// Whether no further table may be made.
    pub(crate) fn is_spent(&self) -> bool {
        self.tables.load(Ordering::Relaxed) == 0
    }
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

    /// What one write may take of a table's new ranges: half of what is left.
    pub(crate) fn share_of_ranges(&self, table: TableId) -> usize {
        share(self.of_table(&mut self.state.lock(), table).left)
    }

    /// How many new ranges a table may have now, of so many that it wants.
    pub(crate) fn take_ranges(&self, table: TableId, wanted: usize) -> usize {
        let mut state = self.state.lock();
        let level = self.of_table(&mut state, table);
        let count = wanted.min(level.left as usize);
        level.left -= count as f64;
        count
    }

    /// The budget of a table as of now. Each has one of its own.
    fn of_table<'s>(&self, state: &'s mut State, table: TableId) -> &'s mut Level {
        let (most, now) = (self.most, Instant::now());
        if state.ranges.len() > 2 * state.kept + 1024 {
            state.ranges.retain(|_, level| level.now(most, now) < most as f64);
            state.kept = state.ranges.len();
        }
        let level = state.ranges.entry(table).or_insert(Level { left: most as f64, as_of: now });
        level.now(most, now);
        level
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
        let take = |table, wanted| budget.take_ranges(TableId(table), wanted);
        assert_eq!([take(1, 6), take(1, 6), take(1, 6), take(2, 6)], [6, 2, 0, 6]);
        let share = |table| budget.share_of_ranges(TableId(table));
        assert_eq!([share(1), share(2), share(3)], [0, 1, 4]);
    }
}
