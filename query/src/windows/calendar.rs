//! Windows of days, weeks, months and years, which begin where the local calendar says.

use super::window::{Window, saturate};
use crate::{
    Error, Result,
    civil::{NS_PER_DAY, civil_of, first_day_of, month_of},
    moment::{Length, WeekUnit},
};
use jiff::{Timestamp, civil, tz::TimeZone};

/// Monday of the week of 1970-01-01, as days since then.
const MONDAY: i64 = -3;
/// Longest window, and longest offset, in units of its own.
const UNITS_MAX: i64 = 1_000_000;

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

impl Calendar {
    /// Windows of a length in days, weeks, months or years.
    pub(super) fn new(length: Length, offset: Length, zone: TimeZone) -> Result<Calendar> {
        let sizes = [length.days, length.months, offset.days, offset.months];
        if sizes.iter().any(|size| size.abs() > UNITS_MAX) {
            return Err(Error::parameter("window", "the window or its offset is too long"));
        }
        if length.months == 0 && offset.months != 0 {
            let detail = "an offset in months or years needs a window in months or years";
            return Err(Error::parameter("offset", detail));
        }
        let unit = match (length.months, length.weeks) {
            (0, WeekUnit::Present) => Unit::Days { days: length.days, origin: MONDAY },
            (0, WeekUnit::Absent) => Unit::Days { days: length.days, origin: 0 },
            (months, _) => Unit::Months(months),
        };
        Ok(Calendar { unit, offset, zone })
    }

    /// The window that holds `time`.
    pub(super) fn at(&self, time: i64) -> Window {
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
            Unit::Days { days, origin } => (day - origin).div_euclid(days),
            Unit::Months(months) => (month_of(day) - self.offset.months).div_euclid(months),
        }
    }

    /// Start of window `index`.
    pub(super) fn start(&self, index: i64) -> i64 {
        let day = match self.unit {
            Unit::Days { days, origin } => {
                i128::from(index) * i128::from(days) + i128::from(origin)
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

    /// The instant of a local time; one that summer time skips comes later by the length of the gap,
    /// one that occurs twice is the earlier.
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
