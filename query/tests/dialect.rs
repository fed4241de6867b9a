//! What the SQL underneath answers wrongly, and what this one does: a case each, so that a newer
//! version shows which of them may go.
#![allow(clippy::unwrap_used)]

mod support;

use oribi_model::{ColumnType, Value};
use oribi_query::{QueryEngine, QueryOptions};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use support::{Memory, MemoryTable, get, router};

const INT: ColumnType = ColumnType::Int;

fn int(value: i64) -> Option<Value> {
    Some(Value::Int(value))
}

/// Tags, time and fields.
type Row<'a> = (&'a [&'a str], i64, &'a [Option<Value>]);

fn table(
    id: u32,
    name: &str,
    tags: &[&str],
    fields: &[(&str, ColumnType)],
    rows: &[Row<'_>],
) -> MemoryTable {
    let mut table = MemoryTable::new(id, "default", name, tags, fields);
    for (tags, time, fields) in rows {
        table.put(tags, *time, fields);
    }
    table
}

fn engine() -> QueryEngine {
    const FLOAT: ColumnType = ColumnType::Float;
    const BOOL: ColumnType = ColumnType::Bool;
    let flag = |value| Some(Value::Bool(value));
    let float = |value| Some(Value::Float(value));
    let tables = vec![
        table(
            1,
            "m",
            &["site"],
            &[("n", INT)],
            &[
                (&["n"], 1, &[int(1)]),
                (&["s"], 2, &[int(2)]),
                (&["e"], 3, &[int(3)]),
                (&[""], 4, &[int(4)]),
            ],
        ),
        table(
            2,
            "flags",
            &["dev"],
            &[("ok", BOOL), ("n", INT)],
            &[
                (&["a"], 0, &[flag(true), int(0)]),
                (&["b"], 1, &[flag(false), int(5)]),
                (&["c"], 2, &[None, int(0)]),
                (&["d"], 3, &[flag(true), int(5)]),
                (&["e"], 4, &[flag(false), int(0)]),
            ],
        ),
        table(
            3,
            "most",
            &[],
            &[("i", INT)],
            &[(&[], 0, &[int(i64::MAX)]), (&[], 1, &[int(1)]), (&[], 2, &[int(i64::MIN)])],
        ),
        table(
            4,
            "zeros",
            &["d"],
            &[("v", FLOAT)],
            &[(&["a"], 0, &[float(-0.0)]), (&["b"], 1, &[float(0.0)]), (&["c"], 2, &[float(1.5)])],
        ),
        table(
            5,
            "left",
            &["host"],
            &[("f", FLOAT), ("i", INT)],
            &[(&["a"], 0, &[float(3.0), int(1)]), (&["b"], 1, &[None, int(2)])],
        ),
        table(
            6,
            "right",
            &["host"],
            &[("f", FLOAT), ("i", INT)],
            &[
                (&["b"], 0, &[float(99.0), int(1)]),
                (&["a"], 1, &[float(3.0), int(0)]),
                (&["c"], 2, &[float(7.0), int(0)]),
            ],
        ),
        table(
            7,
            "gaps",
            &[],
            &[("id", INT), ("v", INT)],
            &[
                (&[], 1, &[int(1), int(10)]),
                (&[], 2, &[int(2), None]),
                (&[], 3, &[int(3), int(30)]),
            ],
        ),
        table(
            8,
            "texts",
            &["d"],
            &[("s", ColumnType::Text)],
            &[
                (&["7"], 1, &[Some(Value::Text("7".into()))]),
                (&["abc"], 2, &[Some(Value::Text("abc".into()))]),
                (&["10"], 3, &[Some(Value::Text("10".into()))]),
            ],
        ),
    ];
    QueryEngine::new(Arc::new(Memory(tables)), QueryOptions::default())
}

/// What SQL answers, and the same predicate of a window question counts.
async fn sql(engine: &QueryEngine, text: &str) -> (u16, Json) {
    let (status, answer) = get(router(engine.clone()), "/api/v1/sql", &[("q", text)]).await;
    match status {
        200 => (200, answer["rows"].clone()),
        status => (status, answer["detail"].clone()),
    }
}

#[tokio::test]
async fn answers_are_those_of_the_standard() {
    let engine = engine();
    for (text, rows) in [
        // IN lists that are merged forget null (apache/datafusion 17681).
        ("SELECT n FROM m WHERE site IN ('s', 'e') AND site NOT IN ('n', NULL)", json!([])),
        (
            "SELECT n FROM m WHERE NOT (site IN ('n', 'x') AND site IN ('s', 'e')) ORDER BY n",
            json!([[1], [2], [3]]),
        ),
        (
            "SELECT n FROM m WHERE site NOT IN ('n') OR site NOT IN ('s') ORDER BY n",
            json!([[1], [2], [3]]),
        ),
        ("SELECT n FROM m WHERE n IN (2, 3) AND n NOT IN (1, NULL)", json!([])),
        (
            "SELECT n IN (1, 2, NULL), n NOT IN (1, n), site IN ('s') FROM m ORDER BY n",
            json!([
                [true, false, false],
                [true, false, true],
                [null, false, false],
                [null, false, null]
            ]),
        ),
        ("SELECT n FROM m WHERE site NOT IN ('s', 'e') ORDER BY n", json!([[1]])),
        // The right side of DISTINCT FROM (apache/datafusion-sqlparser-rs 2436).
        ("SELECT dev FROM flags WHERE ok IS DISTINCT FROM true AND n > 1", json!([["b"]])),
        (
            "SELECT dev FROM flags WHERE ok IS NOT DISTINCT FROM false OR n = 0 ORDER BY dev",
            json!([["a"], ["b"], ["c"], ["e"]]),
        ),
        // The two zeros (apache/datafusion 25186).
        ("SELECT count(*) FROM zeros WHERE v IN (0, 5, 6, 7, 8)", json!([[2]])),
        // A filter above a join (apache/datafusion 25259).
        (
            "SELECT a.f, b.f FROM \"left\" a RIGHT JOIN \"right\" b ON a.host = b.host WHERE a.f IS NULL AND b.i > 0",
            json!([[null, 99.0]]),
        ),
        // A text beside a number (apache/datafusion 15161), in both orders.
        ("SELECT s FROM texts WHERE d = 7 OR d = 'abc' ORDER BY s", json!([["7"], ["abc"]])),
        ("SELECT s FROM texts WHERE d = 'abc' OR d = 7 ORDER BY s", json!([["7"], ["abc"]])),
        ("SELECT s FROM texts WHERE s IN (7, 10) ORDER BY s", json!([["10"], ["7"]])),
        // Times that 64 bits of nanoseconds cannot hold.
        ("SELECT count(*) FROM m WHERE time < '3000-01-01'", json!([[4]])),
        (
            "SELECT count(*) FROM m WHERE '0001-01-01T00:00:00Z' <= time AND time <> '9999-12-31'",
            json!([[4]]),
        ),
        (
            "SELECT count(*) FROM m WHERE time > TIMESTAMP '3000-01-01' OR time = '1000-01-01'",
            json!([[0]]),
        ),
        ("SELECT count(*) FROM m WHERE time BETWEEN '1000-01-01' AND '3000-01-01'", json!([[4]])),
        ("SELECT count(*) FROM m WHERE NOT (time < '3000-01-01')", json!([[0]])),
        ("SELECT count(*) FROM m WHERE time < DATE '3000-01-01'", json!([[4]])),
        ("SELECT count(*) FROM m WHERE time < CAST('3000-01-01' AS TIMESTAMP)", json!([[4]])),
        ("SELECT count(*) FROM m WHERE time IN ('3000-01-01')", json!([[0]])),
        (
            "SELECT count(*) FROM m WHERE time NOT IN ('3000-01-01', '1970-01-01T00:00:00.000000001Z')",
            json!([[3]]),
        ),
        // Stars with additions.
        ("SELECT * EXCLUDE (time) FROM m WHERE n = 2", json!([["s", 2]])),
        ("SELECT * EXCEPT (time, site) FROM m WHERE n = 2", json!([[2]])),
        (
            "SELECT * REPLACE (n * 2 AS n) FROM m WHERE n = 2",
            json!([["1970-01-01T00:00:00.000000002Z", "s", 4]]),
        ),
        // Sums wider than 64 bits on their way.
        ("SELECT sum(i) FROM most", json!([[0]])),
        (
            "SELECT i % 2, sum(i) FROM most WHERE i < 5 GROUP BY 1 ORDER BY 1",
            json!([[0, i64::MIN], [1, 1]]),
        ),
        ("SELECT sum(DISTINCT n), sum(n + 1), sum(-n) FROM m", json!([[10, 14, -10]])),
        (
            "SELECT n, sum(n) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM m ORDER BY n",
            json!([[1, 1], [2, 3], [3, 5], [4, 7]]),
        ),
        ("SELECT sum(CAST(n AS DECIMAL(20, 2))) FROM m", json!([[10.00]])),
        ("SELECT sum(CAST(n AS BIGINT UNSIGNED)) FROM m", json!([[10]])),
        ("SELECT sum(CAST(n AS SMALLINT)) FROM m", json!([[10]])),
        (
            "SELECT CAST(n AS DECIMAL(10, 2)) * CAST(n AS DECIMAL(20, 1)) - 1 FROM m WHERE n = 3",
            json!([[8.000]]),
        ),
        (
            "SELECT n FROM m WHERE n > 2 UNION ALL SELECT n FROM m WHERE n > 3 ORDER BY n",
            json!([[3], [4], [4]]),
        ),
        ("SELECT sum(i) FROM most WHERE i > 9 AND i < 9", json!([[null]])),
        // Subqueries where unknown and false are one.
        ("SELECT n FROM m WHERE n NOT IN (SELECT i FROM most) ORDER BY n", json!([[2], [3], [4]])),
        ("SELECT n FROM m WHERE n IN (SELECT i FROM most) OR n > 3 ORDER BY n", json!([[1], [4]])),
    ] {
        assert_eq!(sql(&engine, text).await, (200, rows), "{text}");
    }
}

#[tokio::test]
async fn what_would_be_wrong_is_refused_by_name() {
    let engine = engine();
    for (text, status, word) in [
        ("SELECT sum(i) FROM most WHERE i > 0", 422, "64 bits"),
        ("SELECT sum(i), i % 2 FROM most WHERE i > 0 GROUP BY i % 2", 422, "64 bits"),
        (
            "SELECT sum(i) OVER (ORDER BY i ROWS UNBOUNDED PRECEDING) FROM most WHERE i > 0",
            422,
            "64 bits",
        ),
        ("SELECT i + 1 FROM most", 422, "64 bits"),
        ("SELECT i * 2 FROM most", 422, "64 bits"),
        ("SELECT i - 2 FROM most", 422, "64 bits"),
        (
            "SELECT CAST(repeat('9', 38) AS DECIMAL(38, 0)) + CAST(repeat('9', 38) AS DECIMAL(38, 0))",
            422,
            "64 bits",
        ),
        ("SELECT -i FROM most", 422, "64 bits"),
        ("SELECT 9223372036854775807 + 1", 422, "64 bits"),
        ("SELECT time, n, i FROM m FULL JOIN most USING (time)", 400, "USING"),
        ("SELECT time, n FROM m RIGHT JOIN most USING (time)", 400, "USING"),
        ("SELECT time, n FROM m NATURAL FULL JOIN most", 400, "NATURAL"),
        (
            "SELECT n FROM m WHERE 3 NOT IN (SELECT i FROM most WHERE most.time = m.time)",
            400,
            "NOT EXISTS",
        ),
        ("SELECT n FROM m WHERE NOT (n IN (SELECT i FROM most) AND n > 1)", 400, "subquery"),
        ("SELECT id, lead(v, 2) IGNORE NULLS OVER (ORDER BY id) FROM gaps", 400, "IGNORE NULLS"),
        ("SELECT id, lag(v) IGNORE NULLS OVER (ORDER BY id) FROM gaps", 400, "IGNORE NULLS"),
        ("SELECT s FROM texts WHERE d > 5", 400, "'5'"),
        ("SELECT sum(s) FROM texts", 400, "'sum' takes no values of type String"),
        ("SELECT n FROM m TABLESAMPLE BERNOULLI (10)", 400, "TABLESAMPLE"),
        ("SELECT * ILIKE 'n%' FROM m", 400, "star"),
        ("SELECT m.* ILIKE 'n%' FROM m", 400, "star"),
        (
            "SELECT n FROM m GROUP BY CUBE (n, n+1, n+2, n+3, n+4, n+5, n+6, n+7, n+8, n+9, n+10, n+11)",
            400,
            "CUBE",
        ),
        (
            "WITH a AS (SELECT 1 x), b AS (SELECT 1 x FROM a, a c, a d, a e), c AS (SELECT 1 x FROM b, b d, b e, b f) SELECT 1 FROM c, c d, c e, c f, c g",
            400,
            "sql_scans_max",
        ),
        ("SELECT n FROM m FOR UPDATE", 400, "FOR UPDATE"),
        ("SELECT n FROM m INTERSECT ALL SELECT i FROM most", 400, "ALL"),
        ("SELECT 1 UNION (SELECT n FROM m EXCEPT ALL SELECT i FROM most)", 400, "ALL"),
        ("SELECT sum(CAST(repeat('9', 38) AS DECIMAL(38, 0)) + n - n) FROM m", 422, "64 bits"),
        ("SELECT n FROM m FETCH FIRST 1 ROWS ONLY", 400, "FETCH"),
    ] {
        let (found, detail) = sql(&engine, text).await;
        assert_eq!(found, status, "{text}: {detail}");
        assert!(detail.as_str().unwrap().contains(word), "{text}: {detail}");
    }
}

/// A window question's `where` means the same as in SQL.
#[tokio::test]
async fn predicates_mean_the_same_everywhere() {
    let engine = engine();
    for (table, predicate) in [
        ("m", "site IN ('s', 'e') AND site NOT IN ('n', NULL)"),
        ("m", "NOT (site IN ('n', 'x') AND site IN ('s', 'e'))"),
        ("m", "site NOT IN ('n') OR site NOT IN ('s')"),
        ("m", "n IN (2, 3) AND n NOT IN (1, NULL)"),
        ("flags", "ok IS DISTINCT FROM true AND n > 1"),
        ("flags", "ok IS NOT DISTINCT FROM false OR n = 0"),
        ("zeros", "v IN (0, 5, 6, 7, 8)"),
        ("m", "time < '3000-01-01'"),
        ("m", "time >= '0001-01-01' AND time <= '1970-01-02'"),
        ("m", "NOT (time < '3000-01-01') OR n = 1"),
        ("texts", "d = 7 OR d = 'abc'"),
        ("texts", "d = 'abc' OR d = 7"),
        ("texts", "d > 5"),
        ("texts", "1 / (length(d) - 1) > 0"),
        ("most", "i + 1 > 0"),
    ] {
        let text = format!("SELECT count(*) FROM {table} WHERE {predicate}");
        let (status, rows) = sql(&engine, &text).await;
        let pairs = [("table", table), ("select", "count(*) as n"), ("where", predicate)];
        let (found, answer) = get(router(engine.clone()), "/api/v1/query", &pairs).await;
        assert_eq!(found, status, "{predicate}: {rows} {answer}");
        if status == 200 {
            let counted = answer["rows"][0][1].as_i64().unwrap_or(0);
            assert_eq!(rows, json!([[counted]]), "{predicate}");
        }
    }
}

#[tokio::test]
async fn errors_are_in_the_words_of_who_asks() {
    let engine = engine();
    for (predicate, word) in [
        ("count(n) > 1", "the aggregate count(n)"),
        ("n > (SELECT 1)", "the subquery"),
        ("EXISTS (SELECT 1)", "the subquery"),
        ("row_number() OVER (ORDER BY n) = 1", "the window function row_number()"),
        ("nope(n) = 1", "nope"),
        ("n = ", "expected"),
    ] {
        let pairs = [("table", "m"), ("select", "count(*)"), ("where", predicate)];
        let (status, answer) = get(router(engine.clone()), "/api/v1/query", &pairs).await;
        assert_eq!(status, 400, "{predicate}: {answer}");
        let detail = answer["detail"].as_str().unwrap();
        assert!(detail.to_lowercase().contains(word), "{predicate}: {detail}");
        let is_rust = ["(\"", "Error(", "{ ", "::"].iter().any(|sign| detail.contains(sign));
        assert!(!is_rust && detail.len() < 300, "{predicate}: {detail}");
    }
}

/// Sums and means of floats have one last digit, in SQL as in windows, on any number of threads.
#[tokio::test]
async fn sums_of_floats_do_not_depend_on_who_sums_them() {
    let fields = [("f", ColumnType::Float)];
    let mut table = MemoryTable::new(1, "default", "t", &["d"], &fields);
    table.range_ns = 50;
    for time in 0..2_000i64 {
        let value = f64::from((time * 7_919 % 1_000) as i32) * 0.1 - 31.7;
        let cell = (time % 11 != 0).then_some(Value::Float(value));
        table.put(&[["a", "b", "c"][time as usize % 3]], time, &[cell]);
    }
    let memory = Arc::new(Memory(vec![table]));
    let mut answers = Vec::new();
    for threads_max in [1, 4] {
        let options = QueryOptions { threads_max, rows_alone_max: 0, ..QueryOptions::default() };
        let engine = QueryEngine::new(memory.clone(), options);
        for text in [
            "SELECT d, sum(f), avg(f), stddev(f) FROM t GROUP BY d ORDER BY d",
            "SELECT d, sum(g) FILTER (WHERE g IS NOT NULL), mean(g), stddev_samp(g) FROM \
             (SELECT d, f AS g FROM t ORDER BY f DESC) AS s GROUP BY d ORDER BY d",
        ] {
            answers.push(sql(&engine, text).await.1);
        }
        let pairs = [("table", "t"), ("select", "sum(f), mean(f), stddev(f)"), ("group_by", "d")];
        let (_, answer) = get(router(engine.clone()), "/api/v1/query", &pairs).await;
        let without_time = answer["rows"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| json!(row.as_array().unwrap()[1..]));
        answers.push(without_time.collect());
        let (_, whole) = sql(&engine, "SELECT sum(f), avg(f), stddev(f) FROM t").await;
        let (_, all) = get(router(engine), "/api/v1/query", &pairs[..2]).await;
        assert_eq!(whole[0], json!(all["rows"][0].as_array().unwrap()[1..]));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
    let engine = QueryEngine::new(memory, QueryOptions::default());
    let text = "SELECT sum(f), avg(f), sum(DISTINCT f) IS NULL FROM t WHERE f > 1e9";
    assert_eq!(sql(&engine, text).await, (200, json!([[null, null, true]])));
    for function in ["sum", "stddev"] {
        let window = "OVER (ORDER BY time ROWS 1 PRECEDING) FROM t LIMIT 3";
        assert_eq!(sql(&engine, &format!("SELECT {function}(f) {window}")).await.0, 200);
    }
    let few = "FROM (VALUES (1e9 + 1.0), (1e9 + 3.0)) AS v(x) WHERE x <";
    let figures = "stddev(x), stddev_pop(x), var_samp(x), var_pop(x)";
    for (bound, expected) in [
        ("2e9", json!([2f64.sqrt(), 1.0, 2.0, 1.0])),
        ("1e9 + 2", json!([null, 0.0, null, 0.0])),
        ("0", json!([null, null, null, null])),
    ] {
        let found = sql(&engine, &format!("SELECT {figures} {few} {bound}")).await;
        assert_eq!(found, (200, json!([expected])), "{bound}");
    }
}
