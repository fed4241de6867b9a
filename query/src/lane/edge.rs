//! The earliest (`Ordering::Less`) or latest (`Ordering::Greater`) value.

use super::{Slice, Values, Wanted, best::text_bytes, cells::Cell};
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

const NONE: u8 = 0;
const INT: u8 = 1;
const FLOAT: u8 = 2;
const BOOL: u8 = 3;
const TEXT: u8 = 4;

/// Appends a value or its absence.
pub(super) fn put_value(out: &mut Vec<u8>, value: Option<&Value>) {
    match value {
        None => out.push(NONE),
        Some(Value::Int(value)) => {
            out.push(INT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Some(Value::Float(value)) => {
            out.push(FLOAT);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Some(Value::Bool(value)) => out.extend_from_slice(&[BOOL, u8::from(*value)]),
        Some(Value::Text(text)) => {
            out.push(TEXT);
            put_sized(out, text.as_bytes());
        }
    }
}

/// Reads a value or its absence.
pub(super) fn take_value(from: &mut Take<'_>) -> Result<Option<Value>> {
    Ok(Some(match from.u8()? {
        NONE => return Ok(None),
        INT => Value::Int(from.i64()?),
        FLOAT => Value::Float(from.f64()?),
        BOOL => Value::Bool(match from.u8()? {
            0 => false,
            1 => true,
            _ => return Err(wrong("a boolean is none")),
        }),
        TEXT => Value::Text(from.text()?.into()),
        _ => return Err(wrong("a value has no known type")),
    }))
}
