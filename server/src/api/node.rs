//! `/api/v1/node`, `/api/v1/compact` and `/metrics`.

use super::{
    Admin,
    params::Given,
    problem::{ApiError, Result},
};
use crate::{config::TokenMode, telemetry};
use axum::{
    Extension, Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use oribi_access::Access;
use oribi_cluster::NodeStats;
use oribi_query::http::Problem;
use serde::Serialize;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use utoipa::ToSchema;

/// The node.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeView {
    /// The version that runs.
    version: &'static str,
    /// Since the process started, s.
    uptime_s: f64,
    /// Address of HTTP.
    http: String,
    /// Address of the MQTT listener.
    mqtt: String,
    /// Address for other nodes.
    node: String,
    /// Whether tokens are asked for: `on` or `off`.
    auth: &'static str,
    /// Whether HTTP speaks TLS: `on` or `off`.
    tls: &'static str,
    /// Figures as of now, for who may ask for them.
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<StatsView>,
}

/// Figures of the node; totals count since the start.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StatsView {
    tables: usize,
    /// Tablets that serve.
    tablets: usize,
    /// Tablets that are set aside since something of theirs is damaged or missing.
    damaged_tablets: usize,
    /// Consensus instances that run.
    running_replicas: usize,
    segments: usize,
    damaged_segments: usize,
    segment_bytes: u64,
    /// Files that are no longer needed, and removed after a while.
    trash_bytes: u64,
    memtable_rows: u64,
    memtable_bytes: usize,
    page_cache_bytes: usize,
    log_bytes: u64,
    /// Each made one frame of the log safe.
    log_syncs: u64,
    log_written_bytes: u64,
    /// Time spent in them, µs.
    log_sync_us: u64,
    flushes: u64,
    compactions: u64,
    disk_free_bytes: u64,
    /// Rows acked, over HTTP and MQTT together.
    rows_written: u64,
    rows_rejected: u64,
    /// Writes acked; one may hold many rows.
    writes: u64,
    /// Time from a write's arrival to its ack, in total, µs.
    write_us: u64,
    http_connections: u64,
    mqtt_connections: u64,
    mqtt_messages: u64,
    mqtt_dead_letters: u64,
    /// Messages acked.
    mqtt_acks: u64,
    /// Time from the start of a batch to the acks of its messages, in total over them, µs.
    mqtt_ack_us: u64,
}

/// Version, uptime, addresses bound and figures.
#[utoipa::path(
    get,
    path = "/api/v1/node",
    tag = "admin",
    responses((status = 200, description = "the node", body = NodeView))
)]
pub(super) async fn node(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    given: Given,
) -> Result<Json<NodeView>> {
    given.params(&[])?;
    Ok(Json(NodeView {
        version: env!("CARGO_PKG_VERSION"),
        uptime_s: admin.started.elapsed().as_secs_f64(),
        http: admin.addresses.http.to_string(),
        mqtt: admin.addresses.mqtt.to_string(),
        node: admin.addresses.node.to_string(),
        auth: match admin.keyring.mode() {
            TokenMode::On => "on",
            TokenMode::Off => "off",
        },
        tls: if admin.tls.is_some() { "on" } else { "off" },
        stats: access.check_ops().is_ok().then(|| stats(&admin)),
    }))
}

/// What everything takes after a compaction.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Compacted {
    /// How long it took, ms.
    elapsed_ms: f64,
    /// Segments of all tablets.
    segments: usize,
    /// Their bytes.
    segment_bytes: u64,
    /// Bytes of log files.
    log_bytes: u64,
}

/// Flushes and compacts all tablets, rotates and purges the log; answers when it is done.
#[utoipa::path(
    post,
    path = "/api/v1/compact",
    tag = "admin",
    responses(
        (status = 200, description = "done", body = Compacted),
        (status = 503, description = "the disk failed, or the node is stopping", body = Problem),
    )
)]
pub(super) async fn compact(
    State(admin): State<Arc<Admin>>,
    given: Given,
) -> Result<Json<Compacted>> {
    given.params(&[])?;
    let started = Instant::now();
    // A client that goes away does not stop it half-way.
    let work = tokio::spawn({
        let admin = admin.clone();
        async move {
            let _one = admin.compacting.lock().await;
            admin.node.compact().await
        }
    });
    work.await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the compaction broke off")
    })??;
    let NodeStats { segments, segment_bytes, log_bytes, .. } = admin.node.stats();
    let elapsed_ms = started.elapsed().as_secs_f64() * 1e3;
    Ok(Json(Compacted { elapsed_ms, segments, segment_bytes, log_bytes }))
}

/// The certificate of the authority that the node made for itself, for clients to trust.
#[utoipa::path(
    get,
    path = "/ca.pem",
    tag = "admin",
    responses(
        (status = 200, description = "PEM", body = String),
        (status = 404, description = "the certificate is of another authority, or there is no TLS"),
    )
)]
pub(super) async fn authority(State(admin): State<Arc<Admin>>) -> Result<Response> {
    let pem = admin.tls.as_ref().and_then(|tls| tls.authority());
    let pem = pem.ok_or_else(|| {
        let detail = "this node has made no authority of its own";
        ApiError::new(StatusCode::NOT_FOUND, "not-found", detail)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/x-pem-file")], pem).into_response())
}

/// All figures for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "admin",
    responses((status = 200, description = "Prometheus or OpenMetrics text", body = String))
)]
pub(super) async fn metrics(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let is_open = accept.is_some_and(|accept| accept.contains("application/openmetrics-text"));
    let text = admin.metrics.open_text();
    let (kind, text) =
        if is_open { (OPEN_METRICS, text) } else { (PLAIN, telemetry::plain(&text)) };
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

fn stats(admin: &Admin) -> StatsView {
    let node = admin.node.stats();
    let (ingest, mqtt) = (&admin.ingest, &admin.mqtt);
    let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
    StatsView {
        tables: node.tables,
        tablets: node.tablets,
        damaged_tablets: node.damaged_tablets,
        running_replicas: node.running_replicas,
        segments: node.segments,
        damaged_segments: node.damaged_segments,
        segment_bytes: node.segment_bytes,
        trash_bytes: node.trash_bytes,
        memtable_rows: node.memtable_rows,
        memtable_bytes: node.memtable_bytes,
        page_cache_bytes: node.page_cache_bytes,
        log_bytes: node.log_bytes,
        log_syncs: node.log_syncs,
        log_written_bytes: node.log_written_bytes,
        log_sync_us: node.log_sync_us,
        flushes: node.flushes,
        compactions: node.compactions,
        disk_free_bytes: node.disk_free_bytes,
        rows_written: now(&ingest.rows),
        rows_rejected: now(&ingest.rejected),
        writes: now(&ingest.writes),
        write_us: now(&ingest.write_us),
        http_connections: now(&admin.front.connections),
        mqtt_connections: now(&mqtt.connections),
        mqtt_messages: now(&mqtt.messages),
        mqtt_dead_letters: now(&mqtt.dead_letters),
        mqtt_acks: now(&mqtt.acks),
        mqtt_ack_us: now(&mqtt.ack_us),
    }
}
