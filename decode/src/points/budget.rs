//! The bound on what one batch may hold while it is decoded.

use crate::CELLS_MAX;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Cells that a table takes in advance, once it has as many: the shared count is seldom touched.
const AHEAD_MAX: usize = 4_096;

/// Cells, rows times fields, that the tables of one batch have taken together. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub(crate) struct CellBudget(Arc<AtomicUsize>);

/// A table's part of a budget.
#[derive(Debug)]
pub(super) struct CellShare {
    budget: CellBudget,
    taken: usize,
}

impl CellBudget {
    /// Cells taken.
    #[inline]
    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// A part of it without cells.
    pub(super) fn share(&self) -> CellShare {
        CellShare { budget: self.clone(), taken: 0 }
    }

    fn take(&self, cells: usize) -> bool {
        let more = |taken: usize| taken.checked_add(cells).filter(|taken| *taken <= CELLS_MAX);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }
}

impl CellShare {
    /// Whether the table may hold so many cells.
    #[inline]
    pub(super) fn covers(&mut self, cells: usize) -> bool {
        cells <= self.taken || self.grow(cells)
    }

    fn grow(&mut self, cells: usize) -> bool {
        let missing = cells - self.taken;
        let ahead = missing.max(self.taken.min(AHEAD_MAX));
        let Some(more) = [ahead, missing].into_iter().find(|more| self.budget.take(*more)) else {
            return false;
        };
        self.taken += more;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_share_what_a_batch_may_hold_and_small_ones_take_little() {
        let budget = CellBudget::default();
        let mut tables: Vec<CellShare> = (0..1_000).map(|_| budget.share()).collect();
        assert!(tables.iter_mut().all(|table| table.covers(10)));
        assert_eq!(budget.taken(), 10_000);
        let mut large = budget.share();
        assert!(large.covers(CELLS_MAX - 10_000) && !large.covers(CELLS_MAX - 9_999));
        assert!(tables[0].covers(10) && !tables[0].covers(11));
    }
}
