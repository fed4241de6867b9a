//! Questions and SQL as clients ask them.
#![allow(clippy::unwrap_used)]

mod answers;
mod consistency;
mod limits;
mod sql;
#[path = "../support/mod.rs"]
mod support;
mod windows;

use axum::{
    body::Body,
    http::{Request, header},
};
use http_body_util::BodyExt;
use oribi_model::{ColumnType, Value};
use oribi_query::{QueryEngine, QueryOptions};
use serde_json::{Value as Json, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use support::{Memory, MemoryTable, router};
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

async fn check_sql(engine: &QueryEngine, text: &str, rows: Json) {
    let (status, answer) = get(engine, "/api/v1/sql", &[("q", text)]).await;
    assert_eq!(status, 200, "{text}: {answer}");
    assert_eq!(answer["rows"], rows, "{text}");
}
