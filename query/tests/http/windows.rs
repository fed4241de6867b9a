//! Windows: figures, fills, limits, calendars.

use super::*;

#[tokio::test]
async fn windows_answer_as_documented() {
    let engine = engine();
    let e = &engine;
    check(e, &[("select", "count(*)")], json!([[null, 10]])).await;
    check(
        e,
        &[("select", "mean(temperature) as t"), ("window", "5m")],
        json!([[at(0), 16.0], [at(5), 20.5]]),
    )
    .await;
    check(
        e,
        &[("select", "max(temperature)"), ("group_by", "device"), ("window", "5m")],
        json!([[at(0), "a", 12.0], [at(0), "b", 22.0], [at(5), "a", 16.0], [at(5), "b", 26.0]]),
    )
    .await;
    check(
        e,
        &[("select", "count(*)"), ("group_by", "site")],
        json!([[null, "north", 5], [null, null, 5]]),
    )
    .await;
    check(
        e,
        &[("select", "count(*)"), ("group_by", "*"), ("limit", "1")],
        json!([[null, "north", "a", 5]]),
    )
    .await;
    check(
        e,
        &[("select", "min(time),max(time),first(note),last(note),last(ok)"), ("start", "0s")],
        json!([[at(0), at(0), at(6), "a0", "b6", true]]),
    )
    .await;
    check(
        e,
        &[("select", "sum(n),count(n),median(n),p90(n),stddev(n)"), ("where", "device = 'a'")],
        json!([[null, 130, 4, 35.0, 57.0, 27.537852736430512]]),
    )
    .await;
    check(e, &[("select", "delta(n), rate(n)")], json!([[null, 120, 1.0 / 3.0]])).await;
    check(
        e,
        &[("select", "count(*)"), ("where", "temperature > 14 AND device IN ('a')")],
        json!([[null, 2]]),
    )
    .await;
    check(
        e,
        &[("select", "count(*)"), ("where", "device LIKE 'b%' and time < '1970-01-01T00:02:00Z'")],
        json!([[null, 2]]),
    )
    .await;
    check(
        e,
        &[("select", "count(*)"), ("where", "site IS NULL or site <> 'north'")],
        json!([[null, 5]]),
    )
    .await;
    check(
        e,
        &[
            ("select", "sum(n)"),
            ("window", "1m"),
            ("where", "device='a'"),
            ("fill", "linear"),
            ("start", "0s"),
            ("end", "360s"),
        ],
        json!([
            [at(0), 0.0],
            [at(1), 10.0],
            [at(2), 20.0],
            [at(3), 30.0],
            [at(4), 40.0],
            [at(5), 50.0]
        ]),
    )
    .await;
    check(
        e,
        &[
            ("select", "sum(n),count(n)"),
            ("window", "1m"),
            ("where", "device='a'"),
            ("fill", "previous"),
            ("start", "60s"),
            ("end", "4m"),
        ],
        json!([[at(1), null, 0], [at(2), 20, 1], [at(3), 20, 0]]),
    )
    .await;
    check(
        e,
        &[
            ("select", "sum(n)"),
            ("window", "1m"),
            ("where", "device='a'"),
            ("fill", "-1"),
            ("order", "desc"),
            ("limit", "2"),
            ("end", "5m"),
        ],
        json!([[at(4), -1], [at(3), -1]]),
    )
    .await;
    check(
        e,
        &[
            ("select", "sum(n)"),
            ("window", "1m"),
            ("where", "device='a'"),
            ("start", "1m"),
            ("end", "2m"),
        ],
        json!([]),
    )
    .await;
    check(e, &[("select", "count(*)"), ("start", "60s"), ("end", "60s")], json!([])).await;
    check(
        e,
        &[
            ("select", "count(*)"),
            ("window", "1m"),
            ("order", "desc"),
            ("group_by", "device"),
            ("limit", "3"),
        ],
        json!([[at(6), "a", 1], [at(6), "b", 1], [at(5), "a", 1]]),
    )
    .await;
}

#[tokio::test]
async fn a_limit_ends_the_reading_from_either_end() {
    let engine = engine();
    for (order, limit, rows, scanned) in [
        ("desc", "1", json!([[at(6), 2]]), 2),
        ("desc", "2", json!([[at(6), 2], [at(5), 2]]), 10),
        ("desc", "9", json!([[at(6), 2], [at(5), 2], [at(2), 2], [at(1), 2], [at(0), 2]]), 10),
        ("asc", "1", json!([[at(0), 2]]), 2),
        ("asc", "2", json!([[at(0), 2], [at(1), 2]]), 10),
        ("asc", "9", json!([[at(0), 2], [at(1), 2], [at(2), 2], [at(5), 2], [at(6), 2]]), 10),
    ] {
        let pairs = [
            ("table", "sensors"),
            ("select", "count(*)"),
            ("window", "1s"),
            ("order", order),
            ("limit", limit),
        ];
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(answer["rows"], rows, "{order} {limit}");
        assert_eq!(answer["stats"]["rows_scanned"], scanned, "{order} {limit}");
    }
}

#[tokio::test]
async fn a_limit_ends_the_reading_of_filled_windows_too() {
    let engine = engine();
    for (order, fill, bounds, rows, scanned) in [
        ("asc", "null", vec![], json!([[at(0), 0], ["1970-01-01T00:00:01Z", null]]), 10),
        ("asc", "previous", vec![], json!([[at(0), 0], ["1970-01-01T00:00:01Z", 0]]), 10),
        ("desc", "7", vec![], json!([[at(6), 120], ["1970-01-01T00:05:59Z", 7]]), 10),
        (
            "desc",
            "null",
            vec![("end", "420s")],
            json!([["1970-01-01T00:06:59Z", null], ["1970-01-01T00:06:58Z", null]]),
            2,
        ),
        (
            "asc",
            "5",
            vec![("start", "1969-12-31T23:59:00Z"), ("end", "420s")],
            json!([["1969-12-31T23:59:00Z", 5], ["1969-12-31T23:59:01Z", 5]]),
            2,
        ),
        ("desc", "previous", vec![], json!([[at(6), 120], ["1970-01-01T00:05:59Z", 100]]), 10),
        ("asc", "linear", vec![], json!([[at(0), 0.0], ["1970-01-01T00:00:01Z", 1.0 / 3.0]]), 10),
    ] {
        let mut pairs = vec![
            ("table", "sensors"),
            ("select", "sum(n) as s"),
            ("window", "1s"),
            ("order", order),
            ("fill", fill),
            ("limit", "2"),
        ];
        pairs.extend(bounds);
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(answer["rows"], rows, "{order} {fill}");
        assert_eq!(answer["stats"]["rows_scanned"], scanned, "{order} {fill}");
    }
}

#[tokio::test]
async fn a_grid_is_as_long_as_its_limit() {
    let options = QueryOptions { answer_rows_max: 50, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    // 361 windows of two groups.
    let grid = [("select", "sum(n) as s"), ("window", "1s"), ("group_by", "device")];
    for (order, fill, first) in [
        ("asc", "null", json!([at(0), "a", 0])),
        ("asc", "previous", json!([at(0), "a", 0])),
        ("asc", "7", json!([at(0), "a", 0])),
        ("desc", "null", json!([at(6), "a", 60])),
        ("desc", "7", json!([at(6), "a", 60])),
    ] {
        let limits = [("table", "sensors"), ("order", order), ("fill", fill), ("limit", "3")];
        let pairs = [&grid[..], &limits].concat();
        let (status, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(status, 200, "{order} {fill}: {answer}");
        assert_eq!(answer["rows"][0], first, "{order} {fill}");
        assert_eq!(answer["rows"].as_array().unwrap().len(), 3, "{order} {fill}");
    }
    let without = [&grid[..], &[("table", "sensors"), ("fill", "null")]].concat();
    assert_eq!(get(&engine, "/api/v1/query", &without).await.0, 422);
}

/// What a window has no value of is filled, and left out where nothing else is in it.
#[tokio::test]
async fn a_window_without_a_value_is_empty() {
    let mut table = MemoryTable::new(1, "default", "t", &[], &[("v", ColumnType::Float)]);
    for (second, value) in [(0, 1.0), (30, 3.0), (60, 9.0), (180, 2.0), (210, 4.0)] {
        table.put(&[], second * 1_000_000_000, &[Some(Value::Float(value))]);
    }
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), QueryOptions::default());
    let root = 2f64.sqrt();
    for (select, fill, rows) in [
        ("stddev(v) as s", "none", json!([[at(0), root], [at(3), root]])),
        (
            "stddev(v) as s",
            "previous",
            json!([[at(0), root], [at(1), root], [at(2), root], [at(3), root]]),
        ),
        (
            "delta(v) as d",
            "linear",
            json!([[at(0), 2.0], [at(1), 2.0], [at(2), 2.0], [at(3), 2.0]]),
        ),
        (
            "rate(v) as r, count(*)",
            "none",
            json!([[at(0), 2.0 / 30.0, 2], [at(1), null, 1], [at(3), 2.0 / 30.0, 2]]),
        ),
    ] {
        let pairs = [("table", "t"), ("select", select), ("window", "1m"), ("fill", fill)];
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(answer["rows"], rows, "{select} {fill}");
    }
}

/// The 30th of December 2011 was no day in Apia.
#[tokio::test]
async fn a_day_that_never_was_is_no_window() {
    let mut table = MemoryTable::new(1, "default", "t", &[], &[("v", ColumnType::Int)]);
    for (value, second) in [(1, 1_325_188_800), (2, 1_325_239_200), (3, 1_325_329_200)] {
        table.put(&[], second * 1_000_000_000, &[Some(Value::Int(value))]);
    }
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), QueryOptions::default());
    let day = |day: u8, count: u8| json!([format!("2011-12-{day}T10:00:00Z"), count]);
    let expected = json!([day(29, 1), day(30, 1), day(31, 1)]);
    for (fill, order) in
        [("none", "asc"), ("null", "asc"), ("0", "asc"), ("previous", "asc"), ("0", "desc")]
    {
        let pairs = [
            ("table", "t"),
            ("select", "count(v)"),
            ("window", "1d"),
            ("timezone", "Pacific/Apia"),
            ("fill", fill),
            ("order", order),
            ("limit", "3"),
        ];
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        let mut rows = answer["rows"].as_array().unwrap().clone();
        if order == "desc" {
            rows.reverse();
        }
        assert_eq!(json!(rows), expected, "{fill} {order}");
    }
}

#[tokio::test]
async fn a_plus_that_a_url_lost_is_one_in_the_name_of_a_zone() {
    let mut table = MemoryTable::new(1, "default", "t", &[], &[("v", ColumnType::Int)]);
    table.put(&[], 1_714_521_600_000_000_000, &[Some(Value::Int(1))]);
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), QueryOptions::default());
    for zone in ["Etc/GMT+10", "Etc/GMT 10"] {
        let pairs = [("table", "t"), ("select", "count(v)"), ("window", "1d"), ("timezone", zone)];
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(answer["rows"], json!([["2024-04-30T10:00:00Z", 1]]), "{zone}");
    }
}
