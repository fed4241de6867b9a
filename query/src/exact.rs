//! Sums of floats that are exact until they are read, so that no order of adding shows in them:
//! neither threads nor tablets, flushes or nodes change the last digit.
//!
//! A sum is an integer times a power of two. Chunks of values are cut at fixed binary places into
//! two parts, whose sums as floats are exact: the first step of Demmel and Nguyen, "Fast
//! Reproducible Floating-Point Summation", 2013. What spans too many places goes value by value.

mod bytes;
mod wide;

use wide::Wide;

/// Binary places of the values' first part below the greatest value.
const HIGH_PLACES: i32 = 39;
/// Binary places of the second part, which together reach what lies 2^28 below the greatest value.
const LOW_PLACES: i32 = 41;
/// Values whose parts a float sums exactly: 40 bits each, twelve more for their number.
const CHUNK: usize = 4_096;
/// Values that are added one by one, as cutting them takes longer.
const FEW: usize = 3;
const LANES: usize = 8;

/// The exact sum of floats.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Exact {
    /// `units` times 2^`place`.
    Small {
        /// How many.
        units: i128,
        /// Of which size.
        place: i32,
    },
    /// What a `Small` cannot hold.
    Wide(Box<Wide>),
    /// Some value was infinite or no number: the sum as IEEE 754 defines it.
    Odd(Odd),
}

/// A sum that is no number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Infinite.
    Above,
    /// Negative and infinite.
    Below,
    /// Not a number.
    Unknown,
}

impl Default for Exact {
    fn default() -> Exact {
        Exact::Small { units: 0, place: 0 }
    }
}

impl Exact {
    /// Adds values; returns the bytes that the sum now holds in addition.
    pub(crate) fn add_all(&mut self, values: &[f64]) -> usize {
        values.chunks(CHUNK).map(|chunk| self.add_chunk(chunk)).sum()
    }

    fn add_chunk(&mut self, values: &[f64]) -> usize {
        if values.len() <= FEW {
            return values.iter().map(|value| self.add(*value)).sum();
        }
        let top = exponent(greatest(values));
        // Beyond these, the places of the parts are no floats themselves.
        const TOP: std::ops::Range<i32> = -900..900;
        if !TOP.contains(&top) {
            return values.iter().map(|value| self.add(*value)).sum();
        }
        let (high_place, low_place) = (top - HIGH_PLACES, top - HIGH_PLACES - LOW_PLACES);
        match parts(values, high_place, low_place) {
            Some((high, low)) => {
                let units = (i128::from(high) << LOW_PLACES) + i128::from(low);
                self.add_units(units, low_place)
            }
            None => values.iter().map(|value| self.add(*value)).sum(),
        }
    }

    /// Adds one value; returns the bytes that the sum now holds in addition.
    pub(crate) fn add(&mut self, value: f64) -> usize {
        if !value.is_finite() {
            let odd = match value {
                f64::INFINITY => Odd::Above,
                f64::NEG_INFINITY => Odd::Below,
                _ => Odd::Unknown,
            };
            self.add_odd(odd);
            return 0;
        }
        let (units, place) = units_of(value);
        self.add_units(units.into(), place)
    }

    /// Adds `units` times 2^`place`; returns the bytes that the sum now holds in addition.
    pub(crate) fn add_units(&mut self, units: i128, place: i32) -> usize {
        if units == 0 {
            return 0;
        }
        match self {
            Exact::Small { units: held, place: held_place } => {
                if *held == 0 {
                    (*held, *held_place) = (units, place);
                    return 0;
                }
                let both = (*held, *held_place);
                if let Some(sum) = small_sum(both, (units, place)) {
                    (*held, *held_place) = sum;
                    return 0;
                }
                let mut wide = Wide::default();
                wide.add(both.0, both.1);
                wide.add(units, place);
                let bytes = size_of::<Wide>() + wide.bytes();
                *self = Exact::Wide(Box::new(wide));
                bytes
            }
            Exact::Wide(wide) => {
                let before = wide.bytes();
                wide.add(units, place);
                wide.bytes() - before
            }
            Exact::Odd(_) => 0,
        }
    }

    fn add_odd(&mut self, odd: Odd) {
        *self = match self {
            Exact::Odd(held) if *held != odd => Exact::Odd(Odd::Unknown),
            _ => Exact::Odd(odd),
        };
    }

    /// Adds another sum; returns the bytes that this one now holds in addition.
    pub(crate) fn merge(&mut self, other: &Exact) -> usize {
        match other {
            Exact::Small { units, place } => self.add_units(*units, *place),
            Exact::Wide(wide) => wide.pieces().map(|(units, at)| self.add_units(units, at)).sum(),
            Exact::Odd(odd) => {
                self.add_odd(*odd);
                0
            }
        }
    }

    /// The float nearest to the sum, of two as near the even one.
    pub(crate) fn value(&self) -> f64 {
        match self {
            Exact::Small { units, place } => scaled(*units as f64, *place),
            Exact::Wide(wide) => {
                let (mantissa, place) = wide.rounded();
                scaled(mantissa, place)
            }
            Exact::Odd(Odd::Above) => f64::INFINITY,
            Exact::Odd(Odd::Below) => f64::NEG_INFINITY,
            Exact::Odd(Odd::Unknown) => f64::NAN,
        }
    }

    /// The sum as a wide integer; `None` where it is no number.
    fn wide(&self) -> Option<Wide> {
        match self {
            Exact::Small { units, place } => {
                let mut wide = Wide::default();
                wide.add(*units, *place);
                Some(wide)
            }
            Exact::Wide(wide) => Some((**wide).clone()),
            Exact::Odd(_) => None,
        }
    }
}

/// `count` times `squares` less the square of `sum`, as a float and the power of two it is to be
/// multiplied with; `None` where a sum is no number.
pub(crate) fn spread(count: u64, sum: &Exact, squares: &Exact) -> Option<(f64, i32)> {
    let (sum, squares) = (sum.wide()?, squares.wide()?);
    let mut spread = squares.times(count);
    for (units, place) in sum.squared().pieces() {
        spread.add(-units, place);
    }
    Some(spread.rounded())
}

/// Exact sums of the values' parts in units of 2^`high_place` and 2^`low_place`; `None` where some
/// value has a third part, or is none.
fn parts(values: &[f64], high_place: i32, low_place: i32) -> Option<(i64, i64)> {
    // Adding and taking off one and a half times 2^52 units leaves whole units.
    const WHOLE: f64 = 1.5 * (1u64 << 52) as f64;
    let (high_cut, low_cut) = (WHOLE * power(high_place), WHOLE * power(low_place));
    let cut = |value: f64| {
        let high = (value + high_cut) - high_cut;
        let rest = value - high;
        let low = (rest + low_cut) - low_cut;
        (high, low, (rest - low).to_bits())
    };
    let mut highs = [0.0f64; LANES];
    let mut lows = [0.0f64; LANES];
    let mut rests = [0u64; LANES];
    let chunks = values.chunks_exact(LANES);
    let last = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            let (high, low, rest) = cut(chunk[lane]);
            highs[lane] += high;
            lows[lane] += low;
            rests[lane] |= rest;
        }
    }
    let (mut high_sum, mut low_sum) = (highs.iter().sum::<f64>(), lows.iter().sum::<f64>());
    let mut left = rests.iter().fold(0, |all, rest| all | rest);
    for value in last {
        let (high, low, rest) = cut(*value);
        high_sum += high;
        low_sum += low;
        left |= rest;
    }
    // What is no number leaves something, too; a zero may have a sign.
    const SIGN: u64 = 1 << 63;
    let units = |sum: f64, place: i32| (sum * power(-place)) as i64;
    (left & !SIGN == 0).then(|| (units(high_sum, high_place), units(low_sum, low_place)))
}

fn small_sum(one: (i128, i32), other: (i128, i32)) -> Option<(i128, i32)> {
    let (low, high) = if one.1 <= other.1 { (one, other) } else { (other, one) };
    let shift = (high.1 - low.1) as u32;
    if let Some(sum) = shifted(high.0, shift).and_then(|high| high.checked_add(low.0)) {
        return Some((sum, low.1));
    }
    // Trailing zeros of the finer one may leave room.
    let spare = low.0.trailing_zeros().min(shift);
    let sum = shifted(high.0, shift - spare)?.checked_add(low.0 >> spare)?;
    Some((sum, low.1 + spare as i32))
}

fn shifted(units: i128, by: u32) -> Option<i128> {
    let room = units.unsigned_abs().leading_zeros();
    (by + 1 < room).then(|| units << by)
}

/// A finite float as a whole number times a power of two.
pub(crate) fn units_of(value: f64) -> (i64, i32) {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as i32;
    let fraction = (bits & ((1 << 52) - 1)) as i64;
    let units = if exponent == 0 { fraction } else { fraction | 1 << 52 };
    (if value < 0.0 { -units } else { units }, exponent.max(1) - 1_075)
}

/// The power of two at or below `value`, which is not negative.
fn exponent(value: f64) -> i32 {
    (value.to_bits() >> 52) as i32 - 1_023
}

/// 2^`exponent`, from -1022 to 1023.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1_023) as u64) << 52)
}

/// `value`, which is 0 or at least 1 in size, times 2^`place`, rounded once.
pub(crate) fn scaled(value: f64, place: i32) -> f64 {
    const STEP: i32 = 1_000;
    let (mut value, mut place) = (value, place);
    while place.abs() > STEP && value != 0.0 && value.is_finite() {
        let step = place.clamp(-STEP, STEP);
        value *= power(step);
        place -= step;
    }
    value * power(place.clamp(-STEP, STEP))
}

/// The greatest of the values' sizes; what is no number counts as nothing.
fn greatest(values: &[f64]) -> f64 {
    let greater = |a: f64, b: f64| if b.abs() > a { b.abs() } else { a };
    let mut most = [0.0f64; LANES];
    let chunks = values.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for lane in 0..LANES {
            most[lane] = greater(most[lane], chunk[lane]);
        }
    }
    most.iter().chain(rest).fold(0.0, |most, value| greater(most, *value))
}

#[cfg(test)]
mod tests;
