//! Days since 1970-01-01 as dates of the Gregorian calendar, and back, with integers alone.
//!
//! Years begin in March here, so that a leap day comes last: Howard Hinnant, "chrono-Compatible
//! Low-Level Date Algorithms".

/// Length of a day that no summer time cuts.
pub(crate) const NS_PER_DAY: i128 = 86_400_000_000_000;

/// Months since January 1970 of a day since 1970-01-01.
pub(crate) fn month_of(day: i64) -> i64 {
    let (year, month, _) = civil_of(day);
    (year - 1970) * 12 + month - 1
}

/// The first day of a month since January 1970.
pub(crate) fn first_day_of(month: i64) -> i64 {
    let (year, month) = (1970 + month.div_euclid(12), month.rem_euclid(12) + 1);
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
