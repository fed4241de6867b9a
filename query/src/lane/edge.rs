//! The earliest or latest value.

use super::slice::Slice;
use oribi_model::{SeriesKey, Value};
use std::cmp::Ordering;

/// The first or last value so far.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// Its time.
    pub(crate) time: i64,
    /// Its series, which decides ties.
    pub(crate) series: SeriesKey,
    /// The value.
    pub(crate) value: Value,
}

/// Takes rows into the earliest (`Less`) or latest (`Greater`) value.
pub(super) fn fold_edge(order: Ordering, cell: &mut Option<Edge>, slice: &Slice<'_>) {
    let valid = |row: &usize| slice.column.is_none_or(|column| !column.is_null(*row));
    let row = match order {
        Ordering::Less => slice.rows.clone().find(valid),
        _ => slice.rows.clone().rev().find(valid),
    };
    let Some(row) = row else { return };
    let time = slice.times[row];
    if let Some(held) = cell {
        let place = (time, slice.series).cmp(&(held.time, &held.series));
        if place != order {
            return;
        }
    }
    let Some(value) = slice.value(row) else { return };
    *cell = Some(Edge { time, series: slice.series.clone(), value });
}

/// Takes another earliest or latest value.
pub(super) fn take_edge(order: Ordering, cell: &mut Option<Edge>, edge: Option<Edge>) {
    let Some(edge) = edge else { return };
    let replaces = cell
        .as_ref()
        .is_none_or(|held| (edge.time, &edge.series).cmp(&(held.time, &held.series)) == order);
    if replaces {
        *cell = Some(edge);
    }
}
