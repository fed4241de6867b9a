//! `/api/v1/cluster` and `/api/v1/tablets`: the cluster as this node sees it.

use super::{
    Admin,
    params::Given,
    problem::{ApiError, Result},
};
use axum::{Json, extract::State};
use jiff::Timestamp;
use oribi_cluster::{Election, MovePhase, MoveView, NodeState, NodeView, ReplicaState, TabletView};
use oribi_query::http::Problem;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The cluster.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ClusterAnswer {
    /// 32 hexadecimal digits.
    cluster_id: String,
    /// Grows with each election of the catalog's leader.
    epoch: u64,
    /// The node that was asked.
    #[serde(rename = "self")]
    own: u32,
    /// By id.
    nodes: Vec<NodeAnswer>,
    catalog: CatalogAnswer,
    tablets: TabletCounts,
    /// The last changes of who leads tablets, the newest last.
    elections: Vec<ElectionAnswer>,
    /// Replicas that are on their way.
    moves: Vec<MoveAnswer>,
}

/// A replica on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct MoveAnswer {
    tablet: u64,
    /// The node that it leaves; null for one more.
    from: Option<u32>,
    /// The node that it goes to; null for one less.
    to: Option<u32>,
    /// `copying`, `promoting` or `removing`.
    phase: &'static str,
    /// Of segments that are there.
    bytes: u64,
    /// Of segments in all.
    bytes_total: u64,
}

/// Tablets that one node has come to lead at about the same time.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ElectionAnswer {
    /// About when.
    at: Option<String>,
    /// Who leads them.
    leader: u32,
    /// How many, of those that have a replica on the node that was asked.
    tablets: usize,
}

/// A node as the one that was asked sees it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NodeAnswer {
    id: u32,
    /// `joining`, `up`, `down`, `draining` or `drained`.
    state: &'static str,
    http: String,
    mqtt: String,
    node: String,
    version: String,
    /// Replicas of tablets that it is to have.
    replicas: usize,
    /// Tablets that it leads, as far as is known.
    leaders: usize,
    /// As it said about a second ago; null where it was not heard of.
    disk_free_bytes: Option<u64>,
    /// Since its last sign of life; null for the node that was asked.
    heard_ms: Option<u64>,
    /// Why it is not trusted, or takes no writes.
    failure: Option<String>,
}

/// The catalog's group.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CatalogAnswer {
    /// Null where none is known.
    leader: Option<u32>,
    voters: Vec<u32>,
    /// The newest change that the node that was asked knows.
    applied: u64,
}

/// Tablets by how they are; one that is not healthy may count several times.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TabletCounts {
    pub(super) total: usize,
    healthy: usize,
    pub(super) under_replicated: usize,
    pub(super) leaderless: usize,
    damaged: usize,
}

/// All tablets asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TabletList {
    /// By id.
    tablets: Vec<TabletAnswer>,
}

/// A tablet.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TabletAnswer {
    id: u64,
    db: String,
    table: String,
    /// Of its time range.
    start: Option<String>,
    /// The first time after its range.
    end: Option<String>,
    bucket: u32,
    /// Null where none is known.
    leader: Option<u32>,
    replicas: Vec<ReplicaAnswer>,
    /// Null where no replica was heard of.
    rows: Option<u64>,
    /// Of the segments of one replica; null where none was heard of.
    bytes: Option<u64>,
}

/// A replica.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplicaAnswer {
    node: u32,
    /// `voter` or `learner`.
    role: &'static str,
    /// `ok`, `lagging`, `down` or `damaged`.
    state: &'static str,
    /// The newest entry applied, as its node said about a second ago; null where it was not heard of.
    applied: Option<u64>,
    /// The newest entry flushed, likewise.
    flushed: Option<u64>,
    /// Entries of the leader that it has not applied; null where that is not known.
    lag: Option<u64>,
}

/// The cluster as this node sees it.
#[utoipa::path(
    get,
    path = "/api/v1/cluster",
    tag = "admin",
    responses(
        (status = 200, description = "nodes, who agrees on the catalog, tablets by how they are", body = ClusterAnswer),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
pub(super) async fn cluster(
    State(admin): State<Arc<Admin>>,
    given: Given,
) -> Result<Json<ClusterAnswer>> {
    given.params(&[])?;
    let (identity, peers) = (admin.node.identity(), &admin.peers);
    let nodes = peers.nodes().into_iter().map(|node| node_answer(&admin, node)).collect();
    let catalog = CatalogAnswer {
        leader: peers.catalog_leader().map(|node| node.0),
        voters: peers.catalog_voters().into_iter().map(|node| node.0).collect(),
        applied: peers.catalog_applied(),
    };
    Ok(Json(ClusterAnswer {
        cluster_id: identity.cluster.to_string(),
        epoch: peers.epoch(),
        own: identity.node.0,
        nodes,
        catalog,
        tablets: counts(&peers.tablets()),
        elections: peers.elections().into_iter().map(election).collect(),
        moves: peers.moves().into_iter().map(move_answer).collect(),
    }))
}

fn election(seen: Election) -> ElectionAnswer {
    let Election { at_ns, leader, tablets } = seen;
    ElectionAnswer { at: moment(at_ns), leader: leader.0, tablets }
}

fn move_answer(seen: MoveView) -> MoveAnswer {
    MoveAnswer {
        tablet: seen.tablet.0,
        from: seen.from.map(|node| node.0),
        to: seen.to.map(|node| node.0),
        phase: match seen.phase {
            MovePhase::Copying => "copying",
            MovePhase::Promoting => "promoting",
            MovePhase::Removing => "removing",
        },
        bytes: seen.bytes,
        bytes_total: seen.bytes_total,
    }
}

fn moment(ns: i64) -> Option<String> {
    Timestamp::from_nanosecond(i128::from(ns)).ok().map(|at| at.to_string())
}

fn node_answer(admin: &Admin, node: NodeView) -> NodeAnswer {
    let is_own = node.id == admin.node.identity().node;
    let state = match node.state {
        NodeState::Joining => "joining",
        NodeState::Removed => "removed",
        NodeState::Up | NodeState::Draining if !node.is_trusted => "down",
        NodeState::Draining if node.replicas == 0 => "drained",
        NodeState::Up if node.leaves_lead => "draining",
        NodeState::Up => "up",
        NodeState::Draining => "draining",
    };
    let addresses = node.presence.addresses;
    NodeAnswer {
        id: node.id.0,
        state,
        http: addresses.http,
        mqtt: addresses.mqtt,
        node: addresses.node,
        version: node.presence.version,
        replicas: node.replicas,
        leaders: node.leaders,
        disk_free_bytes: node.disk_free_bytes,
        heard_ms: node.heard_ms,
        failure: if is_own { admin.node.failure() } else { node.doubt },
    }
}

pub(super) fn counts(tablets: &[TabletView]) -> TabletCounts {
    let count =
        |is_so: &dyn Fn(&TabletView) -> bool| tablets.iter().filter(|tablet| is_so(tablet)).count();
    let is_leaderless = |tablet: &TabletView| tablet.leader.is_none();
    TabletCounts {
        total: tablets.len(),
        healthy: count(&|tablet| {
            !is_leaderless(tablet) && !tablet.is_under_replicated && !is_damaged(tablet)
        }),
        under_replicated: count(&|tablet| tablet.is_under_replicated),
        leaderless: count(&is_leaderless),
        damaged: count(&is_damaged),
    }
}

fn is_damaged(tablet: &TabletView) -> bool {
    tablet.replicas.iter().any(|replica| replica.state == ReplicaState::Damaged)
}

/// Tablets and their replicas as this node sees them.
#[utoipa::path(
    get,
    path = "/api/v1/tablets",
    tag = "admin",
    params(
        ("db" = Option<String>, Query, description = "only of this database"),
        ("table" = Option<String>, Query, description = "only of this table"),
        ("node" = Option<u32>, Query, description = "only with a replica on this node"),
        ("state" = Option<String>, Query, description = "only with such a replica: ok, lagging, down or damaged"),
    ),
    responses(
        (status = 200, description = "the tablets", body = TabletList),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
pub(super) async fn tablets(
    State(admin): State<Arc<Admin>>,
    given: Given,
) -> Result<Json<TabletList>> {
    const STATES: [&str; 5] = ["ok", "lagging", "copying", "down", "damaged"];
    let params = given.params(&["db", "table", "node", "state"])?;
    let (db, table) = (params.text("db")?, params.text("table")?);
    let node = params.number("node")?.flatten();
    let state = params.text("state")?;
    if let Some(wrong) = state.filter(|state| !STATES.contains(state)) {
        let detail = format!("{wrong:?} is no state; expected one of {}", STATES.join(", "));
        return Err(ApiError::parameter("state", detail));
    }
    let all = admin.peers.tablets().into_iter().filter_map(|view| answer(&admin, &view));
    let is_wanted = |tablet: &TabletAnswer| {
        let has = |is_so: &dyn Fn(&ReplicaAnswer) -> bool| tablet.replicas.iter().any(is_so);
        db.is_none_or(|db| db == tablet.db)
            && table.is_none_or(|table| table == tablet.table)
            && node.is_none_or(|node| has(&|replica| u64::from(replica.node) == node))
            && state.is_none_or(|state| has(&|replica| replica.state == state))
    };
    Ok(Json(TabletList { tablets: all.filter(is_wanted).collect() }))
}

/// `None` for one whose table was dropped meanwhile.
fn answer(admin: &Admin, view: &TabletView) -> Option<TabletAnswer> {
    let catalog = admin.node.catalog();
    let table = catalog.table_by_id(view.spec.table)?;
    let replicas = view.replicas.iter().map(|replica| ReplicaAnswer {
        node: replica.node.0,
        role: if replica.is_voter { "voter" } else { "learner" },
        state: match replica.state {
            ReplicaState::Ok => "ok",
            ReplicaState::Lagging => "lagging",
            ReplicaState::Down => "down",
            ReplicaState::Damaged => "damaged",
        },
        applied: replica.applied,
        flushed: replica.flushed,
        lag: replica.lag,
    });
    Some(TabletAnswer {
        id: view.spec.id.0,
        db: table.db.to_string(),
        table: table.name.to_string(),
        start: moment(view.spec.range.start),
        end: moment(view.spec.range.end),
        bucket: view.spec.bucket.index,
        leader: view.leader.map(|node| node.0),
        replicas: replicas.collect(),
        rows: view.rows,
        bytes: view.bytes,
    })
}
