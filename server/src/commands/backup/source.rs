//! The cluster that a backup is made of, over HTTP.

use super::{
    super::client::{self, Client},
    record::Sum,
};
use anyhow::{Context, Result, anyhow, bail};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::Read,
    process,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use ureq::http::StatusCode;

/// How often a tablet is asked for that no node can hold now, and the pause before each.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);
/// The first of the files of a tablet, and the smallest.
const MANIFEST: usize = 0;

/// A cluster.
pub(super) struct Source {
    /// What the nodes call the backup while it is made.
    name: String,
    cluster: String,
    asked: u32,
    nodes: BTreeMap<u32, Client>,
    /// Of each node that holds files, a tablet of which it does.
    holding: Mutex<BTreeMap<u32, u64>>,
}

/// A tablet as the cluster lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Tablet {
    pub(super) id: u64,
    pub(super) db: String,
    pub(super) table: String,
    leader: Option<u32>,
    replicas: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
struct Replica {
    node: u32,
    state: String,
}

/// The files of a tablet as a node holds them.
#[derive(Debug, Deserialize)]
pub(super) struct Held {
    pub(super) node: u32,
    #[serde(default, deserialize_with = "or_zero")]
    pub(super) index: u64,
    pub(super) files: Vec<Sum>,
}

fn or_zero<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Source {
    /// The cluster of the node that is asked.
    ///
    /// # Errors
    /// It cannot be reached.
    pub(super) fn new(client: Client) -> Result<Source> {
        let answer = client::json(client::accepted(client.get("/api/v1/cluster", &[])?)?)?;
        let cluster = answer["cluster_id"].as_str().unwrap_or_default().to_owned();
        let asked = answer["self"].as_u64().and_then(|id| u32::try_from(id).ok());
        let asked = asked.context("the node does not say who it is")?;
        let mut nodes = BTreeMap::new();
        for node in answer["nodes"].as_array().into_iter().flatten() {
            let id = node["id"].as_u64().and_then(|id| u32::try_from(id).ok());
            if let (Some(id), Some(http)) = (id, node["http"].as_str())
                && id != asked
            {
                nodes.insert(id, client.of(http));
            }
        }
        nodes.insert(asked, client);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("{}-{}", now.as_micros(), process::id());
        Ok(Source { name, cluster, asked, nodes, holding: Mutex::default() })
    }

    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    /// The tablets, those of one table together.
    pub(super) fn tables(&self) -> Result<Vec<Vec<Tablet>>> {
        // The node that is asked waits for the newest catalog before it gives it, and lists what that has.
        self.catalog()?;
        let answer = self.client(self.asked)?.get("/api/v1/tablets", &[])?;
        let mut answer = client::json(client::accepted(answer)?)?;
        let tablets: Vec<Tablet> = serde_json::from_value(answer["tablets"].take())
            .context("the list of tablets cannot be read")?;
        let mut tables = BTreeMap::<(String, String), Vec<Tablet>>::new();
        for tablet in tablets {
            let table = (tablet.db.clone(), tablet.table.clone());
            tables.entry(table).or_default().push(tablet);
        }
        Ok(tables.into_values().collect())
    }

    /// Has a node hold a tablet's files, `before` if it can; `None` where it was dropped or has never had
    /// a row.
    pub(super) fn hold(&self, tablet: &Tablet, before: Option<u32>) -> Result<Option<Held>> {
        let path = format!("/api/v1/backups/{}/tablets/{}", self.name, tablet.id);
        let mut wrong = anyhow!("it has no replica that is well");
        for round in 0..TRIES {
            if round > 0 {
                std::thread::sleep(PAUSE);
            }
            for node in tablet.nodes(before) {
                let asked = self.client(node).and_then(|node| node.post_where_it_is(&path, b""));
                let answer = match asked {
                    Ok(answer) if answer.status() == StatusCode::NOT_FOUND => return Ok(None),
                    Ok(answer) => client::accepted(answer).and_then(client::json),
                    Err(error) => Err(error),
                };
                match answer {
                    Ok(held) => {
                        let held = Some(read(held)?).filter(|held| !held.files.is_empty());
                        let holds = held.as_ref().map(|held| (held.node, tablet.id));
                        self.holding.lock().extend(holds);
                        return Ok(held);
                    }
                    Err(error) => wrong = error,
                }
            }
        }
        Err(wrong.context(format!("no node can hold tablet {} for it", tablet.id)))
    }

    /// Reads a file that a node holds.
    pub(super) fn file(&self, node: u32, tablet: u64, file: usize) -> Result<Box<dyn Read>> {
        let path = self.path_of(tablet, file);
        let answer = client::accepted(self.client(node)?.get(&path, &[])?)?;
        Ok(Box::new(answer.into_body().into_reader()))
    }

    /// Asks each node that holds files for the smallest, so that it goes on to hold them.
    pub(super) fn renew(&self) {
        let holding = self.holding.lock().clone();
        for (node, tablet) in holding {
            // What a node has let go of all the same is missed when it is to be brought.
            let _ = self.client(node).and_then(|node| node.ask(&self.path_of(tablet, MANIFEST)));
        }
    }

    fn path_of(&self, tablet: u64, file: usize) -> String {
        format!("/api/v1/backups/{}/tablets/{tablet}/files/{file}", self.name)
    }

    /// The catalog with every change that was acked before.
    pub(super) fn catalog(&self) -> Result<Vec<u8>> {
        let path = format!("/api/v1/backups/{}/catalog", self.name);
        client::bytes(client::accepted(self.client(self.asked)?.get(&path, &[])?)?)
    }

    /// Has all nodes let go of what they hold.
    pub(super) fn end(&self) {
        let path = format!("/api/v1/backups/{}", self.name);
        for node in self.nodes.values() {
            // One that cannot be reached lets go by itself after a while.
            let _ = node.delete(&path);
        }
    }

    fn client(&self, node: u32) -> Result<&Client> {
        match self.nodes.get(&node) {
            Some(client) => Ok(client),
            None => bail!("node {node} is not known"),
        }
    }
}

fn read(held: Value) -> Result<Held> {
    serde_json::from_value(held).context("what a node says of its files cannot be read")
}

impl Tablet {
    /// The nodes to ask, in this order: the one that was asked before, so that its segments are known; the
    /// leader; others that are well, then the rest.
    fn nodes(&self, before: Option<u32>) -> Vec<u32> {
        let rank = |replica: &&Replica| {
            let node = Some(replica.node);
            (replica.state != "ok", node != before, node != self.leader, replica.node)
        };
        let mut replicas: Vec<&Replica> = self.replicas.iter().collect();
        replicas.sort_unstable_by_key(rank);
        replicas.into_iter().map(|replica| replica.node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_that_was_asked_before_is_asked_again_while_it_is_well() {
        let replica = |node, state: &str| Replica { node, state: state.into() };
        let replicas = vec![replica(1, "ok"), replica(2, "ok"), replica(3, "down")];
        let (db, table) = Default::default();
        let tablet = Tablet { id: 1, db, table, leader: Some(2), replicas };
        assert_eq!(tablet.nodes(None), [2, 1, 3]);
        assert_eq!(tablet.nodes(Some(1)), [1, 2, 3]);
        assert_eq!(tablet.nodes(Some(3)), [2, 1, 3]);
    }
}
