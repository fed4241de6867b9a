//! Figures for the standard deviation: exact sums of the values and of their squares.

use super::{
    cells::Cell,
    slice::Slice,
    sum::{put_exact, take_exact},
    values::{Values, Wanted},
};
use crate::{
    Result,
    exact::{Exact, scaled, spread, units_of},
    form::Take,
};

/// Sums from which the deviation follows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Moments {
    count: u64,
    sum: Exact,
    squares: Exact,
}

impl Moments {
    /// Takes floats; returns the bytes that are held in addition.
    pub(crate) fn add_floats(&mut self, values: &[f64]) -> usize {
        self.count += values.len() as u64;
        self.sum.add_all(values) + add_squares(&mut self.squares, values)
    }

    /// Takes integers; returns the bytes that are held in addition.
    fn add_ints(&mut self, values: &[i64]) -> usize {
        self.count += values.len() as u64;
        let (mut sum, mut bytes) = (0i128, 0);
        for value in values {
            let value = i128::from(*value);
            sum += value;
            bytes += self.squares.add_units(value * value, 0);
        }
        bytes + self.sum.add_units(sum, 0)
    }

    /// Takes other values; returns the bytes that are held in addition.
    pub(crate) fn join(&mut self, other: &Moments) -> usize {
        self.count = self.count.saturating_add(other.count);
        self.sum.merge(&other.sum) + self.squares.merge(&other.squares)
    }

    /// Standard deviation; `None` below two values of a sample, or one of a population.
    pub(crate) fn stddev(&self, of: Whole) -> Option<f64> {
        self.figure(of, |variance, place| {
            // The root of an even power of two is one, too.
            let odd = place.rem_euclid(2);
            scaled((variance * f64::from(1 + odd)).sqrt(), (place - odd) / 2)
        })
    }

    /// Variance; `None` as for [`Moments::stddev`].
    pub(crate) fn variance(&self, of: Whole) -> Option<f64> {
        self.figure(of, scaled)
    }

    fn figure(&self, of: Whole, figure: impl FnOnce(f64, i32) -> f64) -> Option<f64> {
        let less = match of {
            Whole::Sample => 1,
            Whole::Population => 0,
        };
        if self.count <= less {
            return None;
        }
        let Some((spread, place)) = spread(self.count, &self.sum, &self.squares) else {
            return Some(f64::NAN);
        };
        Some(figure(spread / (self.count as f64 * (self.count - less) as f64), place))
    }

    /// Count, sum and sum of squares, the sums as bytes.
    pub(crate) fn to_parts(&self) -> (u64, Vec<u8>, Vec<u8>) {
        (self.count, self.sum.to_bytes(), self.squares.to_bytes())
    }

    /// What [`Moments::to_parts`] gave; `None` for other bytes.
    pub(crate) fn from_parts(count: u64, sum: &[u8], squares: &[u8]) -> Option<Moments> {
        Some(Moments { count, sum: Exact::from_bytes(sum)?, squares: Exact::from_bytes(squares)? })
    }
}

/// Of what the values are all there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Whole {
    /// Of a sample of more.
    Sample,
    /// Of everything.
    Population,
}

impl Cell for Moments {
    type Rule = ();

    fn empty((): ()) -> Moments {
        Moments::default()
    }

    fn fold(&mut self, (): (), slice: &Slice<'_>) -> usize {
        let mut bytes = 0;
        slice.dense(|rows| {
            bytes += match slice.is_float() {
                true => self.add_floats(&slice.floats()[rows]),
                false => self.add_ints(&slice.ints()[rows]),
            };
        });
        bytes
    }

    fn merge(&mut self, (): (), other: Moments) -> usize {
        self.join(&other)
    }

    fn values(cells: &mut [Moments], wanted: &Wanted<'_>) -> Result<Values> {
        Ok(Values::Float(wanted.each(|slot| cells[slot].stddev(Whole::Sample))))
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.count.to_le_bytes());
        put_exact(out, &self.sum);
        put_exact(out, &self.squares);
    }

    fn read(from: &mut Take<'_>) -> Result<(Moments, usize)> {
        let count = from.u64()?;
        let ((sum, one), (squares, other)) = (take_exact(from)?, take_exact(from)?);
        Ok((Moments { count, sum, squares }, one + other))
    }
}

/// Adds the squares of floats, most of them as integers of one place.
fn add_squares(squares: &mut Exact, values: &[f64]) -> usize {
    /// Places by which a square of 106 bits may be shifted within 128 bits.
    const SHIFT_MAX: i32 = 20;
    let (mut low, mut high, mut place) = (0u128, 0i128, i32::MAX);
    let mut bytes = 0;
    let mut flush = |low: &mut u128, high: &mut i128, place: i32| {
        let half = (*low & u128::from(u64::MAX)) as i128;
        bytes += squares.add_units(half, place);
        bytes += squares.add_units((*low >> 64) as i128, place + 64);
        bytes += squares.add_units(*high, place + 128);
        (*low, *high) = (0, 0);
    };
    for value in values {
        if !value.is_finite() {
            // The sum says what comes of it.
            continue;
        }
        let (units, unit_place) = units_of(*value);
        if units == 0 {
            continue;
        }
        let square_place = 2 * unit_place;
        if !(place..=place.saturating_add(SHIFT_MAX)).contains(&square_place) {
            if place != i32::MAX {
                flush(&mut low, &mut high, place);
            }
            place = square_place - SHIFT_MAX / 2;
        }
        let size = u128::from(units.unsigned_abs());
        let square = (size * size) << (square_place - place);
        let (sum, over) = low.overflowing_add(square);
        low = sum;
        high += i128::from(over);
    }
    if place != i32::MAX {
        flush(&mut low, &mut high, place);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(parts: &[&[f64]]) -> Option<f64> {
        let mut all = Moments::default();
        for part in parts {
            let mut one = Moments::default();
            one.add_floats(part);
            all.join(&one);
        }
        all.stddev(Whole::Sample)
    }

    #[test]
    fn deviations_do_not_cancel() {
        let root = 2f64.sqrt();
        for (values, expected) in [
            (&[1.0, 3.0][..], root),
            (&[1e15 + 1.0, 1e15 + 3.0], root),
            (&[1e200, 3e200], 1e200 * root),
            (&[1e-200, 3e-200], 1e-200 * root),
            (&[0.1, 0.1, 0.1], 0.0),
            (&[-1e300, 1e300, 0.0], 1e300),
        ] {
            let found = of(&[values]).unwrap();
            assert!(
                (found - expected).abs() <= 2.0 * f64::EPSILON * expected,
                "{values:?} {found}"
            );
            let single: Vec<&[f64]> = values.chunks(1).rev().collect();
            assert_eq!(of(&single), Some(found), "{values:?}");
        }
        assert_eq!(of(&[&[1.0]]), None);
        assert!(of(&[&[1.0, f64::INFINITY]]).unwrap().is_nan());
    }

    #[test]
    fn integers_deviate_as_floats_do() {
        let (mut ints, mut floats) = (Moments::default(), Moments::default());
        ints.add_ints(&[5, -7, 1 << 40, 12]);
        floats.add_floats(&[5.0, -7.0, (1u64 << 40) as f64, 12.0]);
        assert_eq!(ints.stddev(Whole::Sample), floats.stddev(Whole::Sample));
        let mut wide = Moments::default();
        wide.add_ints(&[i64::MIN, i64::MAX, i64::MIN, i64::MAX]);
        assert!(wide.stddev(Whole::Sample).is_some_and(|found| found > 1.06e19 && found < 1.07e19));
    }
}
