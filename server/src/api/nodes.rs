//! `/api/v1/nodes/…`: a node gives away what it leads before it is restarted, and takes it again.

use super::{
    Admin,
    problem::{ApiError, Result},
};
use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use oribi_query::http::Problem;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How a node is to be drained.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Draining {
    /// Whether only what the node leads goes elsewhere, as before a restart. Anything else is not
    /// done yet.
    #[serde(default)]
    leaders_only: bool,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drained {
    /// The node.
    id: u32,
    /// `draining`, or `up`.
    state: &'static str,
    /// Groups that it still leads: the catalog's and those of tablets.
    leaders: usize,
}

/// What is asked of a node.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// Give away what it leads, and take nothing to lead.
    Drain,
    /// Lead its share again.
    Resume,
}

/// Has a node give away what it leads, until it is resumed or restarted; or resumes it. Another node
/// than the one that is asked is pointed to.
#[utoipa::path(
    post,
    path = "/api/v1/nodes/{id}/{order}",
    tag = "admin",
    params(
        ("id" = u32, Path, description = "the node"),
        ("order" = Order, Path, description = "drain or resume"),
    ),
    request_body = Draining,
    responses(
        (status = 200, description = "what it still leads", body = Drained),
        (status = 307, description = "the same path at the node itself"),
        (status = 400, description = "a member is wrong", body = Problem),
        (status = 404, description = "there is no such node", body = Problem),
    )
)]
pub(super) async fn order(
    State(admin): State<Arc<Admin>>,
    path: std::result::Result<Path<(u32, Order)>, PathRejection>,
    body: String,
) -> Result<Response> {
    let Path((id, order)) = path.map_err(|_| {
        ApiError::parameter("path", "expected the number of a node, and drain or resume")
    })?;
    if let Order::Drain = order {
        check(&body)?;
    }
    if admin.node.identity().node.0 != id {
        return elsewhere(&admin, id, order);
    }
    let (state, leaders) = match order {
        Order::Drain => ("draining", admin.peers.leave_lead().await),
        Order::Resume => {
            admin.peers.resume_lead();
            ("up", admin.peers.led())
        }
    };
    Ok(Json(Drained { id, state, leaders }).into_response())
}

fn check(body: &str) -> Result<()> {
    let draining = match body.trim() {
        "" => Draining::default(),
        text => serde_json::from_str(text)
            .map_err(|wrong| ApiError::parameter("body", wrong.to_string()))?,
    };
    if draining.leaders_only {
        return Ok(());
    }
    let detail = "only leaders can be moved away so far; expected {\"leaders_only\": true}";
    Err(ApiError::parameter("leaders_only", detail))
}

/// Points to the node that is meant: what it leads is its own affair.
fn elsewhere(admin: &Admin, id: u32, order: Order) -> Result<Response> {
    let catalog = admin.node.catalog();
    let known = catalog.node(oribi_model::NodeId(id));
    let Some(known) = known else {
        let detail = format!("there is no node {id} in this cluster");
        return Err(ApiError::new(StatusCode::NOT_FOUND, "unknown-node", detail));
    };
    let order = match order {
        Order::Drain => "drain",
        Order::Resume => "resume",
    };
    let at = format!("http://{}/api/v1/nodes/{id}/{order}", known.presence.addresses.http);
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, at)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leaders_are_moved_away() {
        assert!(check(r#"{"leaders_only": true}"#).is_ok());
        for wrong in ["", "{}", r#"{"leaders_only": false}"#, r#"{"leader": true}"#, "[", "3"] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
