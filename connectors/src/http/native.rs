//! `/api/v1/write`: JSON, NDJSON, CSV, Arrow IPC, MessagePack, CBOR and Avro containers into one table.

use super::{
    Writer, body, deferred,
    influx::{no_content, retry_after_s},
    params::Params,
    unstored,
};
use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use oribi_decode::{
    Decoded, Fault, arrow, avro, cbor, csv,
    document::{self, Document},
    json, msgpack,
    points::PointsBuilder,
    row::{RowRules, RowSink, TimeRule},
    time::{self, Precision},
};
use oribi_ingest::Error;
use oribi_model::{ColumnKind, Name, Points, Rejection, name::DEFAULT_DB};
use serde_json::{Value, json};

const PARAMETERS: &[&str] =
    &["table", "format", "db", "tags", "time", "precision", "time_format", "delimiter"];
/// Most rejected rows that an answer lists.
const LISTED_MAX: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Ndjson,
    Msgpack,
    Cbor,
    Avro,
    Csv,
    Arrow,
}

struct Question {
    db: Name,
    table: Name,
    format: Format,
    tags: Vec<String>,
    time: TimeRule,
    time_format: Option<String>,
    delimiter: u8,
}

pub(super) async fn write(writer: Writer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let params = Params::parse(parts.uri.query().unwrap_or_default().as_bytes());
    let read = params.map_err(|wrong| wrong.to_string());
    let mut question = match read.and_then(|params| read_params(&params)) {
        Ok(question) => question,
        Err(detail) => return problem(StatusCode::BAD_REQUEST, &detail),
    };
    if let Err(wrong) = writer.ingest.check_write(&question.db, Some(&question.table)) {
        return refused(&wrong);
    }
    add_known_tags(&writer, &mut question);
    let bytes = match body::read(&parts.headers, body, &writer.options).await {
        Ok(bytes) => bytes,
        Err(refused) => return problem(refused.status, &refused.detail),
    };
    let (body_bytes, decoding) = (bytes.len(), writer.clone());
    let decode = move || decode(&decoding, &question, &bytes);
    let (decoded, _turn) = writer.aside.run(body_bytes, decode).await;
    let Decoded { points, mut rejected, rejected_more } = decoded;
    let mut stored = 0;
    if !points.is_empty() {
        match writer.ingest.write(points).await {
            Ok(receipt) if !receipt.deferred.is_empty() => {
                return put_off(receipt.rows, &receipt.deferred);
            }
            Ok(receipt) => {
                stored = receipt.rows;
                rejected.extend(receipt.rejected);
            }
            Err(wrong) if wrong.is_retryable() => {
                let (status, detail) = (StatusCode::SERVICE_UNAVAILABLE, wrong.to_string());
                let mut answer = problem_with(status, &detail, unstored::members(&wrong));
                answer.headers_mut().insert(header::RETRY_AFTER, retry_after_s(&wrong).into());
                return answer;
            }
            Err(wrong) => return refused(&wrong),
        }
    }
    if rejected.is_empty() {
        return no_content();
    }
    rejected.sort_by_key(|rejection| rejection.origin);
    partial(&rejected, rejected_more, stored)
}

fn read_params(params: &Params) -> Result<Question, String> {
    if let Some(name) = params.unknown(PARAMETERS) {
        let known = PARAMETERS.join(", ");
        return Err(format!("the parameter {name:?} is not known; known are {known}"));
    }
    if let Some(name) = params.repeated() {
        return Err(format!("the parameter {name:?} stands twice"));
    }
    let db = Name::new(params.get("db").unwrap_or(DEFAULT_DB)).map_err(|e| e.to_string())?;
    let table = params.get("table").ok_or("the parameter \"table\" is missing")?;
    let table = Name::user_table(table).map_err(|wrong| wrong.to_string())?;
    let format = match params.get("format") {
        Some("json") => Format::Json,
        Some("ndjson") => Format::Ndjson,
        Some("csv") => Format::Csv,
        Some("arrow") => Format::Arrow,
        Some("msgpack") => Format::Msgpack,
        Some("cbor") => Format::Cbor,
        Some("avro") => Format::Avro,
        Some(other) => {
            return Err(format!(
                "format {other:?} is not known; use json, ndjson, csv, arrow, msgpack, cbor or avro"
            ));
        }
        None => return Err("the parameter \"format\" is missing".into()),
    };
    let names = params.get("tags").unwrap_or("").split(',').filter(|name| !name.is_empty());
    let tags: Vec<String> = names.map(str::to_owned).collect();
    let precision = match params.get("precision") {
        None => None,
        Some(name) => Some(Precision::parse(name).ok_or_else(|| {
            format!("precision {name:?} is not known; use n, ns, u, us, ms, s, m or h")
        })?),
    };
    let time = match (params.get("time"), precision) {
        (Some(""), _) => return Err("the parameter \"time\" is empty".into()),
        (Some(column), precision) => TimeRule::Column(column.to_owned(), precision),
        (None, Some(precision)) => TimeRule::DetectAs(precision),
        (None, None) => TimeRule::Detect,
    };
    let time_format = params.get("time_format").map(str::to_owned);
    if let Some(format) = &time_format {
        time::check_format(format).map_err(|wrong| format!("time_format: {wrong}"))?;
    }
    let delimiter = match params.get("delimiter").map(str::as_bytes) {
        None => csv::DELIMITER,
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'"' | b'\r' | b'\n') => *byte,
        Some(_) => return Err("the parameter \"delimiter\" is no single character".into()),
    };
    Ok(Question { db, table, format, tags, time, time_format, delimiter })
}

/// A column that is a tag of the table stays one, whether the request says so or not.
fn add_known_tags(writer: &Writer, question: &mut Question) {
    let Some(table) = writer.ingest.table(&question.db, &question.table) else { return };
    for column in table.schema.columns.iter().filter(|column| column.kind == ColumnKind::Tag) {
        if !question.tags.iter().any(|tag| tag == column.name.as_str()) {
            question.tags.push(column.name.as_str().to_owned());
        }
    }
}

fn decode(writer: &Writer, question: &Question, bytes: &[u8]) -> Decoded {
    let rules = RowRules {
        tags: &question.tags,
        fixed: &[],
        time: &question.time,
        arrival: &writer.arrival,
        nulls: &[],
        time_format: question.time_format.as_deref(),
        message_time: None,
        now_ns: writer.arrival.now_ns(),
        ahead_ns_max: writer.options.ahead_ns_max,
    };
    let mut builder = PointsBuilder::new(question.db.clone(), question.table.clone());
    let (rejected, rejected_more) = {
        let mut sink = RowSink::new(&rules, &mut builder, None, 1);
        let read = match question.format {
            Format::Json => match std::str::from_utf8(bytes) {
                Ok(text) if text.trim().is_empty() => Err(Fault::syntax("the body is empty")),
                Ok(text) => json::read_rows(text.trim_start_matches('\u{feff}'), &mut sink),
                Err(_) => Err(Fault::syntax("the body is not UTF-8")),
            },
            Format::Ndjson => {
                json::read_lines(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes), &mut sink);
                Ok(())
            }
            Format::Csv => csv::read_rows(bytes, question.delimiter, &mut sink),
            Format::Arrow => arrow::read_rows(bytes, &mut sink),
            Format::Msgpack => push(msgpack::read(bytes), &mut sink),
            Format::Cbor => push(cbor::read(bytes), &mut sink),
            Format::Avro => push(avro::read_container(bytes), &mut sink),
        };
        if let Err(fault) = read {
            sink.refuse(fault);
            sink.end_row();
        }
        (std::mem::take(&mut sink.rejected), sink.rejected_more)
    };
    let points = if builder.rows() > 0 { vec![builder.finish()] } else { Vec::new() };
    Decoded { points, rejected, rejected_more }
}

fn push(document: Result<Document, Fault>, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    document.and_then(|document| document::push_rows(&document, sink))
}

/// The answer to a body of which these rows were refused, and so many more.
fn partial(rejected: &[Rejection], more: usize, stored: u64) -> Response {
    let first = &rejected[0];
    let count = rejected.len() + more;
    let detail = format!("{count} rows were refused; row {}: {}", first.origin, first.detail);
    let listed: Vec<Value> = rejected
        .iter()
        .take(LISTED_MAX)
        .map(
            |one| json!({"row": one.origin, "reason": one.reason.as_str(), "detail": &*one.detail}),
        )
        .collect();
    let extra = json!({"rows_written": stored, "rows_rejected": count, "rejected": listed});
    problem_with(StatusCode::BAD_REQUEST, &detail, extra)
}

/// The answer to a write of which some rows have to come again.
fn put_off(stored: u64, rows: &[Points]) -> Response {
    let extra = json!({"rows_written": stored, "rejected": [], "deferred": deferred::rows(rows)});
    let detail = deferred::detail(stored, rows);
    let mut answer = problem_with(StatusCode::SERVICE_UNAVAILABLE, &detail, extra);
    answer.headers_mut().insert(header::RETRY_AFTER, deferred::RETRY_AFTER_S.into());
    answer
}

/// The answer to a write that is refused for good.
fn refused(wrong: &Error) -> Response {
    let Error::Forbidden(needs) = wrong else {
        return problem(StatusCode::BAD_REQUEST, &wrong.to_string());
    };
    let needs = json!({"may": needs.may, "db": needs.db, "table": needs.table});
    let kind = json!({"type": "/problems/forbidden", "title": "forbidden", "needs": needs});
    problem_with(StatusCode::FORBIDDEN, &wrong.to_string(), kind)
}

fn problem(status: StatusCode, detail: &str) -> Response {
    problem_with(status, detail, json!({"rows_written": 0, "rejected": []}))
}

fn problem_with(status: StatusCode, detail: &str, extra: Value) -> Response {
    let title = status.canonical_reason().unwrap_or("Error");
    let mut body = json!({
        "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail,
    });
    if let (Value::Object(body), Value::Object(extra)) = (&mut body, extra) {
        body.extend(extra);
    }
    let mut answer = (status, body.to_string()).into_response();
    let kind = HeaderValue::from_static("application/problem+json");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}
