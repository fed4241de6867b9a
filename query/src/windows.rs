//! Where windows begin and end: fixed lengths from the epoch, or calendar units in a time zone.

use crate::{
    Error, Result,
    moment::{Length, WeekUnit, parse_length},
};
use jiff::{Timestamp, civil, tz::TimeZone};

const NS_PER_DAY: i128 = 86_400_000_000_000;
/// Monday of the week of 1970-01-01, as days since then.
const MONDAY: i64 = -3;

/// How time is cut.
#[derive(Debug, Clone)]
pub(crate) enum Windows {
    /// One window over everything.
    Whole,
    /// Windows of one exact length.
    Fixed {
        /// Length, ns, at least 1.
        length_ns: i64,
        /// Start of window 0, ns since the epoch, below the length in size.
        offset_ns: i64,
    },
    /// Windows of calendar days or months.
    Calendar(Box<Calendar>),
}

/// Calendar windows, shifted in local time.
#[derive(Debug, Clone)]
pub(crate) struct Calendar {
    unit: Unit,
    offset: Length,
    zone: TimeZone,
}

#[derive(Debug, Clone, Copy)]
enum Unit {
    Days { days: i64, origin: i64 },
    Months(i64),
}

/// One window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its number; neighbours differ by one.
    pub(crate) index: i64,
    /// First ns inside.
    pub(crate) start: i64,
    /// First ns after it.
    pub(crate) end: i64,
}

impl Windows {
    /// Reads the parameters `window`, `offset` and `timezone`.
    pub(crate) fn parse(
        window: Option<&str>,
        offset: Option<&str>,
        timezone: Option<&str>,
    ) -> Result<Windows> {
        let zone = match timezone.unwrap_or("UTC") {
            "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| {
                let detail = format!("{name:?} is no known time zone; expected an IANA name such as Europe/Berlin or UTC");
                Error::parameter("timezone", detail)
            })?,
        };
        let offset = match offset {
            Some(text) => parse_length("offset", text)?,
            None => Length::default(),
        };
        let Some(window) = window else { return Ok(Windows::Whole) };
        let length = parse_length("window", window)?;
        let one_unit = [length.months, length.days, length.ns].iter().filter(|n| **n != 0).count();
        if one_unit != 1 || length.months < 0 || length.days < 0 || length.ns < 0 {
            let detail = format!(
                "{window:?} is no window; expected a positive length in one kind of unit, such as \
                 1ms, 10s, 5m, 1h, 7d, 1w, 1mo, 1y"
            );
            return Err(Error::parameter("window", detail));
        }
        if length.ns > 0 {
            return Windows::fixed(length.ns, offset);
        }
        let unit = match (length.months, length.weeks) {
            (0, WeekUnit::Present) => Unit::Days { days: length.days, origin: MONDAY },
            (0, WeekUnit::Absent) => Unit::Days { days: length.days, origin: 0 },
            (months, _) => Unit::Months(months),
        };
        const UNITS_MAX: i64 = 1_000_000;
        let sizes = [length.days, length.months, offset.days, offset.months];
        if sizes.iter().any(|size| size.abs() > UNITS_MAX) {
            return Err(Error::parameter("window", "the window or its offset is too long"));
        }
        Ok(Windows::Calendar(Box::new(Calendar { unit, offset, zone })))
    }

    fn fixed(length_ns: i64, offset: Length) -> Result<Windows> {
        if offset.months != 0 {
            let detail = "an offset in months needs a window in days, weeks, months or years";
            return Err(Error::parameter("offset", detail));
        }
        let total = i128::from(offset.days) * NS_PER_DAY + i128::from(offset.ns);
        let offset_ns = total.rem_euclid(i128::from(length_ns)) as i64;
        Ok(Windows::Fixed { length_ns, offset_ns })
    }

    /// The window that holds `time`.
    pub(crate) fn at(&self, time: i64) -> Window {
        match self {
            Windows::Whole => Window { index: 0, start: i64::MIN, end: i64::MAX },
            Windows::Fixed { length_ns, offset_ns } => {
                let shifted = i128::from(time) - i128::from(*offset_ns);
                let index = shifted.div_euclid(i128::from(*length_ns)) as i64;
                let start = fixed_start(index, *length_ns, *offset_ns);
                Window {
                    index,
                    start: saturate(start),
                    end: saturate(start + i128::from(*length_ns)),
                }
            }
            Windows::Calendar(calendar) => calendar.at(time),
        }
    }

    /// Start of window `index`.
    pub(crate) fn start(&self, index: i64) -> i64 {
        match self {
            Windows::Whole => i64::MIN,
            Windows::Fixed { length_ns, offset_ns } => {
                saturate(fixed_start(index, *length_ns, *offset_ns))
            }
            Windows::Calendar(calendar) => calendar.start(index),
        }
    }

    /// How many windows hold some time of `start..end`.
    pub(crate) fn count(&self, start: i64, end: i64) -> u64 {
        if end <= start {
            return 0;
        }
        let (first, last) = (self.at(start).index, self.at(end - 1).index);
        last.abs_diff(first).saturating_add(1)
    }
}

fn fixed_start(index: i64, length_ns: i64, offset_ns: i64) -> i128 {
    i128::from(index) * i128::from(length_ns) + i128::from(offset_ns)
}

fn saturate(ns: i128) -> i64 {
    ns.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
}

impl Calendar {
    fn at(&self, time: i64) -> Window {
        let mut index = self.guess(time);
        let mut start = self.start(index);
        while time < start {
            index -= 1;
            start = self.start(index);
        }
        let mut end = self.start(index + 1);
        // At the very edge of time both bounds saturate.
        while time >= end && end < i64::MAX {
            index += 1;
            start = end;
            end = self.start(index + 1);
        }
        Window { index, start, end }
    }

    /// The index up to one or two windows, by the local date.
    fn guess(&self, time: i64) -> i64 {
        let instant = Timestamp::from_nanosecond(i128::from(time)).unwrap_or_default();
        let zone_ns = i128::from(self.zone.to_offset(instant).seconds()) * 1_000_000_000;
        let local_ns = i128::from(time) + zone_ns - i128::from(self.offset.ns);
        let day = local_ns.div_euclid(NS_PER_DAY) as i64 - self.offset.days;
        match self.unit {
            Unit::Days { days, origin } => {
                // An offset in months has no meaning in days but its length.
                (day - origin - self.offset.months * 30).div_euclid(days)
            }
            Unit::Months(months) => (month_of(day) - self.offset.months).div_euclid(months),
        }
    }

    fn start(&self, index: i64) -> i64 {
        let day = match self.unit {
            Unit::Days { days, origin } => {
                i128::from(index) * i128::from(days)
                    + i128::from(origin)
                    + i128::from(self.offset.months) * 30
            }
            Unit::Months(months) => {
                let month = i128::from(index) * i128::from(months) + i128::from(self.offset.months);
                first_day_of(month.clamp(-200_000, 200_000) as i64).into()
            }
        };
        let local_ns =
            (day + i128::from(self.offset.days)) * NS_PER_DAY + i128::from(self.offset.ns);
        let day = local_ns.div_euclid(NS_PER_DAY).clamp(-200_000, 200_000) as i64;
        let of_day_ns = local_ns.rem_euclid(NS_PER_DAY) as i64;
        self.instant(day, of_day_ns)
    }

    /// The instant of a local time; one that summer time skips is the first after the gap, one
    /// that occurs twice the earlier.
    fn instant(&self, day: i64, of_day_ns: i64) -> i64 {
        if self.zone == TimeZone::UTC {
            return saturate(i128::from(day) * NS_PER_DAY + i128::from(of_day_ns));
        }
        let (year, month, day) = civil_of(day);
        let time = civil::Time::midnight()
            .checked_add(jiff::SignedDuration::from_nanos(of_day_ns))
            .unwrap_or_default();
        let local = civil::Date::new(year as i16, month as i8, day as i8)
            .map(|date| date.to_datetime(time))
            .unwrap_or_default();
        let instant = self.zone.to_ambiguous_timestamp(local).compatible();
        saturate(instant.map_or(0, Timestamp::as_nanosecond))
    }
}

/// Months since January 1970 of a day since 1970-01-01.
fn month_of(day: i64) -> i64 {
    let (year, month, _) = civil_of(day);
    (year - 1970) * 12 + month - 1
}

/// The first day of a month since January 1970.
fn first_day_of(month: i64) -> i64 {
    let (year, month) = (1970 + month.div_euclid(12), month.rem_euclid(12) + 1);
    // Years begin in March here, so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn civil_of(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ns(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_nanosecond() as i64
    }

    fn check(window: &str, offset: &str, zone: &str, time: &str, start: &str, end: &str) {
        let offset = (!offset.is_empty()).then_some(offset);
        let windows = Windows::parse(Some(window), offset, Some(zone)).unwrap();
        let found = windows.at(ns(time));
        let show = |ns: i64| Timestamp::from_nanosecond(ns.into()).unwrap().to_string();
        let found_text = (show(found.start), show(found.end));
        assert_eq!(found_text, (start.into(), end.into()), "{window} {zone} {time}");
        assert_eq!(windows.start(found.index), found.start);
        assert_eq!(windows.at(found.start).index, found.index);
        assert_eq!(windows.at(found.end).index, found.index + 1);
    }

    #[test]
    fn windows_start_where_the_calendar_says() {
        let utc = "UTC";
        let berlin = "Europe/Berlin";
        let york = "America/New_York";
        for (window, offset, zone, time, start, end) in [
            (
                "1h",
                "",
                berlin,
                "2024-05-01T10:59:59Z",
                "2024-05-01T10:00:00Z",
                "2024-05-01T11:00:00Z",
            ),
            (
                "1h",
                "-5m",
                utc,
                "2024-05-01T10:56:00Z",
                "2024-05-01T10:55:00Z",
                "2024-05-01T11:55:00Z",
            ),
            ("7h", "", utc, "1969-12-31T23:00:00Z", "1969-12-31T17:00:00Z", "1970-01-01T00:00:00Z"),
            (
                "1d",
                "",
                berlin,
                "2024-03-31T12:00:00Z",
                "2024-03-30T23:00:00Z",
                "2024-03-31T22:00:00Z",
            ),
            (
                "1d",
                "",
                berlin,
                "2024-10-27T12:00:00Z",
                "2024-10-26T22:00:00Z",
                "2024-10-27T23:00:00Z",
            ),
            (
                "1d",
                "",
                york,
                "2024-03-10T12:00:00Z",
                "2024-03-10T05:00:00Z",
                "2024-03-11T04:00:00Z",
            ),
            (
                "1d",
                "6h",
                berlin,
                "2024-03-31T03:59:00Z",
                "2024-03-30T05:00:00Z",
                "2024-03-31T04:00:00Z",
            ),
            (
                "1d",
                "-2h",
                utc,
                "2024-03-31T23:00:00Z",
                "2024-03-31T22:00:00Z",
                "2024-04-01T22:00:00Z",
            ),
            ("7d", "", utc, "1970-01-08T00:00:00Z", "1970-01-08T00:00:00Z", "1970-01-15T00:00:00Z"),
            ("1w", "", utc, "2024-05-01T00:00:00Z", "2024-04-29T00:00:00Z", "2024-05-06T00:00:00Z"),
            (
                "1w",
                "",
                york,
                "2024-03-10T12:00:00Z",
                "2024-03-04T05:00:00Z",
                "2024-03-11T04:00:00Z",
            ),
            (
                "1mo",
                "",
                utc,
                "2024-02-29T23:00:00Z",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                "1mo",
                "",
                berlin,
                "2024-03-31T22:30:00Z",
                "2024-03-31T22:00:00Z",
                "2024-04-30T22:00:00Z",
            ),
            (
                "3mo",
                "",
                utc,
                "1969-12-31T00:00:00Z",
                "1969-10-01T00:00:00Z",
                "1970-01-01T00:00:00Z",
            ),
            (
                "1y",
                "",
                york,
                "2024-07-01T00:00:00Z",
                "2024-01-01T05:00:00Z",
                "2025-01-01T05:00:00Z",
            ),
            (
                "1y",
                "3mo",
                utc,
                "2024-02-01T00:00:00Z",
                "2023-04-01T00:00:00Z",
                "2024-04-01T00:00:00Z",
            ),
            (
                "1mo",
                "-1d",
                utc,
                "2024-01-31T01:00:00Z",
                "2024-01-31T00:00:00Z",
                "2024-02-29T00:00:00Z",
            ),
            (
                "1d",
                "",
                "America/Sao_Paulo",
                "2018-11-04T12:00:00Z",
                "2018-11-04T03:00:00Z",
                "2018-11-05T02:00:00Z",
            ),
        ] {
            check(window, offset, zone, time, start, end);
        }
    }

    #[test]
    fn malformed_windows_are_refused() {
        for (window, offset, zone) in [
            ("0s", None, None),
            ("-5m", None, None),
            ("1d12h", None, None),
            ("5", None, None),
            ("1h", Some("1mo"), None),
            ("1d", None, Some("Mars/Olympus")),
            ("999999999999d", None, None),
        ] {
            assert!(Windows::parse(Some(window), offset, zone).is_err(), "{window}");
        }
    }

    #[test]
    fn the_edges_of_time_have_windows() {
        for window in ["1ns", "1h", "1d", "1mo", "1y"] {
            for zone in ["UTC", "Europe/Berlin"] {
                let windows = Windows::parse(Some(window), None, Some(zone)).unwrap();
                for time in [i64::MIN, i64::MIN + 1, 0, i64::MAX - 1] {
                    let found = windows.at(time);
                    assert!(found.start <= time && time < found.end, "{window} {zone} {time}");
                }
            }
        }
    }
}
