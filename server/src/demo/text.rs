//! Numbers for people.

use std::time::Duration;

/// A count with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Bytes in the largest decimal unit that fits.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1_000_000_000_000, "TB"), (1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB")];
    match UNITS.iter().find(|(unit, _)| number >= *unit) {
        Some((unit, name)) => format!("{:.1} {name}", number as f64 / *unit as f64),
        None => format!("{number} B"),
    }
}

/// A short time in ms.
pub(super) fn ms(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    match ms {
        _ if ms < 10.0 => format!("{ms:.2} ms"),
        _ if ms < 100.0 => format!("{ms:.1} ms"),
        _ => format!("{ms:.0} ms"),
    }
}

/// A time that runs, as minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let s = time.as_secs();
    match s / 3_600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        hours => format!("{hours}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

/// A measured value in a few digits.
pub(super) fn value(number: f64) -> String {
    match number.abs() {
        size if size >= 1e6 => format!("{number:.3e}"),
        size if size >= 1_000.0 => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.1}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1,000", "1,234,567"].map(String::from)
        );
        assert_eq!(
            [17, 4_100_000, 2_500_000_000].map(bytes),
            ["17 B", "4.1 MB", "2.5 GB"].map(String::from)
        );
        assert_eq!(
            [941, 12_340, 250_000].map(|us| ms(Duration::from_micros(us))),
            ["0.94 ms", "12.3 ms", "250 ms"].map(String::from)
        );
        assert_eq!(
            [5, 75, 3_725].map(|s| clock(Duration::from_secs(s))),
            ["0:05", "1:15", "1:02:05"].map(String::from)
        );
        assert_eq!(
            [39.02, -101.25, 12_345.0].map(value),
            ["39.02", "-101.2", "12345"].map(String::from)
        );
    }
}
