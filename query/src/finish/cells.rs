//! Which windows and groups have a row.

use crate::{
    Error, QueryOptions, Result,
    lane::{Lane, LaneKind},
    operator::Figures,
    plan::{Fill, Order, Plan},
};

/// Slot of a cell into which no row fell.
pub(super) const NO_SLOT: u32 = u32::MAX;

/// One row to come: window, group and slot, if rows fell into it.
#[derive(Clone, Copy)]
pub(super) struct Cell {
    pub(super) window: i64,
    pub(super) group: u32,
    pub(super) slot: u32,
}

/// The cells by window, then group.
pub(super) fn cells(plan: &Plan, figures: &Figures, options: &QueryOptions) -> Result<Vec<Cell>> {
    let mut by_name: Vec<u32> = (0..figures.groups.len() as u32).collect();
    by_name.sort_by(|a, b| {
        let key = |at: &u32| figures.groups[*at as usize].iter().map(|tag| (tag.is_none(), tag));
        key(a).cmp(key(b))
    });
    let mut rank = vec![0u32; by_name.len()];
    for (place, group) in by_name.iter().enumerate() {
        rank[*group as usize] = place as u32;
    }
    let mut found: Vec<Cell> = figures
        .slots
        .iter()
        .enumerate()
        .filter(|(slot, _)| has_value(plan, figures, *slot))
        .map(|(slot, (group, window))| Cell { window: *window, group: *group, slot: slot as u32 })
        .collect();
    found.sort_unstable_by_key(|cell| (cell.window, rank[cell.group as usize]));
    if plan.fill == Fill::None || found.is_empty() {
        return Ok(found);
    }
    let first = match plan.start {
        Some(start) => plan.windows.at(start).index,
        None => found[0].window,
    };
    let last = match plan.end {
        Some(end) => plan.windows.at(end.saturating_sub(1)).index,
        None => found[found.len() - 1].window,
    };
    let windows = last.abs_diff(first).saturating_add(1);
    if windows > options.windows_max {
        return Err(Error::TooManyWindows { windows_max: options.windows_max });
    }
    let mut live = vec![false; by_name.len()];
    found.iter().for_each(|cell| live[cell.group as usize] = true);
    by_name.retain(|group| live[*group as usize]);
    let total = windows.saturating_mul(by_name.len() as u64);
    if total > options.answer_rows_max as u64 {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let mut found = found.into_iter().peekable();
    let mut grid = Vec::with_capacity(total as usize);
    for window in first..=last {
        for group in &by_name {
            let cell = found.next_if(|cell| cell.window == window && cell.group == *group);
            grid.push(cell.unwrap_or(Cell { window, group: *group, slot: NO_SLOT }));
        }
    }
    Ok(grid)
}

/// Places of the cells in the order asked.
pub(super) fn order(plan: &Plan, cells: &[Cell]) -> Vec<usize> {
    let mut rows: Vec<usize> = (0..cells.len()).collect();
    if plan.order == Order::Descending {
        // Groups keep their order within a window, so whole windows are turned around.
        rows.sort_by_key(|at| std::cmp::Reverse(cells[*at].window));
    }
    rows.truncate(plan.limit.unwrap_or(usize::MAX));
    rows
}

fn has_value(plan: &Plan, figures: &Figures, slot: usize) -> bool {
    plan.lanes.iter().zip(&figures.lanes).any(|(spec, lane)| match lane {
        Lane::Count(counts) if spec.kind == LaneKind::Count => counts[slot] > 0,
        _ => false,
    })
}
