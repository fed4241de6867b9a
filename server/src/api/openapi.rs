//! `/openapi.json`, generated from the code.

mod refusals;

use super::{
    audited, backups, cluster, connectors, dead_letters, delete, health, join_secrets, node, nodes,
    tables, tokens,
};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::LazyLock;
use utoipa::OpenApi;

/// The paths of this crate, and the write paths, which `oribi-connectors` serves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Oribi",
        description = "Time-series and IoT ingestion: rows in, windows out.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        health::health,
        node::node,
        cluster::cluster,
        cluster::tablets,
        join_secrets::create,
        nodes::order,
        backups::hold,
        backups::file,
        backups::catalog,
        backups::end,
        nodes::remove,
        node::compact,
        node::metrics,
        node::authority,
        tokens::whoami,
        audited::list,
        tokens::list,
        tokens::create,
        tokens::get,
        tokens::patch,
        tokens::rotate,
        tokens::revoke,
        tables::list,
        tables::put,
        tables::drop,
        delete::rows,
        connectors::list,
        connectors::put,
        connectors::get,
        connectors::drop,
        connectors::steer,
        connectors::test,
        dead_letters::put_through,
        writes::write,
        writes::write_v1,
        writes::write_v2,
        writes::query,
        writes::ping,
        writes::ready,
        writes::buckets,
        document_path,
    ),
    components(schemas(connectors::Steering, nodes::Order))
)]
struct AdminDoc;

/// The description of all paths.
pub(super) fn description() -> utoipa::openapi::OpenApi {
    let mut description = AdminDoc::openapi();
    description.merge(oribi_query::ApiDoc::openapi());
    description.info.version = env!("CARGO_PKG_VERSION").to_owned();
    refusals::describe(&mut description);
    description
}

/// Serves the description.
pub(super) async fn document() -> Response {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| description().to_json().unwrap_or_else(|_| "{}".to_owned()));
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// This description.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "admin",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
#[expect(dead_code, reason = "describes `document`, whose answer cannot describe itself")]
fn document_path() {}

/// What `oribi_connectors::write_router` serves; a test asks it for every one of these paths.
#[expect(dead_code, reason = "only described here")]
mod writes {
    use oribi_query::http::Problem;

    /// Rows of one table as JSON, NDJSON, CSV or Arrow IPC.
    #[utoipa::path(
        post,
        path = "/api/v1/write",
        tag = "write",
        params(
            ("table" = String, Query, description = "table"),
            ("format" = String, Query, description = "json, ndjson, csv, arrow, msgpack, cbor or avro"),
            ("db" = Option<String>, Query, description = "database; default: default"),
            ("tags" = Option<String>, Query, description = "columns that are tags, comma-separated"),
            ("time" = Option<String>, Query, description = "time column; default: the first of time, timestamp, ts"),
            ("precision" = Option<String>, Query, description = "unit of times given as numbers: n ns u us ms s m h"),
        ),
        request_body(content = String, content_type = "application/octet-stream", description = "the rows; gzip accepted"),
        responses(
            (status = 204, description = "all rows are safe"),
            (status = 400, description = "a parameter is wrong, or rows were refused: rows_written, rejected", body = Problem),
            (status = 413, description = "the body is too large", body = Problem),
            (status = 415, description = "unknown Content-Encoding", body = Problem),
            (status = 503, description = "try again after Retry-After", body = Problem),
        )
    )]
    pub(super) fn write() {}

    /// Line protocol, as InfluxDB 1 takes it.
    #[utoipa::path(
        post,
        path = "/write",
        tag = "influxdb",
        params(
            ("db" = Option<String>, Query, description = "database; default: default"),
            ("precision" = Option<String>, Query, description = "n ns u us ms s m h; default: ns"),
        ),
        request_body(content = String, content_type = "text/plain", description = "lines; gzip accepted"),
        responses(
            (status = 204, description = "all rows are safe"),
            (status = 400, description = "lines were refused; the good ones are stored", body = serde_json::Value),
            (status = 413, description = "the body is too large", body = serde_json::Value),
            (status = 503, description = "try again after Retry-After", body = serde_json::Value),
        )
    )]
    pub(super) fn write_v1() {}

    /// Line protocol, as InfluxDB 2 takes it.
    #[utoipa::path(
        post,
        path = "/api/v2/write",
        tag = "influxdb",
        params(
            ("bucket" = Option<String>, Query, description = "database; default: default"),
            ("org" = Option<String>, Query, description = "ignored"),
            ("precision" = Option<String>, Query, description = "n ns u us ms s m h; default: ns"),
        ),
        request_body(content = String, content_type = "text/plain", description = "lines; gzip accepted"),
        responses(
            (status = 204, description = "all rows are safe"),
            (status = 400, description = "lines were refused; the good ones are stored", body = serde_json::Value),
            (status = 413, description = "the body is too large", body = serde_json::Value),
            (status = 503, description = "try again after Retry-After", body = serde_json::Value),
        )
    )]
    pub(super) fn write_v2() {}

    /// SHOW DATABASES, CREATE DATABASE and DROP DATABASE, which InfluxDB 1's clients send first.
    #[utoipa::path(
        get,
        path = "/query",
        tag = "influxdb",
        params(("q" = String, Query, description = "statements")),
        responses(
            (status = 200, description = "one result a statement", body = serde_json::Value),
            (status = 400, description = "another statement", body = serde_json::Value),
        )
    )]
    pub(super) fn query() {}

    /// Whether there is a server.
    #[utoipa::path(
        get,
        path = "/ping",
        tag = "influxdb",
        responses((status = 204, description = "there is"))
    )]
    pub(super) fn ping() {}

    /// Whether it is ready.
    #[utoipa::path(
        get,
        path = "/ready",
        tag = "influxdb",
        responses((status = 200, description = "it is", body = serde_json::Value))
    )]
    pub(super) fn ready() {}

    /// The databases as InfluxDB 2 lists buckets.
    #[utoipa::path(
        get,
        path = "/api/v2/buckets",
        tag = "influxdb",
        params(("name" = Option<String>, Query, description = "only this one")),
        responses((status = 200, description = "the databases", body = serde_json::Value))
    )]
    pub(super) fn buckets() {}
}
