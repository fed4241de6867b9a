//! The grammar of points and lengths of time in questions.

use crate::{Error, Result};
use jiff::{Span, Timestamp, civil::Date, tz::TimeZone};

/// A length of time: calendar months, calendar days and exact nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Length {
    /// Months; a year is twelve.
    pub(crate) months: i64,
    /// Days; a week is seven.
    pub(crate) days: i64,
    /// Whether the days were written as weeks only.
    pub(crate) weeks: WeekUnit,
    /// Nanoseconds.
    pub(crate) ns: i64,
}

/// Whether a length was written in weeks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum WeekUnit {
    /// No.
    #[default]
    Absent,
    /// Yes: windows of it start on Mondays.
    Present,
}

const EXPECTED_LENGTH: &str = "a number with one of the units ns, us, ms, s, m, h, d, w, mo, y";
const EXPECTED_MOMENT: &str = "RFC 3339 with a zone such as 2024-05-01T00:00:00Z, a date, a number with \
    a unit such as 1714521600s, a relative time such as -1h, or now";

/// Parses `5m`, `1h30m`, `-2d`; `parameter` is named in errors.
pub(crate) fn parse_length(parameter: &str, text: &str) -> Result<Length> {
    let refuse = |reason: &str| {
        Error::parameter(parameter, format!("{text:?} {reason}; expected {EXPECTED_LENGTH}"))
    };
    let trimmed = text.trim();
    let (sign, mut rest) = match trimmed.strip_prefix('-') {
        Some(rest) => (-1i64, rest),
        None => (1, trimmed.strip_prefix('+').unwrap_or(trimmed)),
    };
    if rest.is_empty() {
        return Err(refuse("is empty"));
    }
    let mut length = Length::default();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if digits == 0 {
            return Err(refuse("does not start with a number"));
        }
        let number: i64 = rest[..digits].parse().map_err(|_| refuse("is too large"))?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (unit, tail) = rest.split_at(letters);
        rest = tail;
        if unit.is_empty() {
            return Err(refuse("is a bare number without a unit"));
        }
        let value = number.checked_mul(sign).ok_or_else(|| refuse("is too large"))?;
        add_unit(&mut length, value, unit)
            .ok_or_else(|| refuse("has an unknown unit or is too large"))?;
    }
    Ok(length)
}

fn add_unit(length: &mut Length, value: i64, unit: &str) -> Option<()> {
    match unit {
        "d" => length.days = length.days.checked_add(value)?,
        "w" => {
            length.days = length.days.checked_add(value.checked_mul(7)?)?;
            length.weeks = WeekUnit::Present;
        }
        "mo" => length.months = length.months.checked_add(value)?,
        "y" => length.months = length.months.checked_add(value.checked_mul(12)?)?,
        _ => length.ns = length.ns.checked_add(value.checked_mul(unit_ns(unit)?)?)?,
    }
    Some(())
}

fn unit_ns(unit: &str) -> Option<i64> {
    Some(match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Parses a `start` or `end`, in ns since the Unix epoch; a date alone is its midnight in UTC.
pub fn parse_moment(parameter: &str, text: &str, now_ns: i64) -> Result<i64> {
    moment_in(parameter, text, now_ns, &TimeZone::UTC)
}

/// Parses a `start` or `end`, in ns since the Unix epoch; a date alone is its midnight in `zone`.
pub(crate) fn moment_in(parameter: &str, text: &str, now_ns: i64, zone: &TimeZone) -> Result<i64> {
    let refuse = |reason: &str| {
        Error::parameter(parameter, format!("{text:?} {reason}; expected {EXPECTED_MOMENT}"))
    };
    let trimmed = text.trim();
    if let Some(rest) = trimmed.strip_prefix("now") {
        if rest.is_empty() {
            return Ok(now_ns);
        }
        return relative(parameter, rest.trim(), now_ns);
    }
    let unsigned = trimmed.trim_start_matches(['-', '+']);
    if unsigned.is_empty() || !unsigned.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(refuse("is not a time"));
    }
    if unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(refuse("is a bare number, whose unit cannot be known"));
    }
    if trimmed.len() > unsigned.len() && !unsigned.contains(['T', 't', ':']) {
        return relative(parameter, trimmed, now_ns);
    }
    if unsigned.len() > 4 && unsigned.as_bytes()[4] == b'-' {
        let ns = match trimmed.parse::<Date>() {
            Ok(date) if trimmed.len() == DATE_CHARS => midnight(date, zone),
            _ => rfc3339(trimmed),
        };
        return ns.map_err(|reason| refuse(&reason));
    }
    since_epoch(trimmed).ok_or_else(|| refuse("is not a time between the years 1677 and 2262"))
}

/// `1451606400s`, `1451606400.5s`.
fn since_epoch(text: &str) -> Option<i64> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    let unit_ns = match unit {
        "d" => 86_400_000_000_000,
        unit => unit_ns(unit)?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let mut ns = i128::from(whole.parse::<i64>().ok()?) * i128::from(unit_ns);
    if !fraction.is_empty() {
        let digits = fraction.get(..fraction.len().min(18))?;
        let scale = 10i128.pow(digits.len() as u32);
        ns += i128::from(digits.parse::<i64>().ok()?) * i128::from(unit_ns) / scale;
    }
    i64::try_from(ns).ok()
}

fn relative(parameter: &str, text: &str, now_ns: i64) -> Result<i64> {
    let length = parse_length(parameter, text)?;
    let beyond =
        || Error::parameter(parameter, format!("{text:?} leads beyond the years 1677 to 2262"));
    let span = Span::new()
        .try_months(length.months)
        .and_then(|span| span.try_days(length.days))
        .map_err(|_| beyond())?;
    let moved = Timestamp::from_nanosecond(i128::from(now_ns))
        .and_then(|now| now.to_zoned(TimeZone::UTC).checked_add(span))
        .map_err(|_| beyond())?;
    i64::try_from(moved.timestamp().as_nanosecond())
        .ok()
        .and_then(|ns| ns.checked_add(length.ns))
        .ok_or_else(beyond)
}

/// As in `2024-05-01`.
const DATE_CHARS: usize = 10;

/// The first instant of a day.
fn midnight(date: Date, zone: &TimeZone) -> Result<i64, String> {
    let day = date.to_zoned(zone.clone()).and_then(|day| day.start_of_day());
    let ns = day.map_err(|_| BEYOND.to_owned())?.timestamp().as_nanosecond();
    i64::try_from(ns).map_err(|_| BEYOND.to_owned())
}

const BEYOND: &str = "lies outside the years 1677 to 2262";

/// RFC 3339; a blank before the zone is a `+` that a URL lost.
fn rfc3339(text: &str) -> Result<i64, String> {
    let mut text = text.to_owned();
    if let Some(at) = text.rfind(' ')
        && at > 10
    {
        text.replace_range(at..=at, "+");
    }
    let time: Timestamp = text.parse().map_err(|_| "is not RFC 3339".to_owned())?;
    i64::try_from(time.as_nanosecond()).map_err(|_| BEYOND.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_follow_the_grammar() {
        let now = 1_700_000_000_000_000_000;
        let cases = [
            ("now", Some(now)),
            ("now-1h", Some(now - 3_600_000_000_000)),
            ("-1h", Some(now - 3_600_000_000_000)),
            ("-1h30m", Some(now - 5_400_000_000_000)),
            ("-1d", Some(now - 86_400_000_000_000)),
            ("-1mo", Some(now - 31 * 86_400_000_000_000)),
            ("1451606400s", Some(1_451_606_400_000_000_000)),
            ("1451606400.5s", Some(1_451_606_400_500_000_000)),
            ("1451606400123ms", Some(1_451_606_400_123_000_000)),
            ("2016-01-01T00:00:00Z", Some(1_451_606_400_000_000_000)),
            ("2016-01-01T02:00:00+02:00", Some(1_451_606_400_000_000_000)),
            ("2016-01-01T02:00:00 02:00", Some(1_451_606_400_000_000_000)),
            ("2016-01-01 00:00:00Z", Some(1_451_606_400_000_000_000)),
            ("2016-01-01", Some(1_451_606_400_000_000_000)),
            ("2016-02-30", None),
            ("2016-01-01T00:00:00", None),
            ("3000-01-01", None),
            ("1451606400", None),
            ("-5", None),
            ("yesterday", None),
            ("", None),
            ("2016-13-01T00:00:00Z", None),
            ("9999-01-01T00:00:00Z", None),
            ("99999999999999999999s", None),
            ("-9223372036854775808ns", None),
            ("5parsecs", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_moment("start", text, now).ok(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_date_is_its_midnight_in_the_zone() {
        let at = |text: &str, zone: &str| {
            let zone = TimeZone::get(zone).unwrap();
            let ns = moment_in("start", text, 0, &zone).unwrap();
            Timestamp::from_nanosecond(ns.into()).unwrap().to_string()
        };
        assert_eq!(at("2024-05-01", "Europe/Berlin"), "2024-04-30T22:00:00Z");
        assert_eq!(at("2024-05-01", "America/New_York"), "2024-05-01T04:00:00Z");
        // Midnight was skipped.
        assert_eq!(at("2018-11-04", "America/Sao_Paulo"), "2018-11-04T03:00:00Z");
        assert_eq!(at("2024-05-01T00:00:00Z", "Europe/Berlin"), "2024-05-01T00:00:00Z");
    }

    #[test]
    fn lengths_follow_the_grammar() {
        let ns = |ns| Some(Length { ns, ..Length::default() });
        let days = |days, weeks| Some(Length { days, weeks, ..Length::default() });
        let cases = [
            ("1ms", ns(1_000_000)),
            ("90s", ns(90_000_000_000)),
            ("-30m", ns(-1_800_000_000_000)),
            ("1d", days(1, WeekUnit::Absent)),
            ("2w", days(14, WeekUnit::Present)),
            ("1mo", Some(Length { months: 1, ..Length::default() })),
            ("1y", Some(Length { months: 12, ..Length::default() })),
            ("5", None),
            ("m", None),
            ("5M", None),
            ("", None),
            ("99999999999h", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_length("window", text).ok(), expected, "{text:?}");
        }
    }
}
