//! Where windows begin and end: fixed lengths from the epoch, or calendar units in a time zone.

mod calendar;
mod cuts;
mod window;

pub(crate) use cuts::Cuts;
pub(crate) use window::Window;

use crate::{
    Error, Result,
    civil::NS_PER_DAY,
    moment::{Length, parse_length},
};
use calendar::Calendar;
use jiff::tz::TimeZone;
use window::saturate;

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

impl Windows {
    /// Reads the parameters `window`, `offset` and `timezone`.
    pub(crate) fn parse(
        window: Option<&str>,
        offset: Option<&str>,
        timezone: Option<&str>,
    ) -> Result<Windows> {
        let zone = zone(timezone)?;
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
        Ok(Windows::Calendar(Box::new(Calendar::new(length, offset, zone)?)))
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

/// The zone that the parameter `timezone` names; UTC where it is absent.
///
/// # Errors
/// [`Error::Parameter`] for a name that nobody knows.
pub(crate) fn zone(timezone: Option<&str>) -> Result<TimeZone> {
    match timezone.unwrap_or("UTC") {
        "UTC" => Ok(TimeZone::UTC),
        // A blank is a `+` that a URL lost: no zone has one in its name.
        name => TimeZone::get(&name.replace(' ', "+")).map_err(|_| {
            let detail = format!(
                "{name:?} is no known time zone; expected an IANA name such as Europe/Berlin or UTC"
            );
            Error::parameter("timezone", detail)
        }),
    }
}

fn fixed_start(index: i64, length_ns: i64, offset_ns: i64) -> i128 {
    i128::from(index) * i128::from(length_ns) + i128::from(offset_ns)
}

#[cfg(test)]
mod tests;
