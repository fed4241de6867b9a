//! Rows over HTTP: InfluxDB's write paths and Oribi's own.

mod aside;
mod body;
mod deferred;
mod influx;
mod native;
mod params;
mod statements;
mod unstored;

use aside::Aside;
use axum::{
    Router,
    extract::FromRequestParts,
    http::{StatusCode, request::Parts},
    routing::{get, post},
};
use oribi_access::Access;
use oribi_decode::line_protocol::HeadPool;
use oribi_ingest::{Ingest, granted};
use oribi_model::ArrivalClock;
use std::{sync::Arc, time::Duration};

/// Bounds on writes over HTTP.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Largest body as sent, bytes.
    pub body_bytes_max: usize,
    /// Largest body once decompressed, bytes.
    pub decompressed_bytes_max: usize,
    /// Most decompressed bytes for one compressed byte, past the first MiB.
    pub ratio_max: usize,
    /// Longest pause within a body.
    pub idle_timeout: Duration,
    /// How far ahead of now an event may lie, ns.
    pub ahead_ns_max: i64,
}

impl Default for WriteOptions {
    fn default() -> WriteOptions {
        WriteOptions {
            body_bytes_max: 16 << 20,
            decompressed_bytes_max: 64 << 20,
            ratio_max: 100,
            idle_timeout: Duration::from_secs(30),
            ahead_ns_max: oribi_decode::AHEAD_NS_MAX,
        }
    }
}

/// What every handler needs.
#[derive(Clone)]
struct Writer {
    ingest: Arc<dyn Ingest>,
    arrival: ArrivalClock,
    options: Arc<WriteOptions>,
    /// What line protocol said before.
    heads: Arc<HeadPool>,
    aside: Aside,
}

/// Who writes stands among the extensions of a request: without that, nothing is written.
impl FromRequestParts<Writer> for Writer {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, writer: &Writer) -> Result<Writer, StatusCode> {
        let access = parts.extensions.get::<Access>().ok_or(StatusCode::INTERNAL_SERVER_ERROR)?;
        Ok(writer.clone().granted(access))
    }
}

impl Writer {
    /// As who writes may use it.
    fn granted(self, access: &Access) -> Writer {
        Writer { ingest: granted(self.ingest, access), ..self }
    }
}

/// The routes of all writes: `/api/v1/write`, `/api/v2/write`, `/write`, and of what InfluxDB's
/// clients ask before they write: `/query`, `/ping`, `/ready`, `/api/v2/buckets`. Whoever serves them
/// has put an [`Access`] among each request's extensions.
pub fn write_router(
    ingest: Arc<dyn Ingest>,
    arrival: ArrivalClock,
    options: WriteOptions,
) -> Router {
    let (options, heads) = (Arc::new(options), Arc::default());
    let writer = Writer { ingest, arrival, options, heads, aside: Aside::new() };
    Router::new()
        .route("/api/v1/write", post(native::write))
        .route("/api/v2/write", post(influx::write_v2))
        .route("/write", post(influx::write_v1))
        .route("/query", get(statements::query).post(statements::query))
        .route("/ping", get(influx::ping))
        .route("/ready", get(influx::ready))
        .route("/api/v2/buckets", get(influx::buckets))
        .with_state(writer)
}

#[cfg(test)]
mod tests;
