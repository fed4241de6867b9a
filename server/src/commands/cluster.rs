//! `oribi cluster` and `oribi tablets`.

use super::{
    NodeUrl,
    client::{self, Client},
    sql::print,
    text_table,
};
use crate::length;
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use oribi_model::SystemClock;
use oribi_store::disk::RealDisk;
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

/// Flags of `oribi cluster`.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    node: NodeUrl,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show the nodes of the cluster as the node that is asked sees them.
    Nodes,
    /// Show the replicas that are on their way.
    Moves,
    /// Empty a node: what it leads and its replicas go to others, and it is given nothing.
    Drain {
        /// The node's id.
        id: u32,
        /// Move leaders only, as before a restart, which ends it; the replicas stay.
        #[arg(long)]
        leaders_only: bool,
        /// Wait until it leads nothing, and has nothing unless only leaders move.
        #[arg(long)]
        wait: bool,
    },
    /// Forget a node that is down or drained. It never comes back; what it had is made anew elsewhere.
    Remove {
        /// The node's id.
        id: u32,
    },
    /// Begin a cluster anew from the directory of one stopped node, where a majority is gone for good.
    Recover {
        /// The data directory of a node that does not run.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Rows that only the other nodes had are lost.
        #[arg(long, required = true)]
        accept_loss: bool,
    },
    /// Print a secret by which new nodes may join for a while: what --join-secret-file names on each of them.
    JoinSecret {
        /// How long it holds.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        expires: String,
    },
    /// Says how a node gets another key: nodes have keys, and no authority whose certificates would have to
    /// be made anew.
    #[command(hide = true)]
    RotateCa,
    /// Have a node take its share again.
    Resume {
        /// The node's id.
        id: u32,
    },
}

/// Flags of `oribi tablets`.
#[derive(Debug, Args)]
pub(crate) struct TabletsArgs {
    #[command(flatten)]
    node: NodeUrl,
    /// Only of this database.
    #[arg(long)]
    db: Option<String>,
    /// Only of this table.
    #[arg(long)]
    table: Option<String>,
    /// Only with a replica in this state: ok, lagging, down or damaged.
    #[arg(long)]
    state: Option<String>,
}

/// Does what is asked of the cluster.
///
/// # Errors
/// A node that cannot be reached or refuses.
pub(crate) fn run(args: &ClusterArgs) -> Result<ExitCode> {
    if let Action::Recover { dir, .. } = &args.action {
        recover(dir)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Action::RotateCa = &args.action {
        bail!(
            "nodes are known by their own keys and there is no authority to change; to give a node another \
             key, drain and remove it, and have it join anew with an empty directory"
        );
    }
    let client = Client::new(&args.node)?;
    match args.action {
        Action::RotateCa | Action::Recover { .. } => {}
        Action::Nodes => {
            let cluster = client::json(client::accepted(client.get("/api/v1/cluster", &[])?)?)?;
            print(nodes(&cluster).as_bytes())?;
        }
        Action::Moves => {
            let cluster = client::json(client::accepted(client.get("/api/v1/cluster", &[])?)?)?;
            print(moves(&cluster).as_bytes())?;
        }
        Action::Drain { id, wait, leaders_only: true } => drain_leaders(&client, id, wait)?,
        Action::Drain { id, wait, leaders_only: false } => drain(&client, id, wait)?,
        Action::Remove { id } => {
            client::accepted(client.delete(&format!("/api/v1/nodes/{id}"))?)?;
            print(format!("node {id} is forgotten\n").as_bytes())?;
        }
        Action::JoinSecret { ref expires } => {
            let body = json!({"expires": expires}).to_string();
            let answer = client.post("/api/v1/cluster/join-secret", &[], body.as_bytes())?;
            let made = client::json(client::accepted(answer)?)?;
            let Some(secret) = made["secret"].as_str() else {
                bail!("the answer holds no secret; is this an Oribi node?")
            };
            print(format!("{secret}\n").as_bytes())?;
        }
        Action::Resume { id } => {
            order(&client, id, "resume", b"")?;
            print(format!("node {id} takes its share again\n").as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Says what became of it, and what is to be done with the others.
fn recover(dir: &Path) -> Result<()> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock));
    let done = oribi_cluster::recover(dir, disk, clock)?;
    let mut text = format!(
        "{} is the only node of a new cluster now, {}, with {} tablets.\n\
         Never start the other nodes of the old one on their data again: empty their directories and\n\
         have them join this one.\n",
        dir.display(),
        done.cluster,
        done.tablets
    );
    if !done.knew_catalog {
        text.push_str(
            "LOST: all that was in the old one, of which nothing had come to this node\n",
        );
    }
    for tablet in done.lost {
        text.push_str(&format!("LOST: tablet {tablet} with all its rows\n"));
    }
    print(text.as_bytes())
}

/// Asks again until the node has nothing, where that is waited for.
fn drain(client: &Client, id: u32, wait: bool) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(500);
    loop {
        let answer = order(client, id, "drain", b"{}")?;
        let left = |name: &str| answer[name].as_u64().unwrap_or(0);
        if left("replicas") + left("leaders") == 0 || !wait {
            let (replicas, leaders) = (left("replicas"), left("leaders"));
            let said = format!("node {id} has {replicas} replicas and leads {leaders} groups\n");
            return print(said.as_bytes());
        }
        std::thread::sleep(PAUSE);
    }
}

/// Asks again until the node leads nothing, where that is waited for.
fn drain_leaders(client: &Client, id: u32, wait: bool) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(200);
    loop {
        let answer = order(client, id, "drain", br#"{"leaders_only":true}"#)?;
        let left = answer["leaders"].as_u64().unwrap_or(0);
        if left == 0 || !wait {
            return print(format!("node {id} leads {left} groups\n").as_bytes());
        }
        std::thread::sleep(PAUSE);
    }
}

fn order(client: &Client, id: u32, order: &str, body: &[u8]) -> Result<Value> {
    let path = format!("/api/v1/nodes/{id}/{order}");
    client::json(client::accepted(client.post_where_it_is(&path, body)?)?)
}

/// Shows tablets and their replicas.
///
/// # Errors
/// A node that cannot be reached or refuses.
pub(crate) fn tablets(args: &TabletsArgs) -> Result<ExitCode> {
    let client = Client::new(&args.node)?;
    let given = [("db", &args.db), ("table", &args.table), ("state", &args.state)];
    let pairs = given.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let pairs: Vec<(&str, &str)> = pairs.collect();
    let answer = client::json(client::accepted(client.get("/api/v1/tablets", &pairs)?)?)?;
    print(tablet_list(&answer).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The nodes, as `/api/v1/cluster` gives them.
pub(super) fn nodes(cluster: &Value) -> String {
    let columns =
        ["node", "state", "http", "mqtt", "nodes", "replicas", "leads", "free", "heard", "failure"];
    let leader = &cluster["catalog"]["leader"];
    let rows = list(cluster, "nodes").iter().map(|node| {
        let heard = match node["heard_ms"].as_u64() {
            Some(ms) => json!(format!("{ms} ms ago")),
            None if node["id"] == cluster["self"] => json!("asked"),
            None => json!("never"),
        };
        let state = node["state"].as_str().unwrap_or("?");
        let state = if node["id"] == *leader { format!("{state}, catalog") } else { state.into() };
        let member = |name: &str| node[name].clone();
        vec![
            member("id"),
            json!(state),
            member("http"),
            member("mqtt"),
            member("node"),
            member("replicas"),
            member("leaders"),
            json!(node["disk_free_bytes"].as_u64().map(length::bytes)),
            heard,
            member("failure"),
        ]
    });
    text_table::format(&columns.map(str::to_owned), &rows.collect::<Vec<_>>())
}

/// What is on its way, as `/api/v1/cluster` gives it.
fn moves(cluster: &Value) -> String {
    let columns = ["tablet", "from", "to", "phase", "bytes", "of"];
    let rows = list(cluster, "moves").iter().map(|one| {
        let bytes = |name: &str| json!(one[name].as_u64().map(length::bytes));
        let member = |name: &str| one[name].clone();
        let (from, to) = (member("from"), member("to"));
        vec![member("tablet"), from, to, member("phase"), bytes("bytes"), bytes("bytes_total")]
    });
    let rows: Vec<Vec<Value>> = rows.collect();
    match rows.is_empty() {
        true => "nothing moves\n".into(),
        false => text_table::format(&columns.map(str::to_owned), &rows),
    }
}

fn tablet_list(answer: &Value) -> String {
    let columns = ["tablet", "db", "table", "start", "end", "leader", "replicas", "rows", "bytes"];
    let rows = list(answer, "tablets").iter().map(|tablet| {
        let replicas = list(tablet, "replicas").iter().map(|replica| {
            let note = match (replica["role"].as_str(), replica["state"].as_str()) {
                (Some("voter"), Some("ok")) => String::new(),
                (Some("voter"), state) => format!(" {}{}", state.unwrap_or("?"), lag(replica)),
                (role, state) => format!(" {} {}", role.unwrap_or("?"), state.unwrap_or("?")),
            };
            format!("{}{note}", replica["node"])
        });
        let bytes = tablet["bytes"].as_u64().map(length::bytes);
        let member = |name: &str| tablet[name].clone();
        vec![
            member("id"),
            member("db"),
            member("table"),
            member("start"),
            member("end"),
            member("leader"),
            json!(replicas.collect::<Vec<_>>().join(", ")),
            member("rows"),
            json!(bytes),
        ]
    });
    let rows: Vec<Vec<Value>> = rows.collect();
    match rows.is_empty() {
        true => "no tablets\n".into(),
        false => text_table::format(&columns.map(str::to_owned), &rows),
    }
}

/// By how many entries a replica lags, where it does.
fn lag(replica: &Value) -> String {
    match (replica["state"].as_str(), replica["lag"].as_u64()) {
        (Some("lagging"), Some(lag)) => format!(" by {lag}"),
        _ => String::new(),
    }
}

fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member].as_array().map(Vec::as_slice).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_the_catalog_and_what_is_wrong_shows() {
        let node = |id: u32, state: &str, heard: Option<u64>| {
            json!({"id": id, "state": state, "http": "h", "mqtt": "m", "node": "n", "replicas": 4,
                "leaders": 2, "heard_ms": heard, "failure": null})
        };
        let nodes_of = json!([node(1, "up", None), node(2, "down", Some(900))]);
        let cluster = json!({"self": 1, "catalog": {"leader": 1}, "nodes": nodes_of});
        let text = nodes(&cluster);
        assert!(text.contains("up, catalog") && text.contains("asked"), "{text}");
        assert!(text.contains("down") && text.contains("900 ms ago"), "{text}");
        let replicas = json!([{"node": 1, "role": "voter", "state": "ok"},
            {"node": 2, "role": "learner", "state": "lagging"}]);
        let tablet = json!({"id": 7, "db": "default", "table": "m", "replicas": replicas});
        let text = tablet_list(&json!({"tablets": [tablet]}));
        assert!(text.contains("1, 2 learner lagging"), "{text}");
        assert_eq!(tablet_list(&json!({"tablets": []})), "no tablets\n");
        let one = json!({"tablet": 7, "from": null, "to": 4, "phase": "copying", "bytes": 1_048_576,
            "bytes_total": 4_194_304});
        let text = moves(&json!({"moves": [one]}));
        assert!(text.contains("copying") && text.contains("1.0 MiB"), "{text}");
        assert_eq!(moves(&json!({"moves": []})), "nothing moves\n");
    }
}
