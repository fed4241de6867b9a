//! `/health`, in the shape that InfluxDB's clients read.

use super::{Admin, cluster::counts};
use crate::{config::TokenMode, telemetry::Memory};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use oribi_cluster::{NodeState, Trouble};
use parking_lot::Mutex;
use serde::Serialize;
use std::{sync::Arc, time::Instant};
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
    /// What is not well although the node serves; empty where all is.
    checks: Vec<Check>,
    /// The version that runs.
    version: &'static str,
}

/// Something that is not well.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Check {
    /// What is concerned, such as `disk` or `tablet 17`.
    name: String,
    /// What was found, and what it means.
    message: String,
    /// Always `fail`.
    status: &'static str,
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
    if let Some(awaited) = admin.peers.awaited() {
        let waited = admin.started.elapsed();
        let message = format!("starting: waiting for {awaited}, for {} s so far", waited.as_secs());
        return answer(StatusCode::SERVICE_UNAVAILABLE, message, Vec::new());
    }
    let mut troubles = admin.node.troubles();
    if admin.keyring.mode() == TokenMode::On {
        // Anybody may ask, and files of the machine are nobody's affair.
        troubles.iter_mut().for_each(|trouble| trouble.message = without_paths(&trouble.message));
    }
    let refused = troubles.iter().find(|trouble| trouble.name == "disk").cloned();
    troubles.extend(of_memory(&admin));
    troubles.extend(of_cluster(&admin));
    match (admin.node.failure(), refused) {
        (Some(reason), _) => {
            let reason = match admin.keyring.mode() {
                TokenMode::On => without_paths(&reason),
                TokenMode::Off => reason,
            };
            let message = format!("a disk failure stopped the writes: {reason}");
            answer(StatusCode::SERVICE_UNAVAILABLE, message, troubles)
        }
        (None, Some(trouble)) => {
            let message = format!("ready for queries; {}", trouble.message);
            answer(StatusCode::OK, message, troubles)
        }
        (None, None) if !troubles.is_empty() => {
            let message = "ready for queries and writes, but for what the checks name";
            answer(StatusCode::OK, message.into(), troubles)
        }
        (None, None) => answer(StatusCode::OK, "ready for queries and writes".into(), troubles),
    }
}

/// That questions, or writes too, give way until there is more memory.
fn of_memory(admin: &Admin) -> Option<Trouble> {
    let Memory { bytes_max, pressure, .. } = &admin.memory;
    let message = match (pressure.is_full(), pressure.is_high()) {
        (true, _) => format!("memory_bytes_max = {bytes_max} is reached: writes wait"),
        (false, true) => format!(
            "writes wait for room, or memory_bytes_max = {bytes_max} is nearly reached: few \
             questions are taken"
        ),
        (false, false) => return None,
    };
    Some(Trouble { name: "memory".into(), message })
}

/// A text with no word that is a path of a file.
fn without_paths(text: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_start_matches(['"', '(', '\'']);
        if bare.starts_with('/') && bare.len() > 1 { "a file".to_owned() } else { word.to_owned() }
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// What this node knows of others that is not well: its own state does not change by it.
fn of_cluster(admin: &Admin) -> Vec<Trouble> {
    let nodes = admin.peers.nodes();
    if nodes.len() < 2 {
        return Vec::new();
    }
    let trouble = |name: &str, message: String| Trouble { name: name.to_owned(), message };
    let unheard = nodes.iter().filter(|node| !node.is_trusted && node.state != NodeState::Removed);
    let mut troubles: Vec<_> = unheard
        .map(|node| {
            let doubt = node.doubt.as_deref().unwrap_or("it is not trusted");
            trouble(&format!("node {}", node.id.0), doubt.to_owned())
        })
        .collect();
    if admin.peers.catalog_leader().is_none() {
        troubles
            .push(trouble("catalog", "it has no leader: nothing can be created or dropped".into()));
    }
    let tablets = counts(&admin.peers.tablets());
    let of = |count: usize| format!("{count} of {}", tablets.total);
    if tablets.leaderless > 0 {
        let message = format!("{} have no leader: they take no writes", of(tablets.leaderless));
        troubles.push(trouble("tablets, leaders", message));
    }
    if tablets.under_replicated > 0 {
        let count = of(tablets.under_replicated);
        let message = format!("{count} have fewer replicas that live than they should");
        troubles.push(trouble("tablets, replicas", message));
    }
    troubles
}

/// What a node that is not open yet waits for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting(Arc<Mutex<Option<Told>>>);

#[derive(Debug)]
struct Told {
    reason: String,
    since: Instant,
}

impl Waiting {
    /// It waits for a cluster, and this is what came of asking.
    pub(crate) fn tell(&self, reason: String) {
        let mut told = self.0.lock();
        let since = told.as_ref().map_or_else(Instant::now, |told| told.since);
        if told.as_ref().is_none_or(|told| told.reason != reason) {
            let waited_s = since.elapsed().as_secs();
            tracing::info!(waited_s, %reason, "waiting for a cluster to join");
            *told = Some(Told { reason, since });
        }
    }

    /// It waits for its own disk.
    pub(crate) fn open(&self) {
        *self.0.lock() = None;
    }
}

/// `/health` before the node is open.
pub(super) async fn starting(State(waiting): State<Waiting>) -> Response {
    let message = match &*waiting.0.lock() {
        Some(Told { reason, since }) => {
            let waited_s = since.elapsed().as_secs();
            format!("starting: waiting for a cluster to join, for {waited_s} s so far ({reason})")
        }
        None => "starting: the data directory is being opened".to_owned(),
    };
    answer(StatusCode::SERVICE_UNAVAILABLE, message, Vec::new())
}

fn answer(status: StatusCode, message: String, troubles: Vec<Trouble>) -> Response {
    let check = |Trouble { name, message }| Check { name, message, status: "fail" };
    let health = Health {
        name: "oribi",
        message,
        status: if status.is_success() { "pass" } else { "fail" },
        checks: troubles.into_iter().map(check).collect(),
        version: env!("CARGO_PKG_VERSION"),
    };
    let mut answer = (status, Json(health)).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::without_paths;

    #[test]
    fn paths_are_not_told() {
        let text = "cannot write /var/lib/oribi/log/3: no space (\"/x/y\") and/or 3/4 of it";
        let told = "cannot write a file no space a file and/or 3/4 of it";
        assert_eq!(without_paths(text), told);
    }
}
