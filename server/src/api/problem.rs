//! Errors as RFC 9457 problem JSON, and in InfluxDB's own shape on its paths.

use axum::{
    Json,
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use oribi_access::{Denied, Needs};
use oribi_cluster::WriteOutcome;
use oribi_query::http::Problem;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};

/// A refused request.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Problem>);

/// The result of a handler.
pub(crate) type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// A problem of this kind, such as `unknown-table`.
    pub(crate) fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> ApiError {
        ApiError(Box::new(Problem {
            kind: format!("/problems/{code}"),
            title: code.replace('-', " "),
            status: status.as_u16(),
            detail: detail.into(),
            ..Problem::default()
        }))
    }

    /// A parameter that is wrong.
    pub(crate) fn parameter(parameter: &str, detail: impl Into<String>) -> ApiError {
        let mut error = ApiError::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail);
        error.0.parameter = Some(parameter.to_owned());
        error
    }

    /// What is there already and cannot be what was asked.
    pub(crate) fn conflict(detail: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// A table that does not exist, with those that are called alike.
    pub(crate) fn unknown_table(db: &str, table: &str, near: Vec<String>) -> ApiError {
        let error = oribi_query::Error::UnknownTable { db: db.into(), table: table.into(), near };
        error.into()
    }
}

impl From<Needs> for ApiError {
    fn from(needs: Needs) -> ApiError {
        let mut error = ApiError::new(StatusCode::FORBIDDEN, "forbidden", needs.to_string());
        error.0.needs = Some((&needs).into());
        error
    }
}

impl From<oribi_query::Error> for ApiError {
    fn from(error: oribi_query::Error) -> ApiError {
        ApiError(Box::new(Problem::from(&error)))
    }
}

impl From<oribi_cluster::Error> for ApiError {
    fn from(error: oribi_cluster::Error) -> ApiError {
        use oribi_cluster::Error;
        let (status, code) = match &error {
            Error::Refused(_) => (StatusCode::CONFLICT, "refused"),
            error if error.is_retryable() => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Error::Store(_) => (StatusCode::SERVICE_UNAVAILABLE, "storage"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        };
        if status.is_server_error() {
            tracing::warn!(%error, "an administrative request failed");
        }
        let mut problem = ApiError::new(status, code, error.to_string());
        if status.is_server_error() {
            let outcome = match error.outcome() {
                WriteOutcome::NotStored => "not_stored",
                WriteOutcome::Unknown => "unknown",
            };
            problem.0.outcome = Some(outcome.to_owned());
        }
        problem
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut answer =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }
}

/// A path that does not exist.
pub(super) async fn not_found(uri: Uri) -> Response {
    let detail = format!("there is no path {}; /openapi.json lists all", shown(&uri));
    refuse(&uri, StatusCode::NOT_FOUND, "not-found", detail)
}

/// A path that does not take this method. The router adds `Allow`.
pub(super) async fn method_not_allowed(method: Method, uri: Uri) -> Response {
    let detail = format!("{} does not take {method}", shown(&uri));
    refuse(&uri, StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail)
}

/// Any path of a node that is not open yet.
pub(super) async fn starting(uri: Uri) -> Response {
    let detail = "the node is starting: the data directory is being opened".to_owned();
    refuse(&uri, StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
}

/// An error in the shape that the path's clients read.
pub(super) fn refuse(uri: &Uri, status: StatusCode, code: &str, detail: String) -> Response {
    if !is_influx(uri.path()) {
        return ApiError::new(status, code, detail).into_response();
    }
    influx(status, code, detail, [("data", json!([]))])
}

/// An error that InfluxDB's clients read, with further members.
fn influx<const N: usize>(
    status: StatusCode,
    code: &str,
    detail: String,
    more: [(&str, Value); N],
) -> Response {
    let code = code.replace('-', " ");
    static ERRORS: AtomicU64 = AtomicU64::new(1);
    let id = format!("ORIBI-R{}", ERRORS.fetch_add(1, Ordering::Relaxed));
    let mut body = json!({"code": code, "message": detail, "error": detail, "errorId": id});
    more.into_iter().for_each(|(name, value)| body[name] = value);
    let mut answer = (status, Json(body)).into_response();
    let headers = answer.headers_mut();
    if let Ok(detail) = HeaderValue::from_str(&detail) {
        headers.insert("x-influxdb-error", detail);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// A write of which nothing was taken, in the shape that the path's clients read.
pub(super) fn not_stored(uri: &Uri, detail: String) -> Response {
    let (status, code) = (StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    if is_influx(uri.path()) {
        let more = [("data", json!([])), ("outcome", json!("not_stored"))];
        return influx(status, code, detail, more);
    }
    let mut error = ApiError::new(status, code, detail);
    error.0.outcome = Some("not_stored".to_owned());
    error.into_response()
}

/// Somebody who is not let in.
pub(super) fn unauthorized(uri: &Uri, denied: Denied) -> Response {
    let (status, detail) = (StatusCode::UNAUTHORIZED, denied.to_string());
    if is_influx(uri.path()) {
        return refuse(uri, status, "unauthorized", detail);
    }
    let mut error = ApiError::new(status, "unauthorized", detail);
    error.0.reason = Some(denied.as_str().to_owned());
    error.into_response()
}

/// Somebody whose token is not enough.
pub(super) fn forbidden(uri: &Uri, needs: &Needs) -> Response {
    match is_influx(uri.path()) {
        true => refuse(uri, StatusCode::FORBIDDEN, "forbidden", needs.to_string()),
        false => ApiError::from(needs.clone()).into_response(),
    }
}

/// Turns errors that a library wrote as plain text into the path's own shape.
pub(super) async fn reshape(request: Request, next: Next) -> Response {
    let uri = request.uri().clone();
    let answer = next.run(request).await;
    let status = answer.status();
    let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !is_plain {
        return answer;
    }
    let (parts, body) = answer.into_parts();
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "request-too-large",
        StatusCode::REQUEST_TIMEOUT => "request-timeout",
        _ if status.is_server_error() => "internal",
        _ => "invalid-request",
    };
    let detail = text(body).await;
    let detail = if detail.is_empty() {
        status.canonical_reason().unwrap_or("refused").to_lowercase()
    } else {
        detail
    };
    let mut reshaped = refuse(&uri, status, code, detail);
    for (name, value) in parts.headers {
        if let Some(name) = name.filter(|name| *name == header::ALLOW) {
            reshaped.headers_mut().insert(name, value);
        }
    }
    reshaped
}

async fn text(body: Body) -> String {
    const BYTES_MAX: usize = 64 << 10;
    let bytes = axum::body::to_bytes(body, BYTES_MAX).await.unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether a path is InfluxDB's, whose clients read another shape of refusals.
pub(super) fn is_influx(path: &str) -> bool {
    matches!(path, "/write" | "/query" | "/ping" | "/ready") || path.starts_with("/api/v2/")
}

fn shown(uri: &Uri) -> String {
    const CHARS_SHOWN: usize = 200;
    uri.path().chars().take(CHARS_SHOWN).collect()
}
