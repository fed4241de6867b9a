//! Lengths of time as people write them: `30d`, `1h`, `1m30s`.

use oribi_model::time::{NS_PER_DAY, NS_PER_SECOND};
use std::{fmt::Write, time::Duration};

/// Units by descending length, ns.
const UNITS: [(&str, i64); 8] = [
    ("w", 7 * NS_PER_DAY),
    ("d", NS_PER_DAY),
    ("h", 3_600 * NS_PER_SECOND),
    ("m", 60 * NS_PER_SECOND),
    ("s", NS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a length of time, in ns.
///
/// # Errors
/// Says what is wrong and what was expected.
pub(crate) fn parse(text: &str) -> Result<i64, String> {
    let wrong = |reason: &str| {
        format!("{text:?} {reason}; expected a length such as 30d, 12h, 90s, 1h30m, 250ms")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("is empty"));
    }
    let mut total = 0i64;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(|byte| !byte.is_ascii_digit()).count();
        let (unit, tail) = tail.split_at(letters);
        rest = tail;
        if number.is_empty() {
            return Err(wrong("does not start with a number"));
        }
        let Some((_, unit_ns)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(wrong(if unit.is_empty() { "has no unit" } else { "has an unknown unit" }));
        };
        let part = number.parse::<i64>().ok().and_then(|number| number.checked_mul(*unit_ns));
        let sum = part.and_then(|part| total.checked_add(part));
        total = sum.ok_or_else(|| wrong("is longer than 292 years"))?;
    }
    Ok(total)
}

/// Reads a length of time for a command-line flag.
///
/// # Errors
/// As [`parse`].
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text).map(|ns| Duration::from_nanos(ns.unsigned_abs()))
}

/// Writes a length of time in the way that [`parse`] reads, in as few units as are exact.
pub(crate) fn format(ns: i64) -> String {
    let mut rest = ns;
    let mut text = String::new();
    // Weeks are read but not written: `30d` comes back as it was set.
    for (name, unit_ns) in &UNITS[1..] {
        if rest / unit_ns > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{name}", rest / unit_ns);
            rest %= unit_ns;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// Bytes with a unit that leaves up to four digits.
pub(crate) fn bytes(bytes: u64) -> String {
    const STEP: f64 = 1024.0;
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < STEP {
            let decimals = usize::from(unit != "B" && value < 100.0);
            return format!("{value:.decimals$} {unit}");
        }
        value /= STEP;
    }
    format!("{value:.1} TiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_read_and_written_back() {
        let cases = [
            ("30d", Some(30 * NS_PER_DAY), "30d"),
            ("2w", Some(14 * NS_PER_DAY), "14d"),
            ("90s", Some(90 * NS_PER_SECOND), "1m30s"),
            ("1h30m", Some(5_400 * NS_PER_SECOND), "1h30m"),
            ("250ms", Some(250_000_000), "250ms"),
            ("0s", Some(0), "0s"),
            ("30", None, ""),
            ("d", None, ""),
            ("", None, ""),
            ("-1h", None, ""),
            ("1mo", None, ""),
            ("99999999999999d", None, ""),
        ];
        for (text, ns, back) in cases {
            assert_eq!(parse(text).ok(), ns, "{text:?}");
            if let Some(ns) = ns {
                assert_eq!(format(ns), back);
            }
        }
    }
}
