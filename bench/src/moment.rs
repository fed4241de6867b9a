//! Times as text.

/// A time as RFC 3339 in UTC, with nine decimals.
pub(crate) fn rfc3339(time_ns: i64) -> String {
    let seconds = time_ns.div_euclid(1_000_000_000);
    let nanos = time_ns.rem_euclid(1_000_000_000);
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    let of_day = seconds.rem_euclid(86_400);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// A time as RFC 3339 in UTC, cut to µs.
pub(crate) fn rfc3339_us(time_ns: i64) -> String {
    let text = rfc3339(time_ns);
    format!("{}Z", &text[..text.len() - 4])
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian, years from March).
fn civil(days: i64) -> (i64, i64, i64) {
    let from_march = days + 719_468;
    let era = from_march.div_euclid(146_097);
    let of_era = from_march.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_people_write_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_451_606_400_000_000_000), "2016-01-01T00:00:00.000000000Z");
        assert_eq!(rfc3339(1_456_790_399_123_456_789), "2016-02-29T23:59:59.123456789Z");
        assert_eq!(rfc3339_us(1_456_790_399_123_456_789), "2016-02-29T23:59:59.123456Z");
        assert_eq!(rfc3339(-1), "1969-12-31T23:59:59.999999999Z");
    }
}
