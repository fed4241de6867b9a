//! Decoded pages in the narrowest form that holds them: a sensor's values seldom need eight bytes
//! each, and what is narrow stays longer. Cells are widened as they are read.

use crate::bits::{POWERS, decimals};
use arrow_array::{Float64Array, Int64Array};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use oribi_model::ColumnValues;
use std::{ops::Range, sync::Arc};

/// Whole numbers as `base + unit * offset`.
#[derive(Debug, Clone)]
pub(crate) struct Numbers {
    base: i64,
    unit: i64,
    offsets: Offsets,
}

#[derive(Debug, Clone)]
enum Offsets {
    Bytes(Arc<[u8]>),
    Shorts(Arc<[u16]>),
    Words(Arc<[u32]>),
    /// Numbers themselves, where they lie too far apart.
    Longs(ScalarBuffer<i64>),
}

/// The cells of a page of one column.
#[derive(Debug, Clone)]
pub(crate) enum Cells {
    Ints(Numbers, Option<NullBuffer>),
    /// Integers and the power of ten by which they are divided.
    Decimals(Numbers, u8, Option<NullBuffer>),
    Plain(ColumnValues),
}

macro_rules! each_width {
    ($offsets:expr, $inner:ident => $body:expr, $longs:ident => $plain:expr) => {
        match $offsets {
            Offsets::Bytes($inner) => $body,
            Offsets::Shorts($inner) => $body,
            Offsets::Words($inner) => $body,
            Offsets::Longs($longs) => $plain,
        }
    };
}

impl Numbers {
    pub(crate) fn of(values: &[i64]) -> Numbers {
        let least = values.iter().copied().min().unwrap_or_default();
        let span = values.iter().copied().max().unwrap_or_default().abs_diff(least);
        // Units are constants, since dividing by one costs a tenth.
        if u32::try_from(span).is_ok() {
            Numbers::in_unit::<1>(values, least, span)
        } else if divides::<1_000_000_000>(values, least) {
            Numbers::in_unit::<1_000_000_000>(values, least, span)
        } else if divides::<1_000_000>(values, least) {
            Numbers::in_unit::<1_000_000>(values, least, span)
        } else {
            Numbers::in_unit::<1>(values, least, span)
        }
    }

    fn in_unit<const UNIT: u64>(values: &[i64], least: i64, span: u64) -> Numbers {
        let offset = |value: &i64| value.abs_diff(least) / UNIT;
        let span = span / UNIT;
        let offsets = if u8::try_from(span).is_ok() {
            Offsets::Bytes(values.iter().map(|value| offset(value) as u8).collect())
        } else if u16::try_from(span).is_ok() {
            Offsets::Shorts(values.iter().map(|value| offset(value) as u16).collect())
        } else if u32::try_from(span).is_ok() {
            Offsets::Words(values.iter().map(|value| offset(value) as u32).collect())
        } else {
            Offsets::Longs(values.to_vec().into())
        };
        Numbers { base: least, unit: UNIT as i64, offsets }
    }

    pub(crate) fn len(&self) -> usize {
        each_width!(&self.offsets, offsets => offsets.len(), longs => longs.len())
    }

    fn at(&self, place: usize) -> i64 {
        each_width!(
            &self.offsets,
            offsets => self.base + self.unit * i64::from(offsets[place]),
            longs => longs[place]
        )
    }

    pub(crate) fn slice(&self, rows: Range<usize>) -> Vec<i64> {
        let (base, unit) = (self.base, self.unit);
        each_width!(
            &self.offsets,
            offsets => match unit {
                1 => offsets[rows].iter().map(|offset| base + i64::from(*offset)).collect(),
                _ => offsets[rows].iter().map(|offset| base + unit * i64::from(*offset)).collect(),
            },
            longs => longs[rows].to_vec()
        )
    }

    /// The first place in `rows` from which on numbers are at least `least`, where they ascend.
    pub(crate) fn partition(&self, rows: Range<usize>, least: i64) -> usize {
        let (mut low, mut high) = (rows.start, rows.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.at(middle) < least { low = middle + 1 } else { high = middle }
        }
        low
    }

    pub(super) fn bytes(&self) -> usize {
        each_width!(
            &self.offsets,
            offsets => size_of_val(&offsets[..]),
            longs => size_of_val(&longs[..])
        )
    }
}

fn divides<const UNIT: u64>(values: &[i64], least: i64) -> bool {
    values.iter().all(|value| value.abs_diff(least).is_multiple_of(UNIT))
}

impl Cells {
    pub(crate) fn of(values: &ColumnValues) -> Cells {
        match values {
            ColumnValues::Int(array) => {
                Cells::Ints(Numbers::of(array.values()), array.nulls_if_any())
            }
            ColumnValues::Float(array) => {
                let mut scaled = Vec::with_capacity(array.values().len());
                match decimals(array.values(), &mut scaled) {
                    Some(power) => {
                        Cells::Decimals(Numbers::of(&scaled), power, array.nulls_if_any())
                    }
                    None => Cells::Plain(values.clone()),
                }
            }
            ColumnValues::Bool(_) | ColumnValues::Text(_) => Cells::Plain(values.clone()),
        }
    }

    pub(crate) fn slice(&self, rows: Range<usize>) -> ColumnValues {
        let cut = |nulls: &Option<NullBuffer>| {
            let nulls = nulls.as_ref().map(|nulls| nulls.slice(rows.start, rows.len()));
            nulls.filter(|nulls| nulls.null_count() > 0)
        };
        match self {
            Cells::Ints(numbers, nulls) => {
                let values = numbers.slice(rows.clone());
                ColumnValues::Int(Int64Array::new(values.into(), cut(nulls)))
            }
            Cells::Decimals(numbers, power, nulls) => {
                let by = POWERS[usize::from(*power)];
                let values = numbers.slice(rows.clone());
                let values: Vec<f64> = values.into_iter().map(|value| value as f64 / by).collect();
                ColumnValues::Float(Float64Array::new(values.into(), cut(nulls)))
            }
            Cells::Plain(values) => values.slice(rows.start, rows.len()),
        }
    }

    /// Bytes that the page's own cells take; a slice counts as its share of the buffer.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Cells::Ints(numbers, nulls) | Cells::Decimals(numbers, _, nulls) => {
                numbers.bytes() + nulls.as_ref().map_or(0, |nulls| nulls.len() / 8)
            }
            Cells::Plain(ColumnValues::Text(texts)) => {
                let offsets = texts.offsets();
                (offsets[offsets.len() - 1] - offsets[0]) as usize + 4 * offsets.len()
            }
            Cells::Plain(ColumnValues::Bool(flags)) => flags.values().len() / 8,
            Cells::Plain(numbers) => 8 * numbers.len(),
        }
    }
}

trait NullsIfAny {
    fn nulls_if_any(&self) -> Option<NullBuffer>;
}

impl<A: arrow_array::Array> NullsIfAny for A {
    fn nulls_if_any(&self) -> Option<NullBuffer> {
        self.nulls().filter(|nulls| nulls.null_count() > 0).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_come_back_at_every_width() {
        let second = 1_000_000_000;
        let cases: [(&[i64], usize); 7] = [
            (&[], 0),
            (&[-3, 7, 200], 1),
            (&[1_000_000, 1_040_000], 2),
            (&[0, u32::MAX as i64], 4),
            (&[1_451_606_400 * second, 1_451_606_410 * second, 1_451_690_000 * second], 4),
            (&[0, i64::MAX], 8),
            (&[i64::MIN, i64::MAX], 8),
        ];
        for (values, width) in cases {
            let numbers = Numbers::of(values);
            assert_eq!(numbers.slice(0..values.len()), values);
            assert_eq!(numbers.bytes(), width * values.len(), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn cells_come_back_as_they_were(
            cells in prop::collection::vec(prop::option::of(any::<i16>()), 1..80),
            places in prop::collection::vec(any::<prop::sample::Index>(), 2),
        ) {
            let mut ends: Vec<usize> = places.iter().map(|at| at.index(cells.len())).collect();
            ends.sort_unstable();
            let tenths = |cell: &Option<i16>| cell.map(|value| f64::from(value) / 10.0);
            let odd = |cell: &Option<i16>| cell.map(|value| f64::from(value) / 7.0);
            for values in [
                ColumnValues::Int(cells.iter().map(|cell| cell.map(i64::from)).collect()),
                ColumnValues::Float(cells.iter().map(tenths).collect()),
                ColumnValues::Float(cells.iter().map(odd).collect()),
            ] {
                let part = Cells::of(&values).slice(ends[0]..ends[1]);
                prop_assert_eq!(part, values.slice(ends[0], ends[1] - ends[0]));
            }
        }

        #[test]
        fn partition_finds_the_first(mut values in prop::collection::vec(any::<i32>(), 0..50), least: i32) {
            values.sort_unstable();
            let values: Vec<i64> = values.into_iter().map(i64::from).collect();
            let expected = values.partition_point(|value| *value < i64::from(least));
            prop_assert_eq!(Numbers::of(&values).partition(0..values.len(), i64::from(least)), expected);
        }
    }
}
