use super::*;
use crate::testing::{Memory, arrival};
use axum::{
    Extension,
    body::Body,
    http::{Request, Response, StatusCode},
};
use flate2::{Compression, write::GzEncoder};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::io::Write;
use tower::ServiceExt;

async fn ask(memory: &Arc<Memory>, request: Request<Body>) -> (Response<()>, Value) {
    let router = write_router(memory.clone(), arrival(), WriteOptions::default())
        .layer(Extension(Access::Open));
    let (parts, body) = router.oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (Response::from_parts(parts, ()), body)
}

fn post(uri: &str, body: impl Into<Body>) -> Request<Body> {
    Request::post(uri).body(body.into()).unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn post_encoded(encoding: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::post("/write?db=d").header("content-encoding", encoding);
    request.body(body.into()).unwrap()
}

#[tokio::test]
async fn line_protocol_writes_answer_204() {
    let memory = Memory::open();
    for (uri, body) in [
        ("/write?db=d", "m v=1 1"),
        ("/write?db=d&precision=ms&rp=x&consistency=all&u=a&p=b", "m v=1 1"),
        ("/api/v2/write?bucket=d/autogen&org=&precision=ns", "m v=1 1"),
        ("/write", "m v=1 1"),
        ("/write?db=d", ""),
        ("/write?db=d", "\n"),
        ("/write?db=d", "# comment"),
    ] {
        let (answer, _) = ask(&memory, post(uri, body)).await;
        assert_eq!(answer.status(), StatusCode::NO_CONTENT, "{uri} {body:?}");
        assert!(answer.headers().contains_key("x-influxdb-version"));
    }
    let (answer, _) = ask(&memory, post_encoded("gzip", gzip(b"m v=1 1"))).await;
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let dbs: Vec<_> = memory.written.lock().iter().map(|one| one.db.to_string()).collect();
    assert_eq!(dbs, ["d", "d", "d", "default", "d"]);
}

#[tokio::test]
async fn partial_writes_name_the_lines_and_keep_the_rest() {
    let memory = Memory::open();
    let (answer, body) = ask(&memory, post("/write?db=d", "m v=1 1\nbad\nrefused v=1 1\n")).await;
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    assert_eq!(memory.rows("m"), 1);
    let message = "partial write: unable to parse 'bad': missing fields dropped=2";
    assert_eq!((&body["message"], &body["error"]), (&json!(message), &json!(message)));
    assert_eq!(answer.headers()["x-influxdb-error"], message);
    assert_eq!((&body["code"], &body["line"]), (&json!("invalid"), &json!(2)));
    assert_eq!(body["data"][0]["original_line"], "bad");
    assert_eq!(body["data"][1]["line_number"], 3);
}

#[tokio::test]
async fn requests_that_cannot_be_are_refused() {
    let memory = Memory::open();
    let bomb = gzip(&vec![b'#'; 32 << 20]);
    let mut cut = gzip(b"m v=1 1");
    cut.truncate(12);
    for (request, status) in [
        (post("/write?db=", "m v=1"), 400),
        (post("/write?precision=d", "m v=1"), 400),
        (post_encoded("zstd", vec![]), 415),
        (post_encoded("gzip", cut), 400),
        (post_encoded("gzip", b"m v=1".to_vec()), 400),
        (post_encoded("gzip", bomb), 413),
        (post("/write?db=d", vec![b'#'; (16 << 20) + 1]), 413),
        (Request::get("/write").body(Body::empty()).unwrap(), 405),
    ] {
        let uri = request.uri().clone();
        let (answer, body) = ask(&memory, request).await;
        assert_eq!(answer.status(), status, "{uri} {body}");
    }
    *memory.busy.lock() = true;
    let (answer, _) = ask(&memory, post("/write?db=d", "m v=1")).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["retry-after"]),
        (503, &"2".parse().unwrap())
    );
}

#[tokio::test]
async fn native_writes() {
    let memory = Memory::open();
    for (query, body) in [
        ("format=json&tags=site", r#"[{"site":"a","time":1700000000,"v":1}]"#),
        ("format=ndjson&tags=site", "{\"site\":\"a\",\"v\":1}\n\n{\"site\":\"b\",\"v\":2}\n"),
        ("format=csv&time=at&precision=s&tags=site", "at,site,v\n5,a,1\n6,b,NA\n7,b,2\n"),
    ] {
        let (answer, body) =
            ask(&memory, post(&format!("/api/v1/write?table=m&{query}"), body)).await;
        let expected = if query.contains("csv") { 400 } else { 204 };
        assert_eq!(answer.status(), expected, "{query} {body}");
    }
    assert_eq!(memory.rows("m"), 5);
    for query in
        ["table=m&format=json&x=1", "format=json", "table=_x&format=json", "table=m&format=xml"]
    {
        let (answer, body) = ask(&memory, post(&format!("/api/v1/write?{query}"), "{}")).await;
        assert_eq!((answer.status().as_u16(), &body["status"]), (400, &json!(400)), "{query}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let (_, body) =
        ask(&memory, post("/api/v1/write?table=m&format=json", r#"[{"v":1},{"v":1e999}]"#)).await;
    assert_eq!((&body["rows_written"], &body["rejected"][0]["row"]), (&json!(1), &json!(2)));
    assert_eq!(body["rejected"][0]["reason"], "number");
}

#[tokio::test]
async fn binary_bodies_are_read() {
    let memory = Memory::open();
    let container = crate::testing::sample("avro/container-null.avro");
    let bodies = [
        ("msgpack&tags=site", b"\x91\x82\xa4site\xa1a\xa1v\x01".to_vec()),
        ("cbor&tags=site", b"\x81\xa2\x64site\x61a\x61v\x01".to_vec()),
        ("avro&tags=device&time=at", container),
    ];
    for (format, body) in bodies {
        let uri = format!("/api/v1/write?table=b&format={format}");
        let request = |body: Vec<u8>| Request::post(&uri).body(Body::from(body)).unwrap();
        let (answer, said) = ask(&memory, request(body.clone())).await;
        assert_eq!(answer.status(), 204, "{format} {said}");
        let (answer, said) = ask(&memory, request(body[..body.len() - 1].to_vec())).await;
        assert_eq!((answer.status().as_u16(), &said["rows_written"]), (400, &json!(0)), "{format}");
    }
    assert_eq!(memory.rows("b"), 5);
}

#[tokio::test]
async fn a_get_drops_nothing_and_a_page_makes_nothing_by_it() {
    let asked = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
    let memory = Memory::open();
    memory.databases.lock().push(oribi_model::Name::new("kept").unwrap());
    let path = |q: &str| format!("/query?q={q}");
    let (drop, create) = (path("DROP+DATABASE+kept"), path("CREATE+DATABASE+made"));
    let (answer, body) = ask(&memory, asked(&drop)).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{body}");
    for name in ["origin", "referer", "sec-fetch-mode"] {
        let mut request = asked(&create);
        request.headers_mut().insert(name, "http://x".parse().unwrap());
        let (answer, _) = ask(&memory, request).await;
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{name}");
    }
    // One statement that may not come so keeps the others from running.
    let (answer, _) = ask(&memory, asked(&path("CREATE+DATABASE+other;DROP+DATABASE+kept"))).await;
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(*memory.databases.lock(), [oribi_model::Name::new("kept").unwrap()]);
    assert_eq!(ask(&memory, asked(&create)).await.0.status(), StatusCode::OK);
    assert_eq!(ask(&memory, post(&drop, "")).await.0.status(), StatusCode::OK);
    assert_eq!(*memory.databases.lock(), [oribi_model::Name::new("made").unwrap()]);
}

#[tokio::test]
async fn what_clients_ask_before_they_write() {
    let memory = Memory::open();
    let get = |uri: &str| Request::get(uri).body(Body::empty()).unwrap();
    let (_, body) = ask(&memory, get("/query?q=show%20databases")).await;
    let series = json!([{"name": "databases", "columns": ["name"]}]);
    assert_eq!(body["results"][0]["series"], series);
    let (answer, _) = ask(&memory, post("/query", "q=CREATE+DATABASE+%22telegraf%22")).await;
    assert_eq!(answer.status(), 200);
    let (_, body) = ask(&memory, get("/query?q=SHOW+DATABASES%3B&db=x")).await;
    assert_eq!(body["results"][0]["series"][0]["values"], json!([["telegraf"]]));
    let (answer, body) = ask(&memory, get("/query?q=selct")).await;
    assert_eq!(answer.status(), 400);
    assert!(body["error"].as_str().unwrap().starts_with("error parsing query: found selct"));
    let (_, body) = ask(&memory, get("/api/v2/buckets?name=telegraf")).await;
    assert_eq!(body["buckets"][0]["name"], "telegraf");
    for method in ["GET", "HEAD"] {
        let request = Request::builder().method(method).uri("/ping").body(Body::empty()).unwrap();
        assert_eq!(ask(&memory, request).await.0.status(), 204);
    }
}

#[tokio::test]
async fn rows_that_were_put_off_are_named_and_asked_for_again() {
    let memory = Memory::open();
    for (uri, body) in [
        ("/write?db=d", "old v=1 1\nnewer v=2 1\nnewer v=3 2"),
        ("/api/v2/write?bucket=d", "old v=1 1\nnewer v=2 1\nnewer v=3 2"),
    ] {
        let (answer, body) = ask(&memory, post(uri, body)).await;
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()["retry-after"], "5");
        assert_eq!(body["data"], json!([{"line_number": 2}, {"line_number": 3}]));
        let message = body["message"].as_str().unwrap();
        assert!(
            message.starts_with("1 rows were stored, 2 rows of the tables \"newer\""),
            "{message}"
        );
    }
    assert_eq!((memory.rows("old"), memory.rows("newer")), (2, 0));
    let ask_native =
        || ask(&memory, post("/api/v1/write?table=new&format=json", r#"[{"v":1},{"v":2}]"#));
    let (answer, body) = ask_native().await;
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((&body["rows_written"], &body["deferred"]), (&json!(0), &json!([1, 2])));
    *memory.room.lock() = 1;
    assert_eq!(ask_native().await.0.status(), StatusCode::NO_CONTENT);
    assert_eq!(memory.rows("new"), 2);
}
