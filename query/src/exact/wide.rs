//! Integers of any width, times a power of two.

/// Bits of a limb.
const LIMB_BITS: i32 = 64;

/// A whole number in two's complement, the least limb first, times 2^`place`.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Wide {
    place: i32,
    limbs: Vec<u64>,
}

impl Wide {
    /// Place and limbs, the least first.
    pub(super) fn parts(&self) -> (i32, &[u64]) {
        (self.place, &self.limbs)
    }

    /// The number of these parts.
    pub(super) fn of_parts(place: i32, limbs: Vec<u64>) -> Wide {
        Wide { place, limbs }
    }

    /// Bytes on the heap.
    pub(super) fn bytes(&self) -> usize {
        self.limbs.capacity() * size_of::<u64>()
    }

    /// Adds `units` times 2^`place`.
    pub(super) fn add(&mut self, units: i128, place: i32) {
        if self.limbs.is_empty() {
            self.place = place;
        }
        if place < self.place {
            let more = (self.place - place + LIMB_BITS - 1) / LIMB_BITS;
            self.limbs.splice(0..0, std::iter::repeat_n(0, more as usize));
            self.place -= more * LIMB_BITS;
        }
        let (limb, shift) = ((place - self.place) / LIMB_BITS, (place - self.place) % LIMB_BITS);
        let limb = limb as usize;
        // Three limbs hold the number, one more its sign and the carry.
        let sign = self.sign();
        if self.limbs.len() < limb + 4 {
            self.limbs.resize(limb + 4, sign);
        }
        let low = (units as u128) << shift;
        let high = if shift == 0 { units >> 127 } else { units >> (128 - shift) };
        let negative = if units < 0 { u64::MAX } else { 0 };
        let digits = [low as u64, (low >> 64) as u64, high as u64];
        let mut carry = false;
        for (at, held) in self.limbs[limb..].iter_mut().enumerate() {
            let digit = digits.get(at).copied().unwrap_or(negative);
            let (sum, first) = held.overflowing_add(digit);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            carry = first | second;
            *held = sum;
        }
        self.widen();
    }

    fn sign(&self) -> u64 {
        match self.limbs.last() {
            Some(top) if top >> 63 == 1 => u64::MAX,
            _ => 0,
        }
    }

    /// Leaves room for the next sum above the number.
    fn widen(&mut self) {
        let sign = self.sign();
        if self.limbs.last().is_some_and(|top| *top != sign) {
            self.limbs.push(sign);
        }
    }

    /// Numbers that make up this one when they are summed.
    pub(super) fn pieces(&self) -> impl Iterator<Item = (i128, i32)> {
        let top = self.limbs.len().saturating_sub(1);
        self.limbs.iter().enumerate().map(move |(at, limb)| {
            let units = if at == top { i128::from(*limb as i64) } else { i128::from(*limb) };
            (units, self.place + at as i32 * LIMB_BITS)
        })
    }

    /// Whether it is negative, and its size.
    fn magnitude(&self) -> (Sign, Vec<u64>) {
        if self.sign() == 0 {
            return (Sign::Plus, self.limbs.clone());
        }
        let mut carry = true;
        let negated = self.limbs.iter().map(|limb| {
            let (negated, over) = (!limb).overflowing_add(u64::from(carry));
            carry = over;
            negated
        });
        (Sign::Minus, negated.collect())
    }

    /// The product with a count.
    pub(super) fn times(&self, count: u64) -> Wide {
        let mut product = Wide::default();
        for (units, place) in self.pieces() {
            // 65 by 64 bits: in halves, so that a piece stays within 128 bits.
            let (high, low) = (count >> 32, count & 0xffff_ffff);
            product.add(units * i128::from(low), place);
            product.add(units * i128::from(high), place + 32);
        }
        product
    }

    /// The product with itself.
    pub(super) fn squared(&self) -> Wide {
        let (_, limbs) = self.magnitude();
        let mut digits = Vec::with_capacity(2 * limbs.len());
        for limb in limbs {
            digits.extend([limb & 0xffff_ffff, limb >> 32]);
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        let mut product = Wide::default();
        for (i, a) in digits.iter().enumerate() {
            for (j, b) in digits.iter().enumerate() {
                let units = i128::from(*a) * i128::from(*b);
                product.add(units, 2 * self.place + 32 * (i + j) as i32);
            }
        }
        product
    }

    /// The nearest float of 53 bits, and the power of two that it is to be multiplied with.
    pub(super) fn rounded(&self) -> (f64, i32) {
        let (sign, limbs) = self.magnitude();
        let Some(top) = limbs.iter().rposition(|limb| *limb != 0) else { return (0.0, 0) };
        let limb = |down: usize| top.checked_sub(down).map_or(0, |at| u128::from(limbs[at]));
        let lead = limbs[top].leading_zeros();
        let mut bits = (limb(0) << 64 | limb(1)) << lead;
        if lead > 0 {
            bits |= limb(2) >> (64 - lead);
        }
        let lost = (limb(2) << lead) as u64;
        let below = limbs[..top.saturating_sub(2)].iter().any(|limb| *limb != 0);
        // A bit far below the 53rd says that something is left, which decides ties.
        bits |= u128::from(lost != 0 || below);
        let float = bits as f64;
        let place = self.place + (top as i32 - 1) * LIMB_BITS - lead as i32;
        (if sign == Sign::Minus { -float } else { float }, place)
    }
}

#[derive(PartialEq)]
enum Sign {
    Plus,
    Minus,
}
