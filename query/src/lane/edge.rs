//! The earliest (`Ordering::Less`) or latest (`Ordering::Greater`) value.

use super::{
    cells::Cell,
    slice::Slice,
    value::{put_value, take_value, text_bytes},
    values::{Values, Wanted},
};
use crate::{
    Result,
    form::{Take, put_sized, wrong},
};
use oribi_model::{SeriesKey, Value};
use std::cmp::Ordering;

/// The first or last value so far.
pub(super) struct Edge {
    time: i64,
    /// Its series, which decides ties.
    series: SeriesKey,
    value: Value,
}

impl Edge {
    fn bytes(&self) -> usize {
        text_bytes(&self.value) + self.series.as_bytes().len()
    }
}

impl Cell for Option<Edge> {
    type Rule = Ordering;

    fn empty(_: Ordering) -> Option<Edge> {
        None
    }

    fn fold(&mut self, order: Ordering, slice: &Slice<'_>) -> usize {
        let valid = |row: &usize| slice.column.is_none_or(|column| !column.is_null(*row));
        let row = match order {
            Ordering::Less => slice.rows.clone().find(valid),
            _ => slice.rows.clone().rev().find(valid),
        };
        let Some(row) = row else { return 0 };
        let time = slice.times[row];
        if let Some(held) = self {
            let place = (time, slice.series).cmp(&(held.time, &held.series));
            if place != order {
                return 0;
            }
        }
        let Some(value) = slice.value(row) else { return 0 };
        let before = self.as_ref().map_or(0, |held| text_bytes(&held.value));
        let bytes = text_bytes(&value).saturating_sub(before);
        *self = Some(Edge { time, series: slice.series.clone(), value });
        bytes
    }

    fn merge(&mut self, order: Ordering, other: Option<Edge>) -> usize {
        let Some(edge) = other else { return 0 };
        let replaces = self
            .as_ref()
            .is_none_or(|held| (edge.time, &edge.series).cmp(&(held.time, &held.series)) == order);
        if replaces {
            *self = Some(edge);
        }
        // The text was accounted for where it was taken in.
        0
    }

    fn values(cells: &mut [Option<Edge>], wanted: &Wanted<'_>) -> Result<Values> {
        Ok(wanted.typed(|slot| cells[slot].as_ref().map(|edge| &edge.value)))
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_value(out, self.as_ref().map(|edge| &edge.value));
        if let Some(edge) = self {
            out.extend_from_slice(&edge.time.to_le_bytes());
            put_sized(out, edge.series.as_bytes());
        }
    }

    fn read(from: &mut Take<'_>) -> Result<(Option<Edge>, usize)> {
        let Some(value) = take_value(from)? else { return Ok((None, 0)) };
        let (time, series) = (from.i64()?, SeriesKey::from_bytes(from.sized()?));
        let series = series.ok_or_else(|| wrong("a series key is none"))?;
        let edge = Edge { time, series, value };
        let bytes = edge.bytes();
        Ok((Some(edge), bytes))
    }
}
