//! Parameters in, formats out.

use super::*;
use oribi_model::{ReadPath, ScanSpec, Table, TableId, TableStats, TabletScan};
use std::sync::Mutex;

/// Rows of about so many bytes each.
fn long_texts(rows: i64, bytes: usize) -> Memory {
    let mut table = MemoryTable::new(1, "default", "t", &["d"], &[("v", ColumnType::Int)]);
    let long = "x".repeat(bytes);
    for time in 0..rows {
        table.put(&[&long], time, &[Some(Value::Int(time))]);
    }
    Memory(vec![table])
}

fn ask(text: &str, format: &str) -> Request<Body> {
    let pairs = [("q", text), ("format", format)];
    Request::get(support::url("/api/v1/sql", &pairs)).body(Body::empty()).unwrap()
}

/// The bytes of a body, and whether it came to its end.
async fn read(mut body: Body) -> (usize, bool) {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return (bytes, false) };
        bytes += frame.data_ref().map_or(0, |data| data.len());
    }
    (bytes, true)
}

#[tokio::test]
async fn answers_are_bounded_as_they_are_sent() {
    const BYTES_MAX: usize = 1 << 20;
    let options = QueryOptions { answer_bytes_max: BYTES_MAX, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(long_texts(1_000, 10_000)), options);
    for format in ["json", "ndjson", "csv", "arrow"] {
        for (text, whole) in [
            ("SELECT d FROM t", false),
            ("SELECT d AS a, d || 'x' AS b FROM t LIMIT 90", false),
            ("SELECT d FROM t LIMIT 90", true),
            ("SELECT v FROM t", true),
        ] {
            let answer = router(engine.clone()).oneshot(ask(text, format)).await.unwrap();
            assert_eq!(answer.status(), 200, "{text} as {format}");
            let (bytes, ended) = read(answer.into_body()).await;
            assert_eq!(ended, whole, "{text} as {format}");
            assert!(bytes <= BYTES_MAX, "{text} as {format}: {bytes}");
        }
    }
    // What is too large before the first piece is full is told in words.
    let options = QueryOptions { answer_bytes_max: 100_000, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(long_texts(1_000, 10_000)), options);
    for format in ["json", "ndjson", "csv", "arrow"] {
        let (status, kind, _) = send(&engine, ask("SELECT d FROM t", format)).await;
        assert_eq!((status, kind.as_str()), (422, "application/problem+json"));
    }
}

#[tokio::test]
async fn rows_are_sent_as_they_are_read() {
    for (text, format) in [
        ("SELECT d FROM t", "json"),
        ("SELECT d FROM t", "arrow"),
        ("SELECT upper(d) AS d FROM t", "csv"),
    ] {
        let (gate, waits) = std::sync::mpsc::channel();
        let memory = long_texts(15_000, 1_000);
        let held = Held { memory, free_blocks: 10_000 / 7, gate: Mutex::new(Some(waits)) };
        let options = QueryOptions { threads_max: 1, ..QueryOptions::default() };
        let engine = QueryEngine::new(Arc::new(held), options);
        let answer = router(engine.clone()).oneshot(ask(text, format)).await.unwrap();
        let mut body = answer.into_body();
        let first = body.frame().await.unwrap().unwrap();
        let first = first.data_ref().unwrap().len();
        // The rest of the rows is read only now.
        drop(gate);
        let (rest, ended) = read(body).await;
        assert!(ended && first + rest > 15_000 * 1_000, "{text} as {format}: {first} + {rest}");
    }
}

#[tokio::test]
async fn an_answer_keeps_its_place_until_it_is_read_or_given_up() {
    let options = QueryOptions {
        running_max: 1,
        waiting_max: 0,
        unread_ms_max: 60_000,
        ..QueryOptions::default()
    };
    let engine = QueryEngine::new(Arc::new(long_texts(1_000, 10_000)), options);
    for text in ["SELECT d FROM t", "SELECT upper(d) AS d FROM t"] {
        let answer = router(engine.clone()).oneshot(ask(text, "csv")).await.unwrap();
        let (status, ..) = send(&engine, ask("SELECT 1", "csv")).await;
        assert_eq!(status, 429);
        drop(answer);
        let (status, ..) = send(&engine, ask("SELECT 1", "csv")).await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_gives_its_place_up() {
    for limits in [
        QueryOptions { unread_ms_max: 1, ..QueryOptions::default() },
        QueryOptions { sending_ms_max: 1, ..QueryOptions::default() },
    ] {
        let options = QueryOptions { running_max: 1, waiting_max: 1, ..limits };
        let engine = QueryEngine::new(Arc::new(long_texts(1_000, 10_000)), options);
        let answer = router(engine.clone()).oneshot(ask("SELECT d FROM t", "csv")).await.unwrap();
        // This one waits for the place, and the body of the other is still there.
        let (status, ..) = send(&engine, ask("SELECT 1", "csv")).await;
        assert_eq!(status, 200);
        let (_, ended) = read(answer.into_body()).await;
        assert!(!ended);
    }
}

/// Blocks past the first so many come once the gate's other end is gone.
struct Held {
    memory: Memory,
    free_blocks: usize,
    gate: Mutex<Option<std::sync::mpsc::Receiver<()>>>,
}

impl ReadPath for Held {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.memory.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.memory.tables()
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.memory.stats(table)
    }

    fn scan(
        &self,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        let mut tablets = self.memory.scan(table, spec, parts_max)?;
        let mut gate = self.gate.lock().unwrap().take();
        let (mut blocks, free) = (0, self.free_blocks);
        for tablet in &mut tablets {
            for part in &mut tablet.parts {
                let inner = std::mem::replace(part, Box::new(std::iter::empty()));
                let mut gate = gate.take();
                *part = Box::new(inner.inspect(move |_| {
                    blocks += 1;
                    if blocks > free
                        && let Some(gate) = gate.take()
                    {
                        let _ = gate.recv();
                    }
                }));
            }
        }
        Ok(tablets)
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
