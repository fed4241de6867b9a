//! Questions and SQL as clients ask them.
#![allow(clippy::unwrap_used)]

mod support;

use axum::{
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt;
use oribi_model::{ColumnType, Value};
use oribi_query::{QueryEngine, QueryOptions, router};
use serde_json::{Value as Json, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use support::{Memory, MemoryTable};
use tower::ServiceExt;

const MINUTE: i64 = 60_000_000_000;

fn sensors() -> Memory {
    let fields = [
        ("temperature", ColumnType::Float),
        ("n", ColumnType::Int),
        ("ok", ColumnType::Bool),
        ("note", ColumnType::Text),
    ];
    let mut table = MemoryTable::new(1, "default", "sensors", &["site", "device"], &fields);
    table.range_ns = 4 * MINUTE;
    for minute in [0i64, 1, 2, 5, 6] {
        for (device, base) in [("a", 10.0), ("b", 20.0)] {
            let fields = [
                Some(Value::Float(base + minute as f64)),
                (minute != 1).then_some(Value::Int(minute * 10)),
                Some(Value::Bool(minute % 2 == 0)),
                Some(Value::Text(format!("{device}{minute}"))),
            ];
            table.put(
                &[if device == "a" { "north" } else { "" }, device],
                minute * MINUTE,
                &fields,
            );
        }
    }
    let mut other = MemoryTable::new(2, "plant", "Motor 1", &["id"], &[("rpm", ColumnType::Int)]);
    other.put(&["x"], 0, &[Some(Value::Int(i64::MAX))]);
    other.put(&["x"], 1, &[Some(Value::Int(1))]);
    let dead =
        MemoryTable::new(3, "default", "_dead_letters", &[], &[("reason", ColumnType::Text)]);
    Memory(vec![table, other, dead])
}

async fn send(engine: &QueryEngine, request: Request<Body>) -> (u16, String, Vec<u8>) {
    let response = router(engine.clone()).oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    let kind = response.headers()[header::CONTENT_TYPE].to_str().unwrap().to_owned();
    (status, kind, response.into_body().collect().await.unwrap().to_bytes().to_vec())
}

async fn get(engine: &QueryEngine, path: &str, pairs: &[(&str, &str)]) -> (u16, Json) {
    support::get(router(engine.clone()), path, pairs).await
}

fn engine() -> QueryEngine {
    QueryEngine::new(Arc::new(sensors()), QueryOptions::default())
}

async fn check(engine: &QueryEngine, pairs: &[(&str, &str)], rows: Json) {
    let mut all = vec![("table", "sensors")];
    all.extend_from_slice(pairs);
    let (status, answer) = get(engine, "/api/v1/query", &all).await;
    assert_eq!(status, 200, "{pairs:?}: {answer}");
    assert_eq!(answer["rows"], rows, "{pairs:?}");
}

fn at(minute: i64) -> String {
    format!("1970-01-01T00:{minute:02}:00Z")
}

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
async fn rows_by_time_are_read_from_the_end_that_is_wanted() {
    let mut table = MemoryTable::new(1, "default", "t", &["d"], &[("v", ColumnType::Int)]);
    table.range_ns = 100;
    for time in 0..1_000i64 {
        table.put(&[["a", "b"][time as usize % 2]], time, &[Some(Value::Int(time * 3))]);
    }
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), QueryOptions::default());
    let e = &engine;
    for (text, values) in [
        ("SELECT v FROM t ORDER BY time DESC LIMIT 3", [999, 998, 997]),
        ("SELECT v FROM t ORDER BY time LIMIT 3", [0, 1, 2]),
        ("SELECT v FROM t WHERE d = 'a' ORDER BY time DESC LIMIT 3", [998, 996, 994]),
        ("SELECT v FROM t WHERE v < 30 ORDER BY time DESC LIMIT 3", [9, 8, 7]),
        (
            "SELECT v FROM t WHERE time < '1970-01-01T00:00:00.0000005Z' ORDER BY time DESC LIMIT 3",
            [499, 498, 497],
        ),
        // Here `time` is another column.
        ("SELECT v, -v AS time FROM t ORDER BY time LIMIT 3", [999, 998, 997]),
    ] {
        let (status, answer) = get(e, "/api/v1/sql", &[("q", text)]).await;
        assert_eq!(status, 200, "{text}: {answer}");
        let found: Vec<i64> = answer["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| row[0].as_i64().unwrap() / 3)
            .collect();
        assert_eq!(found, values, "{text}");
    }
}

#[tokio::test]
async fn answers_are_bounded_as_they_are_sent() {
    let mut table = MemoryTable::new(1, "default", "t", &["d"], &[("v", ColumnType::Int)]);
    let long = "x".repeat(10_000);
    for time in 0..1_000i64 {
        table.put(&[&long], time, &[Some(Value::Int(time))]);
    }
    let options = QueryOptions { answer_bytes_max: 1 << 20, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), options);
    for format in ["json", "ndjson", "csv", "arrow"] {
        for (text, expected) in [
            ("SELECT d FROM t", 422),
            ("SELECT d AS a, d || 'x' AS b FROM t LIMIT 90", 422),
            ("SELECT d FROM t LIMIT 90", 200),
            ("SELECT v FROM t", 200),
        ] {
            let pairs = [("q", text), ("format", format)];
            let request = Request::get(support::url("/api/v1/sql", &pairs));
            let (status, _, body) = send(&engine, request.body(Body::empty()).unwrap()).await;
            assert_eq!(status, expected, "{text} as {format}");
            assert!(body.len() <= 1 << 20, "{text} as {format}: {}", body.len());
        }
    }
}

#[tokio::test]
async fn what_json_has_no_type_for_is_written_out() {
    let engine = engine();
    let e = &engine;
    check_sql(e, "SELECT X'00ff', NULL", json!([["00ff", null]])).await;
    check_sql(e, "SELECT to_timestamp_seconds(99999999999)", json!([["5138-11-16T09:46:39Z"]]))
        .await;
    for format in ["csv", "ndjson"] {
        let text = "SELECT CAST(9007199254740993 AS DECIMAL(20, 0)) AS d";
        let request = Request::get(support::url("/api/v1/sql", &[("q", text), ("format", format)]));
        let (_, _, body) = send(e, request.body(Body::empty()).unwrap()).await;
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains("9007199254740993") && !body.contains(".0"), "{body}");
    }
    let twice = [("q", "SELECT a.n, b.n FROM sensors a, sensors b"), ("format", "ndjson")];
    let (status, problem) = get(e, "/api/v1/sql", &twice).await;
    assert_eq!(status, 400, "{problem}");
    let nulls = "SELECT site FROM (SELECT * FROM sensors) AS s WHERE n = 20 ORDER BY device";
    let request = Request::get(support::url("/api/v1/sql", &[("q", nulls), ("format", "csv")]));
    let (_, _, body) = send(e, request.body(Body::empty()).unwrap()).await;
    assert_eq!(String::from_utf8(body).unwrap(), "site\r\nnorth\r\n\"\"\r\n");
    let tags = [("q", "SELECT device FROM sensors"), ("format", "arrow")];
    let request = Request::get(support::url("/api/v1/sql", &tags)).body(Body::empty()).unwrap();
    let (_, _, body) = send(e, request).await;
    let reader = arrow_ipc::reader::StreamReader::try_new(&body[..], None).unwrap();
    assert_eq!(reader.schema().field(0).data_type(), &arrow_schema::DataType::Utf8);
}

#[tokio::test]
async fn what_a_client_likes_best_is_what_it_gets() {
    let engine = engine();
    for (accept, kind) in [
        ("text/csv;q=0.1, application/json", "application/json"),
        ("application/json;q=0.5, text/csv", "text/csv; charset=utf-8"),
        ("*/*", "application/json"),
        ("text/html, application/x-ndjson;q=0.9", "application/x-ndjson"),
        ("application/json;q=0, text/csv;q=0.2", "text/csv; charset=utf-8"),
        ("image/png", "application/json"),
    ] {
        let request = Request::get(support::url("/api/v1/sql", &[("q", "SELECT 1")]));
        let request = request.header(header::ACCEPT, accept).body(Body::empty()).unwrap();
        let (status, found, _) = send(&engine, request).await;
        assert_eq!((status, found.as_str()), (200, kind), "{accept}");
    }
}

/// Scans that wait for each other hold no threads, and so do not wait for themselves.
#[tokio::test]
async fn many_scans_at_once_come_to_an_end() {
    let options = QueryOptions { threads_max: 16, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    let joins: Vec<String> = (1..24)
        .map(|at| {
            format!("JOIN sensors s{at} ON s0.time = s{at}.time AND s0.device = s{at}.device")
        })
        .collect();
    let text = format!("SELECT count(*) FROM sensors s0 {}", joins.join(" "));
    let answers = (0..4).map(|_| check_sql(&engine, &text, json!([[10]])));
    futures::future::join_all(answers).await;
}

#[tokio::test]
async fn plans_that_multiply_are_refused_before_they_are_made() {
    let engine = engine();
    let doubled = |levels: usize, twice: &str| {
        let clause = |at: usize| {
            let before = at - 1;
            format!("a{at} AS (SELECT x.n FROM a{before} x {twice} a{before} y)")
        };
        let clauses: Vec<String> = (1..=levels).map(clause).collect();
        let first = "a0 AS (SELECT n FROM sensors)";
        format!("WITH {first}, {} SELECT n FROM a{levels}", clauses.join(", "))
    };
    for text in [
        doubled(12, "CROSS JOIN"),
        doubled(24, "UNION ALL SELECT y.n FROM"),
        format!("SELECT 1 FROM {}", vec!["sensors"; 65].join(", ")),
        format!(
            "SELECT {}",
            (0..20_000).map(|at| format!("1 AS a{at}")).collect::<Vec<_>>().join(", ")
        ),
    ] {
        let (status, problem) = get(&engine, "/api/v1/sql", &[("q", &text)]).await;
        assert_eq!(status, 400, "{problem}");
    }
}

#[tokio::test]
async fn as_many_operators_as_allowed_are_answered() {
    let engine = engine();
    let ors: Vec<String> = (0..248).map(|at| format!("device = 'd{at}'")).collect();
    let ors = ors.join(" OR ");
    check(&engine, &[("select", "count(*)"), ("where", &ors)], json!([])).await;
    let text = format!("SELECT count(*) FROM sensors WHERE {ors}");
    check_sql(&engine, &text, json!([[0]])).await;
    let memory = sensors();
    let table = &memory.0[0].table;
    assert!(oribi_query::tag_predicate(&ors, table, &QueryOptions::default()).is_ok());
}

#[tokio::test]
async fn the_last_row_of_a_series_is_looked_for_where_it_may_be() {
    let mut table = MemoryTable::new(1, "default", "t", &["d"], &[("v", ColumnType::Int)]);
    table.range_ns = 100;
    for time in 0..1_000i64 {
        table.put(&["live"], time, &[Some(Value::Int(time))]);
        if time < 50 {
            table.put(&["gone"], time, &[Some(Value::Int(-time))]);
        }
    }
    let engine = QueryEngine::new(Arc::new(Memory(vec![table])), QueryOptions::default());
    for (end, last) in [("1s", 999), ("700ns", 699), ("60ns", 59)] {
        let pairs = [("table", "t"), ("select", "last(v)"), ("group_by", "d"), ("end", end)];
        let (_, answer) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(answer["rows"], json!([[null, "gone", -49], [null, "live", last]]), "{end}");
        // Of a series that was met, no earlier rows.
        let scanned = answer["stats"]["rows_scanned"].as_u64().unwrap();
        assert!(scanned < 200, "{end}: {scanned}");
    }
}

#[test]
fn deletes_take_conditions_on_tags_only() {
    let memory = sensors();
    let table = &memory.0[0].table;
    let options = QueryOptions::default();
    let similar = vec!["device"; 4_500].join(" SIMILAR TO ");
    for (text, fine) in [
        (similar.as_str(), false),
        ("device = 'a'", true),
        ("device IN ('a', 'b') AND NOT (site = 'north' OR site IS NULL)", true),
        ("device <> 'a' and time < '2024-01-01T00:00:00Z'", true),
        ("device NOT IN ('a','b','c','d','e')", true),
        ("temperature > 1", false),
        ("device LIKE 'a%'", false),
        ("device = 'a' OR time < '2024-01-01T00:00:00Z'", false),
        ("device IN ('a', NULL)", false),
        ("nope = 'a'", false),
        ("", false),
    ] {
        let found = oribi_query::tag_predicate(text, table, &options);
        assert_eq!(found.is_ok(), fine, "{text}: {found:?}");
    }
}

#[tokio::test]
async fn parameters_come_as_url_form_or_json_in_every_format() {
    let engine = engine();
    let post = |kind: &str, body: &str| {
        Request::post("/api/v1/query")
            .header(header::CONTENT_TYPE, kind)
            .body(Body::from(body.to_owned()))
            .unwrap()
    };
    let form = "table=sensors&select=count%28*%29&window=5m&start=1970-01-01T00:00:00+00:00";
    let (status, _, body) = send(&engine, post("application/x-www-form-urlencoded", form)).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    for (format, kind, expected) in [
        (
            "csv",
            "text/csv; charset=utf-8",
            "time,count(*)\r\n1970-01-01T00:00:00Z,6\r\n1970-01-01T00:05:00Z,4\r\n",
        ),
        (
            "ndjson",
            "application/x-ndjson",
            "{\"time\":\"1970-01-01T00:00:00Z\",\"count(*)\":6}\n{\"time\":\"1970-01-01T00:05:00Z\",\"count(*)\":4}\n",
        ),
    ] {
        let body =
            json!({"table": "sensors", "select": "count(*)", "window": "5m", "format": format});
        let (status, found, body) =
            send(&engine, post("application/json", &body.to_string())).await;
        assert_eq!((status, found.as_str()), (200, kind));
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }
    let body = json!({"table": "sensors", "select": "count(*)", "window": "5m", "format": "arrow"});
    let (_, _, body) = send(&engine, post("application/json", &body.to_string())).await;
    let rows: usize = arrow_ipc::reader::StreamReader::try_new(&body[..], None)
        .unwrap()
        .map(|batch| batch.unwrap().num_rows())
        .sum();
    assert_eq!(rows, 2);
}

#[tokio::test]
async fn malformed_questions_name_the_parameter() {
    let engine = engine();
    for (pairs, status, parameter) in [
        (vec![("table", "sensors")], 400, "select"),
        (vec![("select", "count(*)")], 400, "table"),
        (vec![("table", "sensor"), ("select", "count(*)")], 404, "table"),
        (vec![("table", "sensors"), ("select", "mean(nope)")], 400, "select"),
        (vec![("table", "sensors"), ("select", "mean(note)")], 400, "select"),
        (vec![("table", "sensors"), ("select", "mean(device)")], 400, "select"),
        (vec![("table", "sensors"), ("select", "mean(temperature")], 400, "select"),
        (vec![("table", "sensors"), ("select", "evil(temperature)")], 400, "select"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("nope", "1")], 400, "nope"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("start", "1451606400")], 400, "start"),
        (
            vec![("table", "sensors"), ("select", "count(*)"), ("start", "2s"), ("end", "1s")],
            400,
            "start",
        ),
        (vec![("table", "sensors"), ("select", "count(*)"), ("window", "0s")], 400, "window"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("timezone", "X/Y")], 400, "timezone"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("where", "nope = 1")], 400, "where"),
        (
            vec![("table", "sensors"), ("select", "count(*)"), ("where", "temperature +")],
            400,
            "where",
        ),
        (
            vec![("table", "sensors"), ("select", "count(*)"), ("where", "temperature")],
            400,
            "where",
        ),
        (vec![("table", "sensors"), ("select", "count(*)"), ("where", "1/0 = 1")], 400, "where"),
        (
            vec![("table", "sensors"), ("select", "count(*)"), ("where", "n in (select 1)")],
            400,
            "where",
        ),
        (vec![("table", "sensors"), ("select", "count(*)"), ("group_by", "n")], 400, "group_by"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("fill", "x")], 400, "fill"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("order", "up")], 400, "order"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("limit", "-1")], 400, "limit"),
        (vec![("table", "sensors"), ("select", "count(*)"), ("format", "xml")], 400, "format"),
    ] {
        let (found, problem) = get(&engine, "/api/v1/query", &pairs).await;
        assert_eq!(
            (found, problem["parameter"].as_str()),
            (status, Some(parameter)),
            "{pairs:?} {problem}"
        );
    }
    let many = [("table", "sensors"), ("select", "count(*)"), ("window", "1ns")];
    let (status, problem) = get(&engine, "/api/v1/query", &many).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("1000000"), "{problem}");
    let sum = [("db", "plant"), ("table", "Motor 1"), ("select", "sum(rpm)")];
    assert_eq!(get(&engine, "/api/v1/query", &sum).await.0, 422);
}

async fn check_sql(engine: &QueryEngine, text: &str, rows: Json) {
    let (status, answer) = get(engine, "/api/v1/sql", &[("q", text)]).await;
    assert_eq!(status, 200, "{text}: {answer}");
    assert_eq!(answer["rows"], rows, "{text}");
}

#[tokio::test]
async fn sql_sees_databases_as_schemas() {
    let engine = engine();
    let e = &engine;
    check_sql(e, "SELECT count(*) FROM sensors", json!([[10]])).await;
    check_sql(e, "SELECT count(*) FROM \"default\".sensors WHERE device = 'a'", json!([[5]])).await;
    check_sql(e, "SELECT sum(rpm / 2) FROM plant.\"Motor 1\"", json!([[i64::MAX / 2]])).await;
    check_sql(e, "SELECT count(*) FROM _dead_letters", json!([[0]])).await;
    check_sql(
        e,
        "SELECT time, note FROM sensors WHERE time >= '1970-01-01T00:06:00Z' AND device = 'b'",
        json!([[at(6), "b6"]]),
    )
    .await;
    check_sql(e, "SELECT time_bucket(INTERVAL '5 minutes', time) AS t, avg(temperature) FROM sensors GROUP BY t ORDER BY t",
        json!([[at(0), 16.0], [at(5), 20.5]])).await;
    check_sql(
        e,
        "SELECT date_bin('5 minutes', time) AS t, count(*) FROM sensors GROUP BY t ORDER BY t",
        json!([[at(0), 6], [at(5), 4]]),
    )
    .await;
    check_sql(e, "WITH x AS (SELECT device, max(n) m FROM sensors GROUP BY device) SELECT s.device, count(*) FROM sensors s JOIN x ON s.device = x.device GROUP BY s.device ORDER BY 1",
        json!([["a", 5], ["b", 5]])).await;
    check_sql(
        e,
        "SELECT site, count(*) FROM sensors GROUP BY site ORDER BY site",
        json!([["north", 5], [null, 5]]),
    )
    .await;
    check_sql(e, "SELECT temperature FROM sensors WHERE temperature > 25", json!([[26.0]])).await;
    let (status, problem) = get(e, "/api/v1/sql", &[("q", "SELECT * FROM Sensors")]).await;
    assert_eq!(status, 404, "{problem}");
    assert_eq!(problem["near"], json!(["sensors"]));
    let (status, problem) =
        get(e, "/api/v1/sql", &[("q", "SELECT Temperature FROM sensors")]).await;
    assert_eq!(status, 400, "{problem}");
}

#[tokio::test]
async fn plain_selects_answer_as_planned_ones() {
    let engine = engine();
    let columns = ["*", "time, device, n", "n AS number, site", "temperature", "note, \"time\""];
    let predicates = [
        "",
        " WHERE temperature > 12.5",
        " WHERE device = 'a' AND n >= 2",
        " WHERE site IS NULL AND time < '1970-01-01T00:04:00Z'",
        " WHERE device IN ('a', 'b') AND (temperature < 12 OR note LIKE 'b%')",
        " WHERE time >= '1970-01-01T00:02:00Z' AND time < '1970-01-01T00:05:00Z' AND NOT ok",
        " WHERE n % 20 = 0 AND device <> 'b'",
        " WHERE false",
    ];
    for columns in columns {
        for predicate in predicates {
            let plain = format!("SELECT {columns} FROM sensors{predicate}");
            let planned = format!("SELECT {columns} FROM (SELECT * FROM sensors) AS s{predicate}");
            let mut answers = Vec::new();
            for text in [&plain, &planned] {
                let (status, answer) = get(&engine, "/api/v1/sql", &[("q", text)]).await;
                assert_eq!(status, 200, "{text}: {answer}");
                let mut rows: Vec<String> =
                    answer["rows"].as_array().unwrap().iter().map(Json::to_string).collect();
                rows.sort();
                answers.push((answer["columns"].clone(), rows));
            }
            assert_eq!(answers[0], answers[1], "{plain}");
        }
    }
    let limited = [("q", "SELECT n FROM sensors LIMIT 3")];
    let (_, answer) = get(&engine, "/api/v1/sql", &limited).await;
    assert_eq!(answer["rows"].as_array().unwrap().len(), 3, "{answer}");
    let (_, answer) = get(&engine, "/api/v1/sql", &[("q", "SELECT n FROM sensors LIMIT 0")]).await;
    assert_eq!(answer["rows"], json!([]), "{answer}");
    for (text, status) in [
        ("SELECT n FROM sensors WHERE nothing = 1", 400),
        ("SELECT n FROM sensors WHERE temperature = 'warm'", 400),
        ("SELECT nothing FROM sensors", 400),
        ("SELECT n FROM nothing", 404),
        ("SELECT n FROM sensors WHERE n / (n - n) = 1", 400),
    ] {
        let (found, problem) = get(&engine, "/api/v1/sql", &[("q", text)]).await;
        assert_eq!(found, status, "{text}: {problem}");
    }
}

#[tokio::test]
async fn bad_sql_is_refused_in_time() {
    let options =
        QueryOptions { time_ms_max: 1_000, answer_rows_max: 10_000, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    let plus = format!("SELECT {}", vec!["1"; 5_000].join("+"));
    let ors = format!("SELECT * FROM sensors WHERE {}", vec!["n = 1"; 10_000].join(" OR "));
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let similar = vec!["'a'"; 4_500].join(" SIMILAR TO ");
    let similar = format!("SELECT {similar}");
    for (text, allowed) in [
        (plus.as_str(), &[400][..]),
        (&ors, &[400]),
        (&deep, &[400]),
        (&similar, &[400]),
        ("", &[400]),
        ("SELEC 1", &[400]),
        ("SELECT * FROM '/etc/passwd'", &[400, 404]),
        ("SELECT * FROM \"/etc/passwd\"", &[404]),
        ("COPY sensors TO '/tmp/x.csv'", &[400]),
        ("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'", &[400]),
        ("CREATE TABLE x AS SELECT 1", &[400]),
        ("CREATE VIEW x AS SELECT 1", &[400]),
        ("INSERT INTO sensors VALUES (1)", &[400]),
        ("DELETE FROM sensors", &[400]),
        ("DROP TABLE sensors", &[400]),
        ("SET datafusion.execution.batch_size = 1", &[400]),
        ("SELECT 1; SELECT 2", &[400]),
        ("SELECT repeat('x', 1000000000)", &[400, 422]),
        ("SELECT lpad('x', 1000000000, 'y')", &[400, 422]),
        ("SELECT range(1, 1000000000000)", &[400, 422]),
        ("SELECT * FROM generate_series(1, 1000000000000)", &[422, 504]),
        (
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
            &[422, 504],
        ),
        (
            "SELECT count(*) FROM generate_series(1,1000000) a, generate_series(1,1000000) b, sensors c, sensors d",
            &[422, 504],
        ),
        ("SELECT 1/0", &[400]),
        ("SELECT timestamp '2024-01-01' + interval '999999999 years'", &[400]),
    ] {
        let start = Instant::now();
        let (status, problem) = get(&engine, "/api/v1/sql", &[("q", text)]).await;
        let shown = &text[..text.len().min(80)];
        assert!(allowed.contains(&status), "{shown}: {status} {problem}");
        assert!(start.elapsed() < Duration::from_secs(5), "{shown}: {:?}", start.elapsed());
        let quick = get(&engine, "/api/v1/sql", &[("q", "SELECT 1")]).await;
        assert_eq!(quick.0, 200, "after {shown}");
    }
    check_sql(
        &engine,
        "SELECT regexp_like('aaaaaaaaaaaaaaaaaaaaaaaaaaaa!', '(a+)+$')",
        json!([[false]]),
    )
    .await;
}

/// Stride, source, origin and start of the bin, from Apache DataFusion's own tests (Apache-2.0).
#[tokio::test]
async fn date_bin_and_time_bucket_agree_with_known_vectors() {
    let engine = engine();
    for (stride, source, origin, expected) in [
        ("15 minutes", "2022-08-03T14:38:50Z", "1970-01-01T00:00:00Z", "2022-08-03T14:30:00Z"),
        (
            "10 nanoseconds",
            "2022-08-03T14:38:50.000000016Z",
            "1970-01-01T00:00:00Z",
            "2022-08-03T14:38:50.00000001Z",
        ),
        ("15 minutes", "2022-08-03T14:38:50Z", "1970-01-01T00:05:00Z", "2022-08-03T14:35:00Z"),
        ("15 minutes", "2022-08-03T14:38:50Z", "1970-01-01T23:55:00Z", "2022-08-03T14:25:00Z"),
        ("15 minutes", "2022-08-03T14:38:50Z", "2022-08-03T14:40:00Z", "2022-08-03T14:25:00Z"),
        ("7 days", "2022-08-03T14:38:50Z", "1970-01-01T00:00:00Z", "2022-07-28T00:00:00Z"),
        ("7 days", "2022-08-03T14:38:50Z", "1970-01-02T00:00:00Z", "2022-07-29T00:00:00Z"),
        ("15 minutes", "2021-06-10T17:19:10Z", "2001-01-01T00:00:00Z", "2021-06-10T17:15:00Z"),
        ("1 month", "2022-01-02T00:00:00Z", "1970-01-01T00:00:00Z", "2022-01-01T00:00:00Z"),
        ("1 month", "2022-03-31T00:00:00Z", "1970-01-01T00:00:00Z", "2022-03-01T00:00:00Z"),
    ] {
        for function in ["date_bin", "time_bucket"] {
            let text = format!(
                "SELECT {function}(INTERVAL '{stride}', TIMESTAMP '{source}', TIMESTAMP '{origin}')"
            );
            check_sql(&engine, &text, json!([[expected]])).await;
        }
    }
    let zero = "SELECT date_bin(INTERVAL '0 seconds', TIMESTAMP '2022-08-03T14:38:50Z')";
    assert_eq!(get(&engine, "/api/v1/sql", &[("q", zero)]).await.0, 400);
}

/// A client that goes away frees its place at once.
#[tokio::test]
async fn a_full_house_answers_429_and_a_gone_client_makes_room() {
    let options = QueryOptions { running_max: 1, waiting_max: 0, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(sensors()), options);
    let endless =
        "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t";
    let (other, text) = (engine.clone(), endless.to_owned());
    let mut client = Box::pin(async move { other.sql(None, text).await });
    assert!(futures::poll!(client.as_mut()).is_pending());
    let (status, problem) = get(&engine, "/api/v1/sql", &[("q", "SELECT 1")]).await;
    assert_eq!(status, 429, "{problem}");
    drop(client);
    let start = Instant::now();
    while get(&engine, "/api/v1/sql", &[("q", "SELECT 1")]).await.0 != 200 {
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}
