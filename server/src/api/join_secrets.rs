//! `/api/v1/cluster/join-secret`: a secret by which new nodes may join for a while.

use super::{
    Admin,
    problem::{ApiError, Result},
};
use crate::length;
use axum::{
    Extension, Json,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use oribi_access::Deed;
use oribi_model::time::{NS_PER_DAY, NS_PER_SECOND};
use oribi_query::http::Problem;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How long one holds unless told otherwise, ns.
const EXPIRES_NS: i64 = NS_PER_DAY;
/// One that is to hold for ever is a secret that all nodes are started with.
const EXPIRES_NS_MAX: i64 = 366 * NS_PER_DAY;

/// What kind of secret is wanted.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JoinSecretWanted {
    /// How long it is to hold, such as 1h; 24h where it is not said.
    #[serde(default)]
    expires: Option<String>,
}

/// A secret to join.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct JoinSecretMade {
    /// What a new node is started with, in the file of `--join-secret-file`. It is kept nowhere.
    secret: String,
    /// Until when nodes may join by it.
    expires: String,
}

/// Makes a secret by which new nodes may join until it ends. Nothing of it is kept, and each node of the
/// cluster will know it.
#[utoipa::path(
    post,
    path = "/api/v1/cluster/join-secret",
    tag = "admin",
    request_body = JoinSecretWanted,
    responses(
        (status = 201, description = "the secret", body = JoinSecretMade),
        (status = 400, description = "a member is wrong", body = Problem),
        (status = 503, description = "the key of the cluster is not here yet", body = Problem),
    )
)]
pub(super) async fn create(State(admin): State<Arc<Admin>>, body: Bytes) -> Result<Response> {
    let wanted: JoinSecretWanted = match body.trim_ascii() {
        [] => JoinSecretWanted::default(),
        body => serde_json::from_slice(body)
            .map_err(|wrong| ApiError::parameter("body", wrong.to_string()))?,
    };
    let length_ns = wanted.expires.as_deref().map_or(Ok(EXPIRES_NS), length::parse);
    let length_ns = length_ns.map_err(|wrong| ApiError::parameter("expires", wrong))?;
    if !(NS_PER_SECOND..=EXPIRES_NS_MAX).contains(&length_ns) {
        let longest = length::format(EXPIRES_NS_MAX);
        let detail = format!("expected 1s to {longest}, found {}", length::format(length_ns));
        return Err(ApiError::parameter("expires", detail));
    }
    let until_s = admin.clock.now_ns().saturating_add(length_ns).max(0) / NS_PER_SECOND;
    let pass = admin.vault.join_pass(until_s.unsigned_abs()).await.map_err(|wrong| {
        let detail = format!("cannot make a secret to join: {wrong:#}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    })?;
    let expires = Timestamp::from_second(until_s).unwrap_or(Timestamp::MAX).to_string();
    let deed = Deed { event: None, object: format!("until {expires}") };
    let made = JoinSecretMade { secret: pass.to_text(), expires };
    Ok((StatusCode::CREATED, Extension(deed), Json(made)).into_response())
}
