//! `/api/v1/nodes/…`: a node is emptied or gives away what it leads, takes its share again, or is
//! forgotten.

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
use oribi_cluster::{NodeRecord, NodeState};
use oribi_model::NodeId;
use oribi_query::http::Problem;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How a node is to be drained.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Draining {
    /// Whether only what the node leads goes elsewhere, as before a restart; its replicas go too
    /// otherwise.
    #[serde(default)]
    leaders_only: bool,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Drained {
    /// The node.
    id: u32,
    /// `draining`, `drained` or `up`.
    state: &'static str,
    /// Groups that it still leads: the catalog's and those of tablets. Of another node than the one
    /// that is asked only tablets are known.
    leaders: usize,
    /// Replicas of tablets that it still has.
    replicas: usize,
}

/// What is asked of a node.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Order {
    /// Give away what it leads or all that it has, and take nothing more.
    Drain,
    /// Take its share again.
    Resume,
}

/// Has a node emptied until it is resumed, or has it give away only what it leads until it is resumed
/// or restarted; or resumes it. What a node leads is its own affair: another one than the one that is
/// asked is pointed to.
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
        (status = 200, description = "what it still leads and has", body = Drained),
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
    let id_of = NodeId(id);
    match order {
        Order::Drain if !read(&body)?.leaders_only => {
            known(&admin, id_of)?;
            admin.peers.drain(id_of).await?;
            return Ok(drained(&admin, id_of).into_response());
        }
        Order::Resume if known(&admin, id_of).is_ok() && admin.peers.undrain(id_of).await? => {
            if admin.node.identity().node == id_of {
                admin.peers.resume_lead();
            }
            return Ok(drained(&admin, id_of).into_response());
        }
        Order::Drain | Order::Resume => {}
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
    let replicas = admin.peers.replicas_on(id_of);
    Ok(Json(Drained { id, state, leaders, replicas }).into_response())
}

/// Forgets a node that is down, or drained: it never comes back, and what it had is made anew on
/// others at once.
#[utoipa::path(
    delete,
    path = "/api/v1/nodes/{id}",
    tag = "admin",
    params(("id" = u32, Path, description = "the node")),
    responses(
        (status = 204, description = "it is forgotten"),
        (status = 400, description = "that is no number", body = Problem),
        (status = 404, description = "there is no such node", body = Problem),
        (status = 409, description = "it is alive, or what it has could not be kept; says why", body = Problem),
        (status = 503, description = "the cluster cannot decide at present", body = Problem),
    )
)]
pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    path: std::result::Result<Path<u32>, PathRejection>,
) -> Result<StatusCode> {
    let Path(id) =
        path.map_err(|_| ApiError::parameter("path", "expected the number of a node"))?;
    known(&admin, NodeId(id))?;
    admin.peers.remove(NodeId(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn read(body: &str) -> Result<Draining> {
    match body.trim() {
        "" => Ok(Draining::default()),
        text => serde_json::from_str(text)
            .map_err(|wrong| ApiError::parameter("body", wrong.to_string())),
    }
}

/// The node as the catalog knows it.
fn known(admin: &Admin, id: NodeId) -> Result<Arc<NodeRecord>> {
    let known = admin.node.catalog().node(id).cloned();
    known.ok_or_else(|| {
        let detail = format!("there is no node {id} in this cluster");
        ApiError::new(StatusCode::NOT_FOUND, "unknown-node", detail)
    })
}

/// What a node has that is, or was, to be emptied.
fn drained(admin: &Admin, id: NodeId) -> Json<Drained> {
    let replicas = admin.peers.replicas_on(id);
    let known = admin.peers.nodes().into_iter().find(|node| node.id == id);
    let leaders = match admin.node.identity().node == id {
        true => admin.peers.led(),
        false => known.as_ref().map_or(0, |node| node.leaders),
    };
    let state = match known.map(|node| node.state) {
        Some(NodeState::Draining) if replicas == 0 => "drained",
        Some(NodeState::Draining) => "draining",
        _ => "up",
    };
    Json(Drained { id: id.0, state, leaders, replicas })
}

/// Points to the node that is meant: what it leads is its own affair.
fn elsewhere(admin: &Admin, id: u32, order: Order) -> Result<Response> {
    let known = known(admin, NodeId(id))?;
    let order = match order {
        Order::Drain => "drain",
        Order::Resume => "resume",
    };
    let at = admin.at(&known, &format!("/api/v1/nodes/{id}/{order}"));
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, at)]).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_moved_away_unless_only_leaders_are_named() {
        assert!(read(r#"{"leaders_only": true}"#).unwrap().leaders_only);
        for all in ["", "{}", r#"{"leaders_only": false}"#] {
            assert!(!read(all).unwrap().leaders_only, "{all}");
        }
        for wrong in [r#"{"leader": true}"#, "[", "3"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
