//! The least (`Ordering::Less`) or greatest (`Ordering::Greater`) value.

use super::{
    cells::Cell,
    slice::Slice,
    value::{put_value, take_value, text_bytes},
    values::{Values, Wanted},
};
use crate::{Result, form::Take, kernel};
use oribi_model::Value;
use std::cmp::Ordering;

/// Of numbers. Without rows it is the one that every other replaces.
pub(super) struct Best<T>(T);

/// A number that can be the best.
pub(super) trait Number: Copy + PartialOrd + Send + 'static {
    const LEAST: Self;
    const GREATEST: Self;

    fn of<'a>(slice: &'a Slice<'_>) -> &'a [Self];
    fn values(wanted: &Wanted<'_>, of: impl Fn(usize) -> Self) -> Values;
    fn put(self, out: &mut Vec<u8>);
    fn take(from: &mut Take<'_>) -> Result<Self>;
}

impl Number for i64 {
    const LEAST: i64 = i64::MIN;
    const GREATEST: i64 = i64::MAX;

    fn of<'a>(slice: &'a Slice<'_>) -> &'a [i64] {
        slice.ints()
    }

    fn values(wanted: &Wanted<'_>, of: impl Fn(usize) -> i64) -> Values {
        Values::Int(wanted.each(|slot| Some(of(slot))))
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<i64> {
        from.i64()
    }
}

impl Number for f64 {
    const LEAST: f64 = f64::NEG_INFINITY;
    const GREATEST: f64 = f64::INFINITY;

    fn of<'a>(slice: &'a Slice<'_>) -> &'a [f64] {
        slice.floats()
    }

    fn values(wanted: &Wanted<'_>, of: impl Fn(usize) -> f64) -> Values {
        // Of the two zeros, which compare equal, always the same.
        Values::Float(wanted.each(|slot| Some(of(slot) + 0.0)))
    }

    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn take(from: &mut Take<'_>) -> Result<f64> {
        from.f64()
    }
}

impl<T: Number> Cell for Best<T> {
    type Rule = Ordering;

    fn empty(order: Ordering) -> Best<T> {
        Best(if order == Ordering::Less { T::GREATEST } else { T::LEAST })
    }

    fn fold(&mut self, order: Ordering, slice: &Slice<'_>) -> usize {
        slice.dense(|rows| self.0 = best(order, &T::of(slice)[rows], self.0));
        0
    }

    fn merge(&mut self, order: Ordering, other: Best<T>) -> usize {
        self.0 = best(order, &[other.0], self.0);
        0
    }

    fn values(cells: &mut [Best<T>], wanted: &Wanted<'_>) -> Result<Values> {
        Ok(T::values(wanted, |slot| cells[slot].0))
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn read(from: &mut Take<'_>) -> Result<(Best<T>, usize)> {
        Ok((Best(T::take(from)?), 0))
    }
}

fn best<T: Copy + PartialOrd>(order: Ordering, values: &[T], seed: T) -> T {
    match order {
        Ordering::Less => kernel::best(values, seed, |a, b| a < b),
        _ => kernel::best(values, seed, |a, b| a > b),
    }
}

/// Of texts or booleans.
pub(super) struct BestOther(Option<Value>);

impl BestOther {
    fn take(&mut self, order: Ordering, value: Option<Value>) -> usize {
        let Some(value) = value else { return 0 };
        let replaces = match (&value, &self.0) {
            (_, None) => true,
            (Value::Text(new), Some(Value::Text(old))) => new.cmp(old) == order,
            (Value::Bool(new), Some(Value::Bool(old))) => new.cmp(old) == order,
            _ => false,
        };
        if !replaces {
            return 0;
        }
        let before = self.0.as_ref().map_or(0, text_bytes);
        let bytes = text_bytes(&value).saturating_sub(before);
        self.0 = Some(value);
        bytes
    }
}

impl Cell for BestOther {
    type Rule = Ordering;

    fn empty(_: Ordering) -> BestOther {
        BestOther(None)
    }

    fn fold(&mut self, order: Ordering, slice: &Slice<'_>) -> usize {
        slice.rows.clone().map(|row| self.take(order, slice.value(row))).sum()
    }

    fn merge(&mut self, order: Ordering, other: BestOther) -> usize {
        self.take(order, other.0);
        // The text was accounted for where it was taken in.
        0
    }

    fn values(cells: &mut [BestOther], wanted: &Wanted<'_>) -> Result<Values> {
        Ok(wanted.typed(|slot| cells[slot].0.as_ref()))
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_value(out, self.0.as_ref());
    }

    fn read(from: &mut Take<'_>) -> Result<(BestOther, usize)> {
        let value = take_value(from)?;
        let bytes = value.as_ref().map_or(0, text_bytes);
        Ok((BestOther(value), bytes))
    }
}
