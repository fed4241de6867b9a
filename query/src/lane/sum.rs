//! Sums.

use super::{
    cells::Cell,
    slice::Slice,
    values::{Values, Wanted},
};
use crate::{
    Result,
    exact::Exact,
    form::{Take, put_sized, wrong},
    kernel,
    select::Function,
};

/// Of integers.
pub(super) struct SumInt(i128);

impl Cell for SumInt {
    type Rule = ();

    fn empty((): ()) -> SumInt {
        SumInt(0)
    }

    fn fold(&mut self, (): (), slice: &Slice<'_>) -> usize {
        slice.dense(|rows| self.0 += kernel::sum_int(&slice.ints()[rows]));
        0
    }

    fn merge(&mut self, (): (), other: SumInt) -> usize {
        // Sums of rows that are there stay far below; what comes as bytes need not.
        self.0 = self.0.saturating_add(other.0);
        0
    }

    fn values(cells: &mut [SumInt], wanted: &Wanted<'_>) -> Result<Values> {
        match wanted.item.function {
            Function::Mean => Ok(wanted.means(|slot| cells[slot].0 as f64)),
            _ => wanted.whole(|slot| Some(cells[slot].0)),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_le_bytes());
    }

    fn read(from: &mut Take<'_>) -> Result<(SumInt, usize)> {
        Ok((SumInt(from.i128()?), 0))
    }
}

/// Of floats.
pub(super) struct SumFloat(Exact);

impl Cell for SumFloat {
    type Rule = ();

    fn empty((): ()) -> SumFloat {
        SumFloat(Exact::default())
    }

    fn fold(&mut self, (): (), slice: &Slice<'_>) -> usize {
        let mut bytes = 0;
        slice.dense(|rows| bytes += self.0.add_all(&slice.floats()[rows]));
        bytes
    }

    fn merge(&mut self, (): (), other: SumFloat) -> usize {
        self.0.merge(&other.0)
    }

    fn values(cells: &mut [SumFloat], wanted: &Wanted<'_>) -> Result<Values> {
        let sum = |slot: usize| cells[slot].0.value();
        Ok(match wanted.item.function {
            Function::Mean => wanted.means(sum),
            _ => Values::Float(wanted.each(|slot| Some(sum(slot)))),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_exact(out, &self.0);
    }

    fn read(from: &mut Take<'_>) -> Result<(SumFloat, usize)> {
        let (sum, bytes) = take_exact(from)?;
        Ok((SumFloat(sum), bytes))
    }
}

/// Appends an exact sum.
pub(super) fn put_exact(out: &mut Vec<u8>, sum: &Exact) {
    put_sized(out, &sum.to_bytes());
}

/// Reads an exact sum, and tells what it holds besides its own bytes.
pub(super) fn take_exact(from: &mut Take<'_>) -> Result<(Exact, usize)> {
    let bytes = from.sized()?;
    let sum = Exact::from_bytes(bytes).ok_or_else(|| wrong("a sum is none"))?;
    Ok((sum, bytes.len()))
}
