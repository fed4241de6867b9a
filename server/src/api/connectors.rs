//! `/api/v1/connectors`: what there is and how it is doing, making, pausing and dropping connectors.

use super::{
    Admin,
    problem::{ApiError, Result},
};
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use oribi_access::{Access, Deed};
use oribi_connectors::{ConnectorSpec, Described, Error, Explained, Message, explain};
use oribi_query::http::Problem;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// All connectors.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectorList {
    /// By name: as configured, without secrets, with state and figures.
    #[schema(value_type = Vec<Object>)]
    connectors: Vec<Described>,
}

/// A message to try.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Trial {
    /// A connector that exists.
    #[serde(default)]
    name: Option<String>,
    /// A connector as it would be made.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    connector: Option<ConnectorSpec>,
    /// The topic.
    topic: String,
    /// The payload, as text.
    payload: String,
    /// The key of a Kafka record.
    #[serde(default)]
    key: Option<String>,
}

fn refuse(error: Error) -> ApiError {
    match error {
        Error::Config { key, reason } => {
            let member = key.split_once('.').map_or(key.as_str(), |(_, member)| member);
            ApiError::parameter(member, reason)
        }
        other => ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", other.to_string()),
    }
}

fn unknown(name: &str) -> ApiError {
    let detail = format!("there is no connector {name:?}");
    ApiError::new(StatusCode::NOT_FOUND, "unknown-connector", detail)
}

/// All connectors and how they are doing.
#[utoipa::path(
    get,
    path = "/api/v1/connectors",
    tag = "connectors",
    responses((status = 200, description = "all connectors", body = ConnectorList))
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<ConnectorList> {
    Json(ConnectorList { connectors: admin.connectors.list() })
}

/// Makes a connector, or replaces one that was made so. The members are those of `[[connectors]]`
/// in the configuration file.
#[utoipa::path(
    post,
    path = "/api/v1/connectors",
    tag = "connectors",
    request_body = serde_json::Value,
    responses(
        (status = 201, description = "the connector, started", body = serde_json::Value),
        (status = 400, description = "a member is wrong", body = Problem),
    )
)]
pub(super) async fn put(
    State(admin): State<Arc<Admin>>,
    body: String,
) -> Result<(StatusCode, Extension<Deed>, Json<Described>)> {
    let made = admin.connectors.put(&body).await.map_err(refuse)?;
    let object = made.spec().map(|spec| spec.name().to_string()).unwrap_or_default();
    let deed = Deed { event: None, object };
    Ok((StatusCode::CREATED, Extension(deed), Json(made)))
}

/// One connector and how it is doing.
#[utoipa::path(
    get,
    path = "/api/v1/connectors/{name}",
    tag = "connectors",
    params(("name" = String, Path, description = "its name")),
    responses(
        (status = 200, description = "the connector", body = serde_json::Value),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn get(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Described>> {
    admin.connectors.get(&name).map(Json).ok_or_else(|| unknown(&name))
}

/// Stops a connector that was made over HTTP, and forgets it and how far it has got.
#[utoipa::path(
    delete,
    path = "/api/v1/connectors/{name}",
    tag = "connectors",
    params(("name" = String, Path, description = "its name")),
    responses(
        (status = 204, description = "it is gone"),
        (status = 400, description = "it stands in the configuration file", body = Problem),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn drop(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<StatusCode> {
    match admin.connectors.delete(&name).await.map_err(refuse)? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(unknown(&name)),
    }
}

/// What to do with a connector that runs or is paused.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Steering {
    /// Stop it until it is resumed, even if the node starts anew. What it holds is stored first.
    Pause,
    /// Start it where it was paused.
    Resume,
}

/// Pauses or resumes a connector.
#[utoipa::path(
    post,
    path = "/api/v1/connectors/{name}/{steering}",
    tag = "connectors",
    params(
        ("name" = String, Path, description = "its name"),
        ("steering" = Steering, Path, description = "pause or resume"),
    ),
    responses(
        (status = 200, description = "the connector", body = serde_json::Value),
        (status = 404, description = "there is none", body = Problem),
    )
)]
pub(super) async fn steer(
    State(admin): State<Arc<Admin>>,
    path: std::result::Result<Path<(String, Steering)>, PathRejection>,
) -> Result<Json<Described>> {
    let Path((name, steering)) =
        path.map_err(|_| ApiError::parameter("steering", "expected pause or resume"))?;
    let described = match steering {
        Steering::Pause => admin.connectors.pause(&name).await,
        Steering::Resume => admin.connectors.resume(&name).await,
    };
    described.map_err(refuse)?.map(Json).ok_or_else(|| unknown(&name))
}

/// What a connector would make of a message. Nothing is stored.
#[utoipa::path(
    post,
    path = "/api/v1/connectors/test",
    tag = "connectors",
    request_body = Trial,
    responses(
        (status = 200, description = "the rows, or the reason why there are none", body = serde_json::Value),
        (status = 400, description = "a member is wrong", body = Problem),
        (status = 404, description = "there is no such connector", body = Problem),
    )
)]
pub(super) async fn test(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    body: String,
) -> Result<Json<Explained>> {
    let trial: Trial = serde_json::from_str(&body)
        .map_err(|wrong| ApiError::parameter("body", wrong.to_string()))?;
    let spec = match (trial.connector, &trial.name) {
        (Some(spec), None) => {
            access.check_all()?;
            let spec = admin.connectors.placed(spec).map_err(refuse)?;
            spec.validate("connector").map_err(refuse)?;
            Arc::new(spec)
        }
        (None, Some(name)) => admin.connectors.spec(name).ok_or_else(|| unknown(name))?,
        _ => {
            let detail = "expected either name or connector";
            return Err(ApiError::parameter("connector", detail));
        }
    };
    let mut message = Message::new(&trial.topic, trial.payload.as_bytes());
    message.key = trial.key.as_deref().map(str::as_bytes);
    let explained = explain(&spec, &message, &admin.arrival, admin.ahead_ns_max).await;
    explained.map(Json).map_err(refuse)
}
