//! Which windows and groups have a row.

use super::{
    cell::{Cell, NONE},
    column::Column,
};
use crate::{
    Error, QueryOptions, Result,
    figures::{Settled, Slot},
    plan::Plan,
    question::{Fill, Order},
    windows::{Window, Windows},
};
use std::cmp::Reverse;

/// Order of groups by the values of their tags, nulls last.
pub(super) struct Groups {
    rank: Vec<u32>,
    by_rank: Vec<u32>,
}

impl Groups {
    pub(super) fn of(figures: &Settled) -> Groups {
        let mut by_rank: Vec<u32> = (0..figures.groups.len() as u32).collect();
        by_rank.sort_by(|a, b| {
            let key =
                |at: &u32| figures.groups[*at as usize].iter().map(|tag| (tag.is_none(), tag));
            key(a).cmp(key(b))
        });
        let mut rank = vec![0u32; by_rank.len()];
        for (place, group) in by_rank.iter().enumerate() {
            rank[*group as usize] = place as u32;
        }
        Groups { rank, by_rank }
    }
}

/// The slots with a value of some input, by window, then group.
pub(super) fn found(figures: &Settled, groups: &Groups) -> Vec<Cell> {
    let mut found: Vec<Cell> = figures
        .slots
        .iter()
        .enumerate()
        .filter(|(slot, _)| figures.presence.is_some(*slot))
        .map(|(place, Slot { group, window })| Cell {
            window: *window,
            group: *group,
            place: place as u32,
        })
        .collect();
    found.sort_unstable_by_key(|cell| (cell.window.index, groups.rank[cell.group as usize]));
    found
}

/// Only the cells that have a value in some column, with these columns' values.
pub(super) fn with_values(found: Vec<Cell>, columns: &mut [Column]) -> Vec<Cell> {
    let kept: Vec<u32> = (0..found.len() as u32)
        .filter(|at| columns.iter().any(|column| column.has_value(*at as usize)))
        .collect();
    if kept.len() == found.len() {
        return found;
    }
    columns.iter_mut().for_each(|column| column.pick(&kept));
    kept.iter().map(|at| found[*at as usize]).collect()
}

/// Every group in every window, as far as the limit makes them count, and within the windows of a
/// part if only that was read; places are those of `found`. Groups in `others` have values elsewhere.
pub(super) fn grid(
    plan: &Plan,
    found: &[Cell],
    groups: &Groups,
    (part, others): (Option<(i64, i64)>, &[u32]),
    options: &QueryOptions,
) -> Result<(Vec<Cell>, usize)> {
    let (Some(oldest), Some(newest)) = (found.first(), found.last()) else {
        return Ok((Vec::new(), 0));
    };
    let first = plan.start.map_or(oldest.window.index, |start| plan.windows.at(start).index);
    let last =
        plan.end.map_or(newest.window.index, |end| plan.windows.at(end.saturating_sub(1)).index);
    let windows = last.abs_diff(first).saturating_add(1);
    if windows > options.windows_max {
        return Err(Error::TooManyWindows { windows_max: options.windows_max });
    }
    let mut live = vec![false; groups.by_rank.len()];
    found.iter().for_each(|cell| live[cell.group as usize] = true);
    others.iter().for_each(|group| live[*group as usize] = true);
    let live: Vec<u32> =
        groups.by_rank.iter().copied().filter(|group| live[*group as usize]).collect();
    let (first, last) = match (part, plan.order) {
        (None, _) => (first, last),
        (Some((_, end)), Order::Ascending) => (first, last.min(end)),
        (Some((start, _)), Order::Descending) => (first.max(start), last),
    };
    let (first, last) = wanted(plan, (first, last), live.len());
    let total = (last.abs_diff(first) + 1).saturating_mul(live.len() as u64);
    if total > options.answer_rows_max as u64 {
        let limit = options.answer_rows_max as u64;
        return Err(Error::AnswerLimit { name: "answer_rows_max", limit });
    }
    let before = found.partition_point(|cell| cell.window.index < first);
    let mut places = (before as u32..).zip(&found[before..]).peekable();
    let mut grid = Vec::with_capacity(total as usize);
    for window in windows_of(&plan.windows, first, last) {
        for group in &live {
            let of_cell = |(_, cell): &(u32, &Cell)| {
                cell.window.index == window.index && cell.group == *group
            };
            let place = places.next_if(of_cell).map_or(NONE, |(place, _)| place);
            grid.push(Cell { window, group: *group, place });
        }
    }
    Ok((grid, live.len()))
}

/// The windows of a grid that the limit wants, and those from which they are filled.
fn wanted(plan: &Plan, (first, last): (i64, i64), groups: usize) -> (i64, i64) {
    let Some(limit) = plan.limit else { return (first, last) };
    let windows = limit.div_ceil(groups.max(1)).max(1);
    // Windows of no length are no rows; one more than there can be of them.
    let windows = i64::try_from(windows).unwrap_or(i64::MAX).saturating_add(2);
    match (plan.order, plan.fill) {
        // Filled from windows after them, or before.
        (_, Fill::Linear) | (Order::Descending, Fill::Previous) => (first, last),
        (Order::Ascending, _) => (first, last.min(first.saturating_add(windows))),
        (Order::Descending, _) => (first.max(last.saturating_sub(windows)), last),
    }
}

/// Windows one after the other, without those of no length, as a day that a zone left out.
fn windows_of(windows: &Windows, first: i64, last: i64) -> impl Iterator<Item = Window> {
    let mut start = windows.start(first);
    (first..=last).filter_map(move |index| {
        let end = windows.start(index.saturating_add(1)).max(start);
        let window = Window { index, start, end };
        start = end;
        (window.start < window.end).then_some(window)
    })
}

/// Places of the cells in the order asked.
pub(super) fn order(plan: &Plan, cells: &[Cell]) -> Vec<u32> {
    let mut rows: Vec<u32> = (0..cells.len() as u32).collect();
    if plan.order == Order::Descending {
        // Groups keep their order within a window, so whole windows are turned around.
        rows.sort_by_key(|at| Reverse(cells[*at as usize].window.index));
    }
    rows.truncate(plan.limit.unwrap_or(usize::MAX));
    rows
}
