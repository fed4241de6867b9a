//! Bytes and bits: a reader that never runs past its end, varints, and packed integers.

/// Reads a byte slice from front to back; every method answers `None` past the end.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.bytes(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.bytes(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    pub(crate) fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    pub(crate) fn size(&mut self) -> Option<usize> {
        self.varint().and_then(|value| usize::try_from(value).ok())
    }
}

/// Appends `value` in 1 to 10 bytes, low bits first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Bits that hold every value up to `max`; at least one, so that a packed array is never free
/// and its length is bounded by its bytes.
pub(crate) fn width_of(max: u64) -> u32 {
    (64 - max.leading_zeros()).max(1)
}

/// Bytes of `count` packed values.
pub(crate) fn packed_bytes(count: usize, width: u32) -> Option<usize> {
    count.checked_mul(width as usize).map(|bits| bits.div_ceil(8))
}

/// Appends values of `width` bits each (1 to 64), low bits first, padded to a whole byte.
pub(crate) fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let (mut held, mut bits) = (0u64, 0u32);
    for value in values {
        held |= value << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&held.to_le_bytes());
            bits -= 64;
            held = if bits == 0 { 0 } else { value >> (width - bits) };
        }
    }
    out.extend_from_slice(&held.to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// Reads back `count` values that [`pack`] wrote.
pub(crate) fn unpack(
    reader: &mut Reader<'_>,
    count: usize,
    width: u32,
    mut take: impl FnMut(u64),
) -> Option<()> {
    if !(1..=64).contains(&width) {
        return None;
    }
    let bytes = reader.bytes(packed_bytes(count, width)?)?;
    let mask = u64::MAX >> (64 - width);
    let mut bit = 0usize;
    for _ in 0..count {
        let (at, shift) = (bit / 8, bit % 8);
        let value = match bytes.get(at..at + 16) {
            Some(wide) => {
                let wide = u128::from_le_bytes(wide.try_into().ok()?);
                (wide >> shift) as u64
            }
            None => {
                let mut wide = [0; 16];
                let tail = &bytes[at..];
                wide[..tail.len()].copy_from_slice(tail);
                (u128::from_le_bytes(wide) >> shift) as u64
            }
        };
        take(value & mask);
        bit += width as usize;
    }
    Some(())
}

/// The powers of ten that exact decimals are scaled by.
pub(crate) const POWERS: [f64; 10] = [1.0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Integers and a power of ten whose quotients are exactly, bit by bit, `values`.
pub(crate) fn decimals(values: &[f64], out: &mut Vec<i64>) -> Option<u8> {
    let mut power = 0;
    'powers: while power < POWERS.len() {
        out.clear();
        for value in values {
            let scaled = (value * POWERS[power]).round();
            let back = scaled / POWERS[power];
            let fits = scaled.abs() < 9e15
                && (scaled as i64 as f64 / POWERS[power]).to_bits() == value.to_bits();
            if !fits || back.to_bits() != value.to_bits() {
                power += 1;
                continue 'powers;
            }
            out.push(scaled as i64);
        }
        return Some(power as u8);
    }
    None
}
