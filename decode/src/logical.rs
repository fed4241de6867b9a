//! Values whose meaning a schema gives: dates, moments, decimals.

use super::{Fault, document::Document, time::Precision};
use oribi_model::{RejectReason, time::NS_PER_DAY};

/// Days since the Unix epoch as midnight in UTC.
pub(super) fn date(days: i64) -> Result<Document, Fault> {
    days.checked_mul(NS_PER_DAY).map(Document::Time).ok_or_else(|| beyond(days, "days"))
}

/// A count since the Unix epoch.
pub(super) fn moment(count: i64, unit: Precision) -> Result<Document, Fault> {
    count.checked_mul(unit.ns()).map(Document::Time).ok_or_else(|| beyond(count, "units"))
}

fn beyond(count: i64, unit: &str) -> Fault {
    let detail = format!("the time {count} {unit} lies beyond the years 1677 to 2262");
    Fault::new(RejectReason::Time, detail)
}

/// A decimal whose digits are a two's-complement integer, the first byte first: an integer where
/// it has no decimals, else the nearest float.
pub(super) fn decimal(bytes: &[u8], scale: i32) -> Result<Document, Fault> {
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let sign: u8 = if is_negative { 0xff } else { 0 };
    let digits = &bytes[bytes.iter().take_while(|byte| **byte == sign).count()..];
    let too_large = || {
        let detail = format!("a decimal of {} bytes is beyond what can be kept", bytes.len());
        Fault::new(RejectReason::Number, detail)
    };
    if digits.len() > 15 {
        return Err(too_large());
    }
    let start = if is_negative { -1i128 } else { 0 };
    let value = digits.iter().fold(start, |value, byte| value << 8 | i128::from(*byte));
    if scale == 0 {
        return i64::try_from(value).map(Document::Int).map_err(|_| too_large());
    }
    let shift = -i64::from(scale);
    let value: f64 = format!("{value}e{shift}").parse().map_err(|_| too_large())?;
    if value.is_finite() { Ok(Document::Float(value)) } else { Err(too_large()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_the_nearest_floats() {
        assert_eq!(decimal(&[0x04, 0xd2], 2), Ok(Document::Float(12.34)));
        assert_eq!(decimal(&[0xfb, 0x2e], 2), Ok(Document::Float(-12.34)));
        assert_eq!(decimal(&[0xff, 0xff, 0xfb, 0x2e], 2), Ok(Document::Float(-12.34)));
        assert_eq!(decimal(&[0x80], 0), Ok(Document::Int(-128)));
        assert_eq!(decimal(&[0x00, 0x80], 0), Ok(Document::Int(128)));
        assert_eq!(decimal(&[], 3), Ok(Document::Float(0.0)));
        assert_eq!(decimal(&[5], -2), Ok(Document::Float(500.0)));
        assert_eq!(decimal(&i64::MIN.to_be_bytes(), 0), Ok(Document::Int(i64::MIN)));
        assert!(decimal(&[1; 9], 0).is_err());
        assert!(decimal(&[1; 17], 2).is_err());
        assert!(decimal(&[1], i32::MIN).is_err());
    }

    #[test]
    fn times_beyond_64_bits_are_refused() {
        assert_eq!(date(1), Ok(Document::Time(NS_PER_DAY)));
        assert_eq!(moment(-1, Precision::Us), Ok(Document::Time(-1_000)));
        assert!(date(i64::MAX).is_err() && moment(i64::MAX, Precision::Ms).is_err());
    }
}
