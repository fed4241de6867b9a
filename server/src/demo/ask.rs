//! What the demo asks the server over HTTP, as any client would.

use anyhow::{Context, Result, anyhow, ensure};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};
use ureq::Agent;

/// Length of the windows of the view.
pub(super) const WINDOW: &str = "5s";
const WINDOW_S: i64 = 5;
/// Windows of the view.
pub(super) const WINDOWS: usize = 60;

/// A client of some servers, any of which can answer.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    servers: Arc<[SocketAddr]>,
}

/// What a server says of the nodes of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct ClusterState {
    /// The nodes.
    pub(super) nodes: Vec<NodeState>,
}

/// What a server says of one node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct NodeState {
    /// Which one.
    pub(super) id: u32,
    /// `up`, `down` or another state.
    pub(super) state: String,
    /// Where it answers HTTP.
    pub(super) http: String,
    /// Replicas on it.
    pub(super) replicas: u64,
    /// Tablets that it leads.
    pub(super) leaders: u64,
}

/// The last windows by device (site, name) and field, oldest first.
pub(super) type Windows = HashMap<(String, String, String), Vec<Option<f64>>>;

#[derive(Debug, Deserialize)]
struct Answer {
    rows: Vec<Vec<Value>>,
}

impl Client {
    /// A client for the servers at these addresses.
    pub(super) fn new(servers: Vec<SocketAddr>) -> Client {
        const TIMEOUT: Duration = Duration::from_secs(30);
        let config = Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .build();
        Client { agent: config.into(), servers: servers.into() }
    }

    /// Rows of a run that the server has.
    ///
    /// # Errors
    /// Where the server does not answer, or answers something else.
    pub(super) fn count(&self, run: i64) -> Result<u64> {
        let condition = format!("run = {run}");
        let answer = self.query(&[
            ("table", "sensors"),
            ("select", "count(*)"),
            ("where", condition.as_str()),
        ])?;
        let Some(row) = answer.rows.first() else { return Ok(0) };
        row.last().and_then(Value::as_u64).context("the answer to count(*) holds no count")
    }

    /// The last windows of all devices.
    ///
    /// # Errors
    /// As [`Client::count`].
    pub(super) fn windows(&self, fields: &[String]) -> Result<Windows> {
        let select: Vec<String> = fields.iter().map(|field| format!("mean({field})")).collect();
        let start = format!("-{}s", WINDOW_S * WINDOWS as i64);
        let answer = self.query(&[
            ("table", "sensors"),
            ("select", &select.join(", ")),
            ("window", WINDOW),
            ("start", &start),
            ("end", "now"),
            ("group_by", "site,device"),
            ("fill", "null"),
        ])?;
        Ok(by_device(&answer.rows, fields))
    }

    /// The nodes of the cluster, as the first server that answers sees them.
    ///
    /// # Errors
    /// As [`Client::count`].
    pub(super) fn cluster(&self) -> Result<ClusterState> {
        self.get("cluster", &[])
    }

    fn query(&self, params: &[(&str, &str)]) -> Result<Answer> {
        self.get("query", params)
    }

    /// Asks one server after the other until one answers.
    fn get<T: DeserializeOwned>(&self, path: &str, params: &[(&str, &str)]) -> Result<T> {
        let mut outcome = Err(anyhow!("there is no server"));
        for server in self.servers.iter() {
            outcome = self.get_from(*server, path, params);
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    fn get_from<T: DeserializeOwned>(
        &self,
        server: SocketAddr,
        path: &str,
        params: &[(&str, &str)],
    ) -> Result<T> {
        let url = format!("http://{server}/api/v1/{path}");
        let request = self.agent.get(url).query_pairs(params.iter().copied());
        let mut response = request.call().context("the server does not answer")?;
        let status = response.status();
        let body = response.body_mut().read_to_string().context("the answer broke off")?;
        ensure!(status.is_success(), "the server answered {status}: {body}");
        serde_json::from_str(&body).context("the answer is not what was asked for")
    }
}

/// Rows of time, site, device and one value a field, ordered by time.
fn by_device(rows: &[Vec<Value>], fields: &[String]) -> Windows {
    let mut windows = Windows::new();
    for row in rows {
        let [_, Value::String(site), Value::String(device), values @ ..] = &row[..] else {
            continue;
        };
        for (field, value) in fields.iter().zip(values) {
            let key = (site.clone(), device.clone(), field.clone());
            windows.entry(key).or_default().push(value.as_f64());
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn windows_are_sorted_out_by_device_and_field() {
        let rows = [
            vec![json!("t0"), json!("s"), json!("a"), json!(1.5), Value::Null],
            vec![json!("t0"), Value::Null, json!("b"), json!(2), json!(3)],
            vec![json!("t1"), json!("s"), json!("a"), json!(2), json!(4)],
        ];
        let windows = by_device(&rows, &["x".into(), "y".into()]);
        let of = |field: &str| windows[&("s".to_owned(), "a".to_owned(), field.to_owned())].clone();
        assert_eq!(of("x"), [Some(1.5), Some(2.0)]);
        assert_eq!(of("y"), [None, Some(4.0)]);
        assert_eq!(windows.len(), 2);
    }
}
