//! All values, for percentiles.

use super::{
    cells::Cell,
    slice::Slice,
    values::{Values, Wanted},
};
use crate::{
    Result,
    form::{Take, put_count},
    select::Function,
};

/// All values in any order.
pub(super) struct Kept(Vec<f64>);

impl Cell for Kept {
    type Rule = ();

    fn empty((): ()) -> Kept {
        Kept(Vec::new())
    }

    fn fold(&mut self, (): (), slice: &Slice<'_>) -> usize {
        let before = self.0.capacity();
        slice.dense(|rows| self.0.extend(rows.map(|row| slice.number(row))));
        (self.0.capacity() - before) * size_of::<f64>()
    }

    fn merge(&mut self, (): (), other: Kept) -> usize {
        // The values were accounted for where they were taken in.
        match self.0.is_empty() {
            true => *self = other,
            false => self.0.extend(other.0),
        }
        0
    }

    fn values(cells: &mut [Kept], wanted: &Wanted<'_>) -> Result<Values> {
        let Function::Percentile(fraction) = wanted.item.function else {
            unreachable!("only percentiles keep values")
        };
        Ok(Values::Float(wanted.each(|slot| percentile(&mut cells[slot].0, fraction))))
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_count(out, self.0.len());
        self.0.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    }

    fn read(from: &mut Take<'_>) -> Result<(Kept, usize)> {
        let count = from.count(size_of::<f64>())?;
        let values = (0..count).map(|_| from.f64()).collect::<Result<Vec<_>>>()?;
        Ok((Kept(values), count * size_of::<f64>()))
    }
}

/// The percentile as SQL's `percentile_cont`.
fn percentile(values: &mut [f64], fraction: f64) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    let place = fraction * (values.len() - 1) as f64;
    let below = place.floor() as usize;
    let (_, low, above) = values.select_nth_unstable_by(below, f64::total_cmp);
    let low = *low;
    let share = place - below as f64;
    if share == 0.0 {
        return Some(low);
    }
    let high = above.iter().copied().min_by(f64::total_cmp).unwrap_or(low);
    Some(low + (high - low) * share)
}
