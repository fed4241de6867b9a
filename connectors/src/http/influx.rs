//! InfluxDB's write endpoints. One error body serves all its clients; a write is answered 204 or
//! an error, never 200 or 429.

use super::{Writer, body, deferred, params::Params, unstored};
use axum::{
    body::{Body, Bytes},
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use oribi_decode::{
    Decoded,
    line_protocol::{self, Options, original_line},
    time::Precision,
};
use oribi_ingest::Error;
use oribi_model::{Name, Points, RejectReason, Rejection, name::DEFAULT_DB};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// Most rejected lines that an answer lists.
const LISTED_MAX: usize = 100;

pub(super) async fn write_v1(writer: Writer, request: Request) -> Response {
    write(&writer, request, "db").await
}

pub(super) async fn write_v2(writer: Writer, request: Request) -> Response {
    write(&writer, request, "bucket").await
}

async fn write(writer: &Writer, request: Request, db_parameter: &str) -> Response {
    let (parts, body) = request.into_parts();
    let params = Params::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let read = params.map_err(|wrong| wrong.to_string());
    let (db, precision) = match read.and_then(|params| read_params(&params, db_parameter)) {
        Ok(read) => read,
        Err(message) => {
            return error(StatusCode::BAD_REQUEST, "invalid", &message, None, Vec::new());
        }
    };
    if let Err(wrong) = writer.ingest.check_write(&db, None) {
        return write_error(&wrong);
    }
    let bytes = match body::read(&parts.headers, body, &writer.options).await {
        Ok(bytes) => bytes,
        Err(refused) => {
            let code = match refused.status {
                StatusCode::PAYLOAD_TOO_LARGE => "request too large",
                _ => "invalid",
            };
            return error(refused.status, code, &refused.detail, None, Vec::new());
        }
    };
    let bytes = Bytes::from(bytes);
    let (body, decoding) = (bytes.clone(), writer.clone());
    let decode = move || decode(&decoding, &body, (db, precision));
    let (decoded, _turn) = writer.aside.run(bytes.len(), decode).await;
    let (mut rejected, more) = (decoded.rejected, decoded.rejected_more);
    let mut stored = 0;
    if !decoded.points.is_empty() {
        match writer.ingest.write(decoded.points).await {
            Ok(receipt) if !receipt.deferred.is_empty() => {
                return put_off(receipt.rows, &receipt.deferred);
            }
            Ok(receipt) => {
                stored = receipt.rows;
                rejected.extend(receipt.rejected);
            }
            Err(wrong) => return write_error(&wrong),
        }
    }
    if rejected.is_empty() {
        return no_content();
    }
    rejected.sort_by_key(|rejection| rejection.origin);
    partial(&bytes, &rejected, more, stored)
}

fn decode(writer: &Writer, body: &[u8], (db, precision): (Name, Precision)) -> Decoded {
    let options = Options {
        db,
        precision,
        arrival: &writer.arrival,
        message_time: None,
        ahead_ns_max: writer.options.ahead_ns_max,
    };
    let mut heads = writer.heads.take();
    let decoded = line_protocol::decode_with(body, &options, &mut heads);
    writer.heads.put(heads);
    decoded
}

fn read_params(params: &Params, db_parameter: &str) -> Result<(Name, Precision), String> {
    let db = match params.get(db_parameter) {
        None => DEFAULT_DB,
        Some("") => return Err(format!("the parameter {db_parameter:?} is empty")),
        // `db/rp` names a retention policy that does not exist here.
        Some(db) => db.split_once('/').map_or(db, |(db, _)| db),
    };
    let db = Name::new(db).map_err(|wrong| wrong.to_string())?;
    let precision = match params.get("precision") {
        None | Some("") => Precision::Ns,
        Some(name) => Precision::parse(name).ok_or_else(|| {
            format!("precision {name:?} is not known; use n, ns, u, us, ms, s, m or h")
        })?,
    };
    Ok((db, precision))
}

/// The answer to a body of which these lines were refused, and so many more.
fn partial(body: &[u8], rejected: &[Rejection], more: usize, stored: u64) -> Response {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let listed: Vec<(String, String)> = rejected
        .iter()
        .take(LISTED_MAX)
        .map(|one| {
            let line = original_line(body, one.origin);
            let text = match one.reason {
                RejectReason::Syntax | RejectReason::Number => {
                    format!("unable to parse '{line}': {}", one.detail)
                }
                _ => one.detail.to_string(),
            };
            (line, text)
        })
        .collect();
    let data = listed
        .iter()
        .zip(rejected)
        .map(|((line, text), one)| {
            json!({"line_number": one.origin, "original_line": line, "error_message": text})
        })
        .collect();
    let first = &listed[0].1;
    let message = if stored > 0 || rejected.iter().any(|one| !is_parse(one.reason)) {
        format!("partial write: {first} dropped={}", rejected.len() + more)
    } else {
        let texts: Vec<&str> = listed.iter().take(10).map(|(_, text)| text.as_str()).collect();
        texts.join("\n")
    };
    error(StatusCode::BAD_REQUEST, "invalid", &message, Some(rejected[0].origin), data)
}

fn is_parse(reason: RejectReason) -> bool {
    matches!(reason, RejectReason::Syntax | RejectReason::Number)
}

/// The answer to a write that was not acknowledged as a whole.
pub(super) fn write_error(wrong: &Error) -> Response {
    if let Error::Forbidden(_) = wrong {
        return error(StatusCode::FORBIDDEN, "forbidden", &wrong.to_string(), None, Vec::new());
    }
    if !wrong.is_retryable() {
        return error(StatusCode::BAD_REQUEST, "invalid", &wrong.to_string(), None, Vec::new());
    }
    let status = StatusCode::SERVICE_UNAVAILABLE;
    let more = unstored::members(wrong);
    let mut answer =
        error_with(status, "unavailable", (&wrong.to_string(), more), None, Vec::new());
    answer.headers_mut().insert(header::RETRY_AFTER, retry_after_s(wrong).into());
    answer
}

/// The answer to a write of which some rows have to come again.
fn put_off(stored: u64, rows: &[Points]) -> Response {
    let lines = deferred::rows(rows);
    let data = lines.iter().map(|line| json!({"line_number": line})).collect();
    let message = deferred::detail(stored, rows);
    let first = lines.first().copied();
    let mut answer = error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &message, first, data);
    answer.headers_mut().insert(header::RETRY_AFTER, deferred::RETRY_AFTER_S.into());
    answer
}

/// Seconds after which a refused write may be tried again.
pub(super) fn retry_after_s(wrong: &Error) -> u32 {
    match wrong {
        Error::Busy { retry_after_s, .. } => (*retry_after_s).max(1),
        Error::DiskFull { .. } => 10,
        _ => 1,
    }
}

/// The error body that InfluxDB 1 and 2, QuestDB and Telegraf clients all read.
pub(super) fn error(
    status: StatusCode,
    code: &str,
    message: &str,
    line: Option<u32>,
    data: Vec<Value>,
) -> Response {
    error_with(status, code, (message, Value::Null), line, data)
}

/// As [`error`], with further members.
fn error_with(
    status: StatusCode,
    code: &str,
    (message, more): (&str, Value),
    line: Option<u32>,
    data: Vec<Value>,
) -> Response {
    static ERRORS: AtomicU64 = AtomicU64::new(1);
    let id = format!("ORIBI-{}", ERRORS.fetch_add(1, Ordering::Relaxed));
    let mut body =
        json!({"code": code, "message": message, "error": message, "errorId": id, "data": data});
    if let Some(line) = line {
        body["line"] = line.into();
    }
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    let mut answer = (status, format!("{body}\n")).into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let shown: String =
        message.chars().take(512).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if let Ok(shown) = HeaderValue::from_bytes(shown.as_bytes()) {
        headers.insert("x-influxdb-error", shown);
    }
    with_version(answer)
}

/// Adds the headers by which InfluxDB's clients know a server.
pub(super) fn with_version(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    let version = concat!("oribi-", env!("CARGO_PKG_VERSION"));
    headers.insert("x-influxdb-version", HeaderValue::from_static(version));
    headers.insert("x-influxdb-build", HeaderValue::from_static("Oribi"));
    answer
}

pub(super) fn no_content() -> Response {
    with_version(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn ping() -> Response {
    no_content()
}

pub(super) async fn ready() -> Response {
    with_version(axum::Json(json!({"status": "ready"})).into_response())
}

/// The databases as InfluxDB 2 lists its buckets; `name` picks one.
pub(super) async fn buckets(writer: Writer, request: Request<Body>) -> Response {
    let params = match Params::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(wrong) => {
            let message = wrong.to_string();
            return error(StatusCode::BAD_REQUEST, "invalid", &message, None, Vec::new());
        }
    };
    let wanted = params.get("name");
    let databases = writer.ingest.databases();
    let buckets: Vec<Value> = databases
        .iter()
        .filter(|db| wanted.is_none_or(|wanted| wanted == db.as_str()))
        .map(|db| {
            let id = format!("{:016x}", xxhash_rust::xxh3::xxh3_64(db.as_bytes()));
            json!({
                "id": id, "orgID": "0000000000000001", "type": "user", "name": db.as_str(),
                "retentionRules": [],
            })
        })
        .collect();
    let links = json!({"self": "/api/v2/buckets"});
    with_version(axum::Json(json!({"links": links, "buckets": buckets})).into_response())
}
