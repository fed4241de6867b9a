//! Tables and time ranges for rows that have none, as far as the budget goes.

use super::{Ingestor, translate};
use crate::{Result, budget::Turn};
use oribi_cluster::RangesWanted;
use oribi_model::{Name, TableId};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ranges of one table that are made, and written to for the first time, at once, since that takes
/// time of those who write meanwhile.
const RANGES_AT_ONCE_MAX: usize = 8;

/// What a write does about tables and ranges that are not there.
#[derive(Clone, Copy)]
pub(super) enum Missing<'a> {
    Defer,
    Make(&'a Making<'a>),
}

/// What a write may make for one table.
pub(super) struct Making<'a> {
    turn: &'a Turn,
    /// Whether the table was taken from the budget.
    is_taken: AtomicBool,
    /// How many ranges may still be made, once that was asked for.
    ranges_left: Mutex<Option<usize>>,
}

/// What was made for the rows of a table.
pub(super) enum Covered {
    Some,
    /// No more may be made now.
    Nothing,
    /// The table was dropped meanwhile.
    TableGone,
}

impl<'a> Making<'a> {
    pub(super) fn new(turn: &'a Turn) -> Making<'a> {
        Making { turn, is_taken: AtomicBool::new(false), ranges_left: Mutex::new(None) }
    }
}

impl Ingestor {
    /// Whether a table may be made, or get its first range.
    pub(super) fn may_make(&self, table: &Name, making: &Making<'_>) -> bool {
        // Oribi's own tables are few, and no dead letter may wait for a client's tables.
        if table.is_system() || making.is_taken.load(Ordering::Relaxed) {
            return true;
        }
        let is_taken = self.budget.take_table(making.turn);
        making.is_taken.store(is_taken, Ordering::Relaxed);
        is_taken
    }

    /// Makes some ranges for these times.
    pub(super) async fn cover(
        &self,
        table: TableId,
        times: &[i64],
        making: &Making<'_>,
    ) -> Result<Covered> {
        let catalog = self.node.catalog();
        let Some(found) = catalog.table_by_id(table) else { return Ok(Covered::TableGone) };
        let is_refused = AtomicBool::new(false);
        let grant = |wanted: RangesWanted| {
            let may = !wanted.is_first || self.may_make(&found.name, making);
            let mut left = making.ranges_left.lock();
            let left = left.get_or_insert_with(|| self.budget.share_of_ranges(table));
            let most = if may { wanted.count.min(RANGES_AT_ONCE_MAX).min(*left) } else { 0 };
            let granted = self.budget.take_ranges(table, most);
            *left -= granted;
            is_refused.store(granted == 0, Ordering::Relaxed);
            granted
        };
        match self.node.cover(table, times, grant).await {
            Err(oribi_cluster::Error::Refused(_)) => return Ok(Covered::TableGone),
            outcome => outcome.map_err(translate)?,
        };
        Ok(if is_refused.into_inner() { Covered::Nothing } else { Covered::Some })
    }
}
