//! Exact sums as bytes, to be merged elsewhere.

use super::{Exact, Odd, wide::Wide};

const SMALL: u8 = 0;
const WIDE: u8 = 1;
const ABOVE: u8 = 2;
const BELOW: u8 = 3;
const UNKNOWN: u8 = 4;

/// Where sums of floats, of their squares and of parts of these can begin, with room: the square of
/// the least float has the place -2148.
const PLACES: std::ops::Range<i32> = -4_096..4_096;
/// As many hold a sum of squares of any floats, with room.
const LIMBS_MAX: usize = 256;

impl Exact {
    /// The sum as bytes, little-endian: a kind, the place, and the units or limbs.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Exact::Small { units, place } => {
                [&[SMALL][..], &place.to_le_bytes(), &units.to_le_bytes()].concat()
            }
            Exact::Wide(wide) => {
                let (place, limbs) = wide.parts();
                let limbs = limbs.iter().flat_map(|limb| limb.to_le_bytes());
                [WIDE].into_iter().chain(place.to_le_bytes()).chain(limbs).collect()
            }
            Exact::Odd(Odd::Above) => vec![ABOVE],
            Exact::Odd(Odd::Below) => vec![BELOW],
            Exact::Odd(Odd::Unknown) => vec![UNKNOWN],
        }
    }

    /// The sum of which these are the bytes; `None` for any others.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Exact> {
        let (kind, rest) = bytes.split_first()?;
        if let Some(odd) = match *kind {
            ABOVE => Some(Odd::Above),
            BELOW => Some(Odd::Below),
            UNKNOWN => Some(Odd::Unknown),
            _ => None,
        } {
            return rest.is_empty().then_some(Exact::Odd(odd));
        }
        let (place, rest) = rest.split_first_chunk()?;
        let place = i32::from_le_bytes(*place);
        if !PLACES.contains(&place) {
            return None;
        }
        match *kind {
            SMALL => {
                let units = i128::from_le_bytes(rest.try_into().ok()?);
                Some(Exact::Small { units, place })
            }
            WIDE => {
                let (limbs, []) = rest.as_chunks() else { return None };
                if limbs.len() > LIMBS_MAX {
                    return None;
                }
                let limbs = limbs.iter().map(|limb| u64::from_le_bytes(*limb)).collect();
                Some(Exact::Wide(Box::new(Wide::of_parts(place, limbs))))
            }
            _ => None,
        }
    }
}
