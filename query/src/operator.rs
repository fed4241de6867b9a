//! The window operator: a tight loop over rows sorted by (series, time), on several threads.

use crate::{
    Result,
    figures::Figures,
    parallel::{self, Sharing},
    plan::Plan,
    watch::Watch,
};
use oribi_model::{Block, BlockIter};
use std::ops::ControlFlow;

/// Bounds of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Windows at most.
    pub(crate) windows_max: u64,
    /// Threads, and when they are worth it.
    pub(crate) sharing: Sharing,
}

/// Folds all parts, of so many tablets. `hint` are the first and last window expected.
pub(crate) fn run(
    plan: &Plan,
    (parts, tablets): (Vec<BlockIter>, u64),
    hint: Option<(i64, i64)>,
    limits: Limits,
    watch: &Watch,
) -> Result<Figures> {
    let make = || Figures::new(plan, hint, limits.windows_max);
    let take = |figures: &mut Figures, part: usize, block: Block| {
        let block = plan.filter.apply(block, &plan.scan_columns)?;
        figures.take(plan, part, &block, watch).map(ControlFlow::Continue)
    };
    let mut states = parallel::fold(parts, limits.sharing, watch, make, take)?.into_iter();
    let mut figures = states.next().unwrap_or_else(make);
    for theirs in states {
        figures.merge(plan, theirs, watch)?;
    }
    figures.tablets = tablets;
    Ok(figures)
}
