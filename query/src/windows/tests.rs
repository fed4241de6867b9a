use super::*;
use jiff::Timestamp;

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
        ("1h", "", berlin, "2024-05-01T10:59:59Z", "2024-05-01T10:00:00Z", "2024-05-01T11:00:00Z"),
        ("1h", "-5m", utc, "2024-05-01T10:56:00Z", "2024-05-01T10:55:00Z", "2024-05-01T11:55:00Z"),
        ("7h", "", utc, "1969-12-31T23:00:00Z", "1969-12-31T17:00:00Z", "1970-01-01T00:00:00Z"),
        ("1d", "", berlin, "2024-03-31T12:00:00Z", "2024-03-30T23:00:00Z", "2024-03-31T22:00:00Z"),
        ("1d", "", berlin, "2024-10-27T12:00:00Z", "2024-10-26T22:00:00Z", "2024-10-27T23:00:00Z"),
        ("1d", "", york, "2024-03-10T12:00:00Z", "2024-03-10T05:00:00Z", "2024-03-11T04:00:00Z"),
        (
            "1d",
            "6h",
            berlin,
            "2024-03-31T03:59:00Z",
            "2024-03-30T05:00:00Z",
            "2024-03-31T04:00:00Z",
        ),
        ("1d", "-2h", utc, "2024-03-31T23:00:00Z", "2024-03-31T22:00:00Z", "2024-04-01T22:00:00Z"),
        ("7d", "", utc, "1970-01-08T00:00:00Z", "1970-01-08T00:00:00Z", "1970-01-15T00:00:00Z"),
        (
            "1d",
            "2h30m",
            berlin,
            "2024-03-31T12:00:00Z",
            "2024-03-31T01:30:00Z",
            "2024-04-01T00:30:00Z",
        ),
        ("1w", "", utc, "2024-05-01T00:00:00Z", "2024-04-29T00:00:00Z", "2024-05-06T00:00:00Z"),
        ("1w", "", york, "2024-03-10T12:00:00Z", "2024-03-04T05:00:00Z", "2024-03-11T04:00:00Z"),
        ("1mo", "", utc, "2024-02-29T23:00:00Z", "2024-02-01T00:00:00Z", "2024-03-01T00:00:00Z"),
        ("1mo", "", berlin, "2024-03-31T22:30:00Z", "2024-03-31T22:00:00Z", "2024-04-30T22:00:00Z"),
        ("3mo", "", utc, "1969-12-31T00:00:00Z", "1969-10-01T00:00:00Z", "1970-01-01T00:00:00Z"),
        ("1y", "", york, "2024-07-01T00:00:00Z", "2024-01-01T05:00:00Z", "2025-01-01T05:00:00Z"),
        ("1y", "3mo", utc, "2024-02-01T00:00:00Z", "2023-04-01T00:00:00Z", "2024-04-01T00:00:00Z"),
        ("1mo", "-1d", utc, "2024-01-31T01:00:00Z", "2024-01-31T00:00:00Z", "2024-02-29T00:00:00Z"),
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

#[test]
fn known_boundaries_are_those_of_the_calendar() {
    for (window, zone) in [("1d", "Pacific/Apia"), ("1mo", "Europe/Berlin"), ("1w", "UTC")] {
        let windows = Windows::parse(Some(window), None, Some(zone)).unwrap();
        let (from, to) = (ns("2011-11-01T00:00:00Z"), ns("2012-04-01T00:00:00Z"));
        let cuts = Cuts::new(&windows, Some((windows.at(from).index, windows.at(to).index)));
        let day = 86_400_000_000_000;
        for time in (from - 40 * day..to + 40 * day).step_by(7_200_000_000_001) {
            assert_eq!(cuts.at(&windows, time), windows.at(time), "{window} {zone} {time}");
        }
    }
}

#[test]
fn months_shift_months_only() {
    let shifted = |window, offset| Windows::parse(Some(window), Some(offset), None).is_ok();
    for (window, offset, fine) in [
        ("1mo", "1mo", true),
        ("1y", "3mo", true),
        ("1mo", "2d", true),
        ("1d", "1mo", false),
        ("2w", "1y", false),
        ("1h", "1mo", false),
    ] {
        assert_eq!(shifted(window, offset), fine, "{window} {offset}");
    }
}
