//! `/api/v1/query` and `/api/v1/sql`.

mod params;

use crate::{
    Error, QueryEngine, Question, Result, consistency,
    delivery::Inlet,
    encode::{Format, PIECE_BYTES},
    engine::Asked,
};
use axum::{
    body::{Body, Bytes},
    extract::{Extension, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures::StreamExt;
use oribi_access::{Access, Needs};
use oribi_model::Consistency;
use params::Params;
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

/// RFC 9457 problem details.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct Problem {
    /// Kind of problem, as a relative reference.
    #[serde(rename = "type")]
    pub kind: String,
    /// Kind of problem, for a person.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What was wrong and what was expected.
    pub detail: String,
    /// The parameter that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// Byte of the parameter at which it goes wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<usize>,
    /// Tables with similar names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<String>,
    /// The columns there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// What became of a change that was not acknowledged: `not_stored`, or `unknown` where it may
    /// have happened or may still.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// What a token would have needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<NeedsView>,
    /// Why somebody is not let in: `missing`, `malformed`, `cut`, `unknown` or `expired`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A right, as asked.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct NeedsView {
    /// `read`, `write`, `admin`, `ops` or `all`.
    pub may: String,
    /// The database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db: Option<String>,
    /// The table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
}

impl From<&Needs> for NeedsView {
    fn from(needs: &Needs) -> NeedsView {
        let Needs { may, db, table } = needs.clone();
        NeedsView { may: may.to_owned(), db, table }
    }
}

impl From<&Error> for Problem {
    fn from(error: &Error) -> Problem {
        let mut problem = Problem {
            kind: format!("/problems/{}", error.code()),
            title: error.code().replace('-', " "),
            status: error.status(),
            detail: error.to_string(),
            ..Problem::default()
        };
        match error {
            Error::Parameter { parameter, position, .. } => {
                problem.parameter = Some(parameter.clone());
                problem.position = *position;
            }
            Error::UnknownTable { near, .. } => {
                problem.parameter = Some("table".into());
                problem.near = near.clone();
            }
            Error::Forbidden(needs) => problem.needs = Some((&**needs).into()),
            Error::UnknownColumn { parameter, columns, .. } => {
                problem.parameter = Some(parameter.clone());
                problem.columns = columns.clone();
            }
            Error::Sql { .. } => problem.parameter = Some("q".into()),
            _ => {}
        }
        problem
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let problem = Problem::from(&self);
        let status =
            StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::warn!(error = %self, "a query failed");
        }
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response =
            (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        if matches!(self.status(), 429 | 503) {
            let one_second = header::HeaderValue::from_static("1");
            response.headers_mut().insert(header::RETRY_AFTER, one_second);
        }
        response
    }
}

/// A column of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// `time`, `string`, `integer`, `float` or `boolean`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A JSON answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerBody {
    /// Names and types.
    pub columns: Vec<AnswerColumn>,
    /// One array a row, as long as `columns`.
    pub rows: Vec<Vec<serde_json::Value>>,
    /// What the answer cost.
    pub stats: AnswerStats,
}

/// What an answer cost.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerStats {
    /// Time from the request to the answer, ms.
    pub elapsed_ms: f64,
    /// Rows of the answer.
    pub rows: u64,
    /// Rows read, after the filter.
    pub rows_scanned: Option<u64>,
    /// Series read, counted once a tablet.
    pub series: Option<u64>,
    /// Tablets asked.
    pub tablets: Option<u64>,
    /// Nodes asked, the one that answers among them.
    pub nodes: Option<u64>,
    /// How old what was read may be, ms; only of a question with `consistency=stale`.
    pub staleness_ms: Option<u64>,
    /// The node that was asked.
    pub served_by: Option<u32>,
}

/// The OpenAPI description of these paths.
#[derive(OpenApi)]
#[openapi(
    paths(query_get, query_post, sql_get, sql_post),
    components(schemas(Problem, NeedsView, AnswerBody, AnswerColumn, AnswerStats))
)]
pub struct ApiDoc;

/// The routes over an engine. Whoever serves them has put an [`Access`] among each request's extensions:
/// without one, nothing is answered.
pub fn router(engine: QueryEngine) -> axum::Router {
    axum::Router::new()
        .route("/api/v1/query", get(query_get).post(query_post))
        .route("/api/v1/sql", get(sql_get).post(sql_post))
        .with_state(engine)
}

const QUESTION: &[&str] = &[
    "db",
    "table",
    "select",
    "window",
    "offset",
    "timezone",
    "start",
    "end",
    "where",
    "group_by",
    "fill",
    "order",
    "limit",
    "format",
    "consistency",
    "staleness_max",
];

const SQL: &[&str] = &["q", "db", "format", "consistency", "staleness_max"];

/// Time windows of a table.
#[utoipa::path(
    get,
    path = "/api/v1/query",
    tag = "query",
    params(
        ("db" = Option<String>, Query, description = "database; default: default"),
        ("table" = String, Query, description = "table"),
        ("select" = String, Query, description = "functions, such as mean(temperature) as t, count(*)"),
        ("window" = Option<String>, Query, description = "length of a window: 1ms, 5m, 1h, 1d, 1w, 1mo, 1y"),
        ("offset" = Option<String>, Query, description = "shift of the windows; may be negative"),
        ("timezone" = Option<String>, Query, description = "IANA zone of calendar windows"),
        ("start" = Option<String>, Query, description = "first time inside: RFC 3339, number with unit, -1h, now"),
        ("end" = Option<String>, Query, description = "first time after"),
        ("where" = Option<String>, Query, description = "SQL predicate over tags, fields and time"),
        ("group_by" = Option<String>, Query, description = "tags, or *"),
        ("fill" = Option<String>, Query, description = "none, null, previous, linear or a number"),
        ("order" = Option<String>, Query, description = "asc or desc by time"),
        ("limit" = Option<u64>, Query, description = "rows at most"),
        ("consistency" = Option<String>, Query, description = "linearizable (default), or stale: what is near"),
        ("staleness_max" = Option<String>, Query, description = "how old that may be; default: 10s"),
        ("format" = Option<String>, Query, description = "json, csv, ndjson or arrow"),
    ),
    responses(
        (status = 200, description = "rows", body = AnswerBody),
        (status = 400, description = "a parameter is wrong", body = Problem),
        (status = 404, description = "no such table", body = Problem),
        (status = 422, description = "a limit of memory or size, or an integer sum too large", body = Problem),
        (status = 429, description = "too many queries at once", body = Problem),
        (status = 503, description = "a tablet that cannot be read, or only older than allowed", body = Problem),
        (status = 504, description = "the time limit", body = Problem),
    )
)]
async fn query_get(
    State(engine): State<QueryEngine>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    question(engine.seen_by(&access), query.as_deref(), &headers, b"").await
}

/// Time windows of a table; the parameters of GET as form or JSON members.
#[utoipa::path(
    post,
    path = "/api/v1/query",
    tag = "query",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "rows", body = AnswerBody),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
async fn query_post(
    State(engine): State<QueryEngine>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    question(engine.seen_by(&access), query.as_deref(), &headers, &body).await
}

/// SQL.
#[utoipa::path(
    get,
    path = "/api/v1/sql",
    tag = "query",
    params(
        ("q" = String, Query, description = "one SELECT, WITH, VALUES, EXPLAIN or SHOW"),
        ("db" = Option<String>, Query, description = "database of unqualified tables"),
        ("consistency" = Option<String>, Query, description = "linearizable (default), or stale: what is near"),
        ("staleness_max" = Option<String>, Query, description = "how old that may be; default: 10s"),
        ("format" = Option<String>, Query, description = "json, csv, ndjson or arrow"),
    ),
    responses(
        (status = 200, description = "rows", body = AnswerBody),
        (status = 400, description = "malformed, refused or unsupported SQL", body = Problem),
        (status = 404, description = "no such table", body = Problem),
        (status = 422, description = "a limit of memory or size", body = Problem),
        (status = 429, description = "too many queries at once", body = Problem),
        (status = 504, description = "the time limit", body = Problem),
    )
)]
async fn sql_get(
    State(engine): State<QueryEngine>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response> {
    sql(engine.seen_by(&access), query.as_deref(), &headers, b"").await
}

/// SQL; the parameters of GET as form or JSON members.
#[utoipa::path(
    post,
    path = "/api/v1/sql",
    tag = "query",
    request_body = serde_json::Value,
    responses(
        (status = 200, description = "rows", body = AnswerBody),
        (status = 400, description = "malformed, refused or unsupported SQL", body = Problem),
    )
)]
async fn sql_post(
    State(engine): State<QueryEngine>,
    Extension(access): Extension<Access>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response> {
    sql(engine.seen_by(&access), query.as_deref(), &headers, &body).await
}

async fn question(
    engine: QueryEngine,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response> {
    let mut params = Params::read(query, headers, body, QUESTION)?;
    let format = format(&mut params, headers)?;
    let engine = engine.reading(consistency(&mut params)?);
    let mut take = |name: &str| params.take(name);
    let question = Question {
        db: take("db"),
        table: take("table"),
        select: take("select"),
        window: take("window"),
        offset: take("offset"),
        timezone: take("timezone"),
        start: take("start"),
        end: take("end"),
        filter: take("where"),
        group_by: take("group_by"),
        fill: take("fill"),
        order: take("order"),
        limit: take("limit"),
    };
    respond(
        engine.written(Asked::Windows(Box::new(engine.meaning(&question)?)), format).await?,
        format,
    )
    .await
}

async fn sql(
    engine: QueryEngine,
    query: Option<&str>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Response> {
    let mut params = Params::read(query, headers, body, SQL)?;
    let format = format(&mut params, headers)?;
    let engine = engine.reading(consistency(&mut params)?);
    let db = params.take("db").filter(|db| !db.is_empty());
    let text = params.take("q").unwrap_or_default();
    respond(engine.written(Asked::Sql { db, text }, format).await?, format).await
}

/// How old what is read may be.
fn consistency(params: &mut Params) -> Result<Consistency> {
    let (asked, max) = (params.take("consistency"), params.take("staleness_max"));
    consistency::parse(asked.as_deref(), max.as_deref())
}

fn format(params: &mut Params, headers: &HeaderMap) -> Result<Format> {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    Format::choose(params.take("format").as_deref(), accept)
}

/// Answers once the first piece is there, so that what fails until then is a problem of its own.
/// What fails later breaks the body off, which no client takes for its end.
async fn respond(mut pieces: Inlet<Bytes>, format: Format) -> Result<Response> {
    let kind = header::HeaderValue::from_static(format.content_type());
    let first = pieces.next().await?.unwrap_or_default();
    if first.len() < PIECE_BYTES {
        // Nothing comes after it.
        let head = [(header::CONTENT_TYPE, kind)];
        return Ok((head, Body::from(first)).into_response());
    }
    let rest = futures::stream::try_unfold(pieces, |mut pieces| async {
        match pieces.next().await {
            Ok(next) => Ok::<_, Error>(next.map(|piece| (piece, pieces))),
            Err(error) => {
                tracing::warn!(%error, "an answer broke off");
                // The server sends what it has, the head among it, before it hears of the end.
                tokio::task::yield_now().await;
                Err(error)
            }
        }
    });
    let all = futures::stream::once(async { Ok(first) }).chain(rest);
    Ok(([(header::CONTENT_TYPE, kind)], Body::from_stream(all)).into_response())
}
