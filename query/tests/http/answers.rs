//! Parameters in, formats out.

use super::*;

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
