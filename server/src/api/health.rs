//! `/health`, in the shape that InfluxDB's clients read.

use super::Admin;
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Whether the node serves.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `oribi`.
    name: &'static str,
    /// Why, for a person.
    message: String,
    /// `pass` or `fail`.
    status: &'static str,
    /// Always empty.
    checks: Vec<String>,
    /// The version that runs.
    version: &'static str,
}

/// Whether all listeners accept and data can be read and written.
#[utoipa::path(
    get,
    path = "/health",
    tag = "admin",
    responses(
        (status = 200, description = "the node serves", body = Health),
        (status = 503, description = "it does not, with the reason", body = Health),
    )
)]
pub(super) async fn health(State(admin): State<Arc<Admin>>) -> Response {
    match admin.node.failure() {
        None => answer(StatusCode::OK, "ready for queries and writes".into()),
        Some(reason) => {
            let message = format!("a disk failure stopped the writes: {reason}");
            answer(StatusCode::SERVICE_UNAVAILABLE, message)
        }
    }
}

/// `/health` before the node is open.
pub(super) async fn starting() -> Response {
    let message = "starting: the data directory is being opened".to_owned();
    answer(StatusCode::SERVICE_UNAVAILABLE, message)
}

fn answer(status: StatusCode, message: String) -> Response {
    let health = Health {
        name: "oribi",
        message,
        status: if status.is_success() { "pass" } else { "fail" },
        checks: Vec::new(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut answer = (status, Json(health)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}
