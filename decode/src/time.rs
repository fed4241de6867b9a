//! Event times in text and numbers.

use super::{
    Fault, excerpt,
    number::{Number, parse_int, short_number},
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use oribi_model::RejectReason;

/// The unit of a time given as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// Nanoseconds.
    #[default]
    Ns,
    /// Microseconds.
    Us,
    /// Milliseconds.
    Ms,
    /// Seconds.
    S,
    /// Minutes.
    M,
    /// Hours.
    H,
}

impl Precision {
    /// The precision called `name`: `n ns u us ms s m h`.
    pub fn parse(name: &str) -> Option<Precision> {
        Some(match name {
            "n" | "ns" => Precision::Ns,
            "u" | "us" => Precision::Us,
            "ms" => Precision::Ms,
            "s" => Precision::S,
            "m" => Precision::M,
            "h" => Precision::H,
            _ => return None,
        })
    }

    /// Nanoseconds in one unit.
    pub fn ns(self) -> i64 {
        match self {
            Precision::Ns => 1,
            Precision::Us => 1_000,
            Precision::Ms => 1_000_000,
            Precision::S => 1_000_000_000,
            Precision::M => 60_000_000_000,
            Precision::H => 3_600_000_000_000,
        }
    }
}

fn fault(detail: String) -> Fault {
    Fault::new(RejectReason::Time, detail)
}

fn beyond(text: &str) -> Fault {
    fault(format!("the time {} lies beyond the years 1677 to 2262", excerpt(text, 64)))
}

/// An integer count of `precision` as ns since the Unix epoch.
///
/// # Errors
/// Text that is no integer, and times that do not fit.
pub fn parse_count(text: &[u8], precision: Precision) -> Result<i64, Fault> {
    let shown = || excerpt(&String::from_utf8_lossy(text), 64);
    let count = parse_int(text).map_err(|_| fault(format!("`{}` is no time", shown())))?;
    count.checked_mul(precision.ns()).ok_or_else(|| beyond(&shown()))
}

/// RFC 3339, also with a blank for the `T` and without zone, which means UTC.
///
/// # Errors
/// Text that is no such time, and times that do not fit.
pub fn parse_text(text: &str) -> Result<i64, Fault> {
    let text = text.trim();
    let shown = || excerpt(text, 64);
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => Some(timestamp),
        Err(_) => text.parse::<DateTime>().ok().and_then(|civil| {
            let dated = text.len() > "2000-01-01".len();
            dated.then(|| civil.to_zoned(TimeZone::UTC).ok()).flatten().map(|z| z.timestamp())
        }),
    };
    let timestamp = timestamp.ok_or_else(|| fault(format!("`{}` is no RFC 3339 time", shown())))?;
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| beyond(text))
}

/// Checks a format for [`parse_formatted`].
///
/// # Errors
/// What is wrong with it.
pub fn check_format(format: &str) -> Result<(), String> {
    jiff::fmt::strtime::format(format, &Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC))
        .map(drop)
        .map_err(|wrong| wrong.to_string())
}

/// A text as `format` has it, whose conversions are those of strptime; without a zone it is UTC,
/// without a time of day midnight.
///
/// # Errors
/// Text of another form, and times that do not fit.
pub fn parse_formatted(text: &str, format: &str) -> Result<i64, Fault> {
    let shown = || excerpt(text, 64);
    let parsed = jiff::fmt::strtime::parse(format, text.trim());
    let parsed =
        parsed.map_err(|_| fault(format!("`{}` is no time as {format:?} has it", shown())))?;
    let timestamp = parsed.to_timestamp().or_else(|_| {
        let date = parsed.to_date()?;
        let civil = parsed.to_time().map_or_else(|_| date.into(), |time| date.to_datetime(time));
        civil.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp())
    });
    let timestamp: Timestamp =
        timestamp.map_err(|wrong| fault(format!("`{}` is no time: {wrong}", shown())))?;
    i64::try_from(timestamp.as_nanosecond()).map_err(|_| beyond(text))
}

/// A time as [`parse_text`] takes it, or a number in text: of this unit, or of one that its size
/// tells. `None`: a number that is no time.
///
/// # Errors
/// As [`parse_text`].
pub fn parse_any(text: &str, precision: Option<Precision>) -> Result<Option<i64>, Fault> {
    parse_text(text).map(Some).or_else(|wrong| {
        let number = text.trim();
        let is_number = number.bytes().any(|byte| byte.is_ascii_digit())
            && number
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        match precision {
            _ if !is_number => Err(wrong),
            Some(unit) => parse_decimal(number, unit).map(Some),
            None => detect_number(number),
        }
    })
}

/// A decimal number of `precision`, fractions allowed, as ns; parts below 1 ns are cut off.
///
/// # Errors
/// Text that is no decimal number, and times that do not fit.
pub fn parse_decimal(text: &str, precision: Precision) -> Result<i64, Fault> {
    scaled(text, precision.ns()).map_err(|wrong| match wrong {
        Wrong::Form => fault(format!("`{}` is no time", excerpt(text, 64))),
        Wrong::Size => beyond(text),
    })
}

/// A number whose unit shows in its size: below 1e8 it is no time (`None`), below 1e11 seconds,
/// below 1e14 ms, below 1e17 µs, else ns. Negative numbers are judged by their size too.
///
/// # Errors
/// Text that is no decimal number, and times that do not fit.
pub fn detect_number(text: &str) -> Result<Option<i64>, Fault> {
    let size: f64 = fast_float2::parse::<f64, _>(text)
        .map_err(|_| fault(format!("`{}` is no time", excerpt(text, 64))))?
        .abs();
    let precision = match size {
        size if size < 1e8 => return Ok(None),
        size if size < 1e11 => Precision::S,
        size if size < 1e14 => Precision::Ms,
        size if size < 1e17 => Precision::Us,
        _ => Precision::Ns,
    };
    parse_decimal(text, precision).map(Some)
}

enum Wrong {
    Form,
    Size,
}

/// `text × unit_ns`, exact, cut off below 1. Works on digits, so that no float rounds it.
fn scaled(text: &str, unit_ns: i64) -> Result<i64, Wrong> {
    if let Some((Number::Int(count), length)) = short_number(text.as_bytes())
        && length == text.len()
    {
        return count.checked_mul(unit_ns).ok_or(Wrong::Size);
    }
    let (negative, body) = match text.as_bytes() {
        [b'-', ..] => (true, &text[1..]),
        [b'+', ..] => (false, &text[1..]),
        _ => (false, text),
    };
    let (mantissa, exponent) = match body.find(['e', 'E']) {
        Some(at) => (&body[..at], body[at + 1..].parse::<i32>().map_err(|_| Wrong::Form)?),
        None => (body, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|b| b.is_ascii_digit()) {
        return Err(Wrong::Form);
    }
    // 19 digits hold every i64; more before the point cannot fit, more after it do not count.
    let point = whole.len() as i64 + i64::from(exponent);
    let mut value = 0i128;
    let mut scale = 0i64;
    for (at, digit) in digits().enumerate() {
        let place = point - at as i64 - 1;
        if value > i128::from(i64::MAX) {
            return Err(Wrong::Size);
        }
        if place < -13 {
            break;
        }
        value = value * 10 + i128::from(digit - b'0');
        scale = place;
    }
    if value == 0 {
        return Ok(0);
    }
    let value = if scale >= 0 {
        let power = u32::try_from(scale).ok().filter(|power| *power <= 18).ok_or(Wrong::Size)?;
        value.checked_mul(10i128.pow(power)).and_then(|value| value.checked_mul(unit_ns.into()))
    } else {
        let power = u32::try_from(-scale).ok().filter(|power| *power <= 18).unwrap_or(18);
        value.checked_mul(unit_ns.into()).map(|value| value / 10i128.pow(power))
    };
    let value = value.ok_or(Wrong::Size)?;
    i64::try_from(if negative { -value } else { value }).map_err(|_| Wrong::Size)
}

/// Refuses a time further ahead of `now_ns` than `ahead_ns_max`.
///
/// # Errors
/// Says how far ahead is allowed.
pub fn check_ahead(time: i64, now_ns: i64, ahead_ns_max: i64) -> Result<(), Fault> {
    if time <= now_ns.saturating_add(ahead_ns_max) {
        return Ok(());
    }
    let hours = ahead_ns_max / Precision::H.ns();
    Err(fault(format!("the time {time} lies more than {hours} h ahead of now")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_show_in_the_size() {
        let second = 1_000_000_000i64;
        for (text, expected) in [
            ("99999999", None),
            ("21.5", None),
            ("1700000000", Some(1_700_000_000 * second)),
            ("1700000000.25", Some(1_700_000_000 * second + second / 4)),
            ("1.7e9", Some(1_700_000_000 * second)),
            ("1700000000123", Some(1_700_000_000_123_000_000)),
            ("1700000000123.5", Some(1_700_000_000_123_500_000)),
            ("1700000000123456", Some(1_700_000_000_123_456_000)),
            ("1700000000123456789", Some(1_700_000_000_123_456_789)),
        ] {
            assert_eq!(detect_number(text), Ok(expected), "{text}");
        }
        assert!(detect_number("1e300").is_err());
        assert!(detect_number("9223372036854775808").is_err());
    }

    #[test]
    fn text_times() {
        let expected = Ok(1_700_000_000_500_000_000);
        for text in [
            "2023-11-14T22:13:20.5Z",
            "2023-11-14 22:13:20.5Z",
            "2023-11-14T22:13:20.5",
            "2023-11-14 22:13:20.5",
            "2023-11-14T23:13:20.5+01:00",
        ] {
            assert_eq!(parse_text(text), expected, "{text}");
        }
        for bad in
            ["", "now", "2023-11-14", "12:00", "2023-13-01T00:00:00Z", "9999-01-01T00:00:00Z"]
        {
            assert_eq!(parse_text(bad).unwrap_err().reason, RejectReason::Time, "{bad}");
        }
    }

    #[test]
    fn counts_that_overflow_are_refused() {
        assert_eq!(parse_count(b"-1", Precision::S), Ok(-1_000_000_000));
        assert_eq!(parse_count(b"9223372036854775807", Precision::Ns), Ok(i64::MAX));
        assert!(parse_count(b"9223372036854775807", Precision::Us).is_err());
        assert!(parse_count(b"1.5", Precision::Ns).is_err());
        assert_eq!(parse_decimal("1.5", Precision::Ms), Ok(1_500_000));
    }
}
