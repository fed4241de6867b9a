//! Numbers in text.

use super::Fault;
use oribi_model::RejectReason;

/// A number as written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without point or exponent.
    Int(i64),
    /// With either; finite.
    Float(f64),
}

/// Powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// The number that `text` begins with and the bytes it takes, if it is short and plain: at most 18
/// digits without leading zeros, or at most 15 with a point among them. A float of so few digits is
/// the quotient of two exact ones, and so correctly rounded (Clinger, "How to read floating point
/// numbers accurately", 1990). `None` says nothing about the text.
#[inline]
pub fn short_number(text: &[u8]) -> Option<(Number, usize)> {
    let first = usize::from(text.first() == Some(&b'-'));
    let mut value = 0i64;
    let mut at = first;
    while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10) {
        if at - first == 18 {
            return None;
        }
        value = value * 10 + i64::from(digit);
        at += 1;
    }
    let whole = at - first;
    if whole == 0 || (whole > 1 && text[first] == b'0') {
        return None;
    }
    let mut places = 0;
    if text.get(at) == Some(&b'.') {
        at += 1;
        while let Some(digit) = text.get(at).map(|byte| byte.wrapping_sub(b'0')).filter(|d| *d < 10)
        {
            if whole + places >= 15 {
                return None;
            }
            value = value * 10 + i64::from(digit);
            places += 1;
            at += 1;
        }
        if places == 0 {
            return None;
        }
    }
    if let Some(b'.' | b'e' | b'E' | b'+' | b'-') = text.get(at) {
        return None;
    }
    let number = if places == 0 {
        Number::Int(if first == 1 { -value } else { value })
    } else {
        let size = value as f64 / EXACT_POWERS[places];
        Number::Float(if first == 1 { -size } else { size })
    };
    Some((number, at))
}

/// Parses a decimal integer with an optional sign.
///
/// # Errors
/// Text that is no integer, or one beyond 64 bits.
pub fn parse_int(text: &[u8]) -> Result<i64, Fault> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let shown = || super::excerpt(&String::from_utf8_lossy(text), 64);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Fault::new(RejectReason::Number, format!("`{}` is no integer", shown())));
    }
    let mut value = 0i64;
    for digit in digits {
        let digit = i64::from(digit - b'0');
        let next = value.checked_mul(10).and_then(|value| {
            if negative { value.checked_sub(digit) } else { value.checked_add(digit) }
        });
        value = next.ok_or_else(|| {
            let detail = format!("the integer {} does not fit into 64 bits", shown());
            Fault::new(RejectReason::Number, detail)
        })?;
    }
    Ok(value)
}

/// Parses a decimal float as both InfluxDB and JSON write them.
///
/// # Errors
/// Text that is no number, NaN, infinity, and numbers beyond the range of a 64-bit float.
pub fn parse_float(text: &[u8]) -> Result<f64, Fault> {
    let shown = || super::excerpt(&String::from_utf8_lossy(text), 64);
    let plain = !text.is_empty()
        && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let value: Option<f64> = if plain { fast_float2::parse(text).ok() } else { None };
    match value {
        Some(value) if value.is_finite() => Ok(value),
        Some(_) => {
            let detail = format!("the number {} is beyond the range of a float", shown());
            Err(Fault::new(RejectReason::Number, detail))
        }
        None => Err(Fault::new(RejectReason::Number, format!("`{}` is no number", shown()))),
    }
}

/// Parses a JSON number: an integer where it has neither point nor exponent.
///
/// # Errors
/// Text that is no JSON number, or one that cannot be kept.
pub fn parse_json_number(text: &[u8]) -> Result<Number, Fault> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let leading_zero = digits.len() > 1 && digits[0] == b'0' && digits[1].is_ascii_digit();
    let shown = || super::excerpt(&String::from_utf8_lossy(text), 64);
    if leading_zero || !digits.first().is_some_and(u8::is_ascii_digit) {
        return Err(Fault::syntax(format!("`{}` is no JSON number", shown())));
    }
    if digits.iter().all(u8::is_ascii_digit) {
        return parse_int(text).map(Number::Int);
    }
    let point_without_digit = text
        .iter()
        .position(|b| *b == b'.')
        .is_some_and(|at| !text.get(at + 1).is_some_and(u8::is_ascii_digit));
    if point_without_digit {
        return Err(Fault::syntax(format!("`{}` is no JSON number", shown())));
    }
    parse_float(text).map(Number::Float)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn integers_are_exact_or_refused() {
        assert_eq!(parse_int(b"-9223372036854775808"), Ok(i64::MIN));
        assert_eq!(parse_int(b"9223372036854775807"), Ok(i64::MAX));
        for bad in ["9223372036854775808", "", "-", "1x", "18446744073709551616"] {
            assert_eq!(
                parse_int(bad.as_bytes()).unwrap_err().reason,
                RejectReason::Number,
                "{bad}"
            );
        }
    }

    #[test]
    fn floats_are_finite() {
        assert_eq!(parse_float(b"-0"), Ok(-0.0));
        assert_eq!(parse_float(b"1e3"), Ok(1000.0));
        for bad in ["1e999", "NaN", "inf", "-Infinity", "", "0x10"] {
            assert!(parse_float(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_numbers_are_those_of_the_long_way() {
        for text in [
            "0",
            "-0",
            "0.0",
            "-0.0",
            "7",
            "-12",
            "21.5",
            "1013.25",
            "0.1",
            "-0.3",
            "123456789.012345",
            "999999999999999999",
            "0.00000000000001",
            "9.00719925474099",
        ] {
            let (short, length) = short_number(text.as_bytes()).unwrap();
            let long = parse_json_number(text.as_bytes()).unwrap();
            assert_eq!((format!("{short:?}"), length), (format!("{long:?}"), text.len()), "{text}");
        }
        assert_eq!(short_number(b"12,"), Some((Number::Int(12), 2)));
        assert_eq!(short_number(b"1.5}"), Some((Number::Float(1.5), 3)));
        for other in [
            "",
            "-",
            "01",
            "1.",
            ".5",
            "1e3",
            "1.5e3",
            "1-",
            "1.2.3",
            "1234567890123456789",
            "123456789012345.1",
            "10000020000200000.0100000000000",
        ] {
            assert_eq!(short_number(other.as_bytes()), None, "{other}");
        }
    }

    proptest! {
        #[test]
        fn any_short_number_is_that_of_the_long_way(text in "-?[0-9]{1,20}([.][0-9]{0,20})?") {
            if let Some((number, length)) = short_number(text.as_bytes()) {
                prop_assert_eq!(length, text.len());
                let long = parse_json_number(text.as_bytes()).unwrap();
                prop_assert_eq!(format!("{number:?}"), format!("{long:?}"));
            }
        }
    }

    #[test]
    fn json_numbers_keep_their_kind() {
        assert_eq!(parse_json_number(b"1"), Ok(Number::Int(1)));
        assert_eq!(parse_json_number(b"1.0"), Ok(Number::Float(1.0)));
        assert_eq!(parse_json_number(b"1E2"), Ok(Number::Float(100.0)));
        for bad in ["01", "1.", ".5", "+1", "-", "1e999", "18446744073709551616"] {
            assert!(parse_json_number(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
