//! SQL, and predicates that are written as in SQL.

use super::*;

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
