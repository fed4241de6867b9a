//! Several nodes, each a process of its own, and the one that is killed.

use super::ask::{Client, ClusterState, NodeState};
use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use tokio::time::{Instant, sleep};

/// How long the nodes may take to find each other.
const JOIN_WAIT: Duration = Duration::from_secs(60);
const LOOK_PAUSE: Duration = Duration::from_millis(100);
/// How long a node may take to stop before it is killed.
const STOP_WAIT: Duration = Duration::from_secs(20);

/// Where a node of the demo listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doors {
    /// HTTP.
    pub(crate) http: SocketAddr,
    /// MQTT.
    pub(crate) mqtt: SocketAddr,
}

/// The nodes of a demo that runs several.
pub(crate) struct Fleet {
    dir: PathBuf,
    nodes: Vec<(Doors, Mutex<Process>)>,
}

/// A node's process, which does not outlive this.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // One that has ended already cannot be killed, and need not be.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Fleet {
    /// Starts so many nodes on folders in `dir`, and waits until they are one cluster.
    ///
    /// # Errors
    /// A node that ends or does not join; its log is part of the error.
    pub(crate) async fn start(count: u32, dir: &Path) -> Result<Fleet> {
        let mut fleet = Fleet { dir: dir.to_owned(), nodes: Vec::new() };
        let mut first = None;
        for place in 1..=count {
            let [http, mqtt, node] = free_addresses()?;
            let child = fleet.spawn(place, [http, mqtt, node], first)?;
            first.get_or_insert(node);
            fleet.nodes.push((Doors { http, mqtt }, Mutex::new(child)));
        }
        fleet.joined(count as usize).await?;
        Ok(fleet)
    }

    /// Where the nodes listen.
    pub(crate) fn doors(&self) -> Vec<Doors> {
        self.nodes.iter().map(|(doors, _)| *doors).collect()
    }

    /// Kills the node that leads most, without any warning to it; gives its id.
    pub(super) fn kill(&self, state: &ClusterState) -> Option<u32> {
        let victim = most_leading(state)?;
        let address: SocketAddr = victim.http.parse().ok()?;
        let (_, child) = self.nodes.iter().find(|(doors, _)| doors.http == address)?;
        child.lock().0.kill().ok()?;
        Some(victim.id)
    }

    /// Ends the nodes as an operator would.
    pub(crate) async fn stop(self) {
        let stopping = self.nodes.into_iter().map(|(_, child)| end(child.into_inner()));
        futures::future::join_all(stopping).await;
    }

    fn spawn(
        &self,
        place: u32,
        [http, mqtt, node]: [SocketAddr; 3],
        join: Option<SocketAddr>,
    ) -> Result<Process> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let log = File::create(self.log_of(place)).context("cannot make a node's log")?;
        let errors = log.try_clone().context("cannot make a node's log")?;
        let mut command = Command::new(program);
        command
            .arg("serve")
            .arg("--data-dir")
            .arg(self.dir.join(format!("node{place}")))
            .args(["--http-listen", &http.to_string()])
            .args(["--mqtt-listen", &mqtt.to_string()])
            .args(["--node-listen", &node.to_string()])
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            // A Ctrl-C in the terminal is for the demo, which ends its nodes when it is done.
            .process_group(0);
        if let Some(join) = join {
            command.args(["--join", &join.to_string()]);
        }
        command.spawn().map(Process).with_context(|| format!("cannot start node {place}"))
    }

    fn log_of(&self, place: u32) -> PathBuf {
        self.dir.join(format!("node{place}.log"))
    }

    async fn joined(&self, count: usize) -> Result<()> {
        let deadline = Instant::now() + JOIN_WAIT;
        loop {
            for (place, (_, child)) in (1..).zip(&self.nodes) {
                if let Some(status) = child.lock().0.try_wait().context("cannot look at a node")? {
                    bail!("node {place} ended ({status}): {}", self.last_words(place));
                }
            }
            let client = Client::new(self.doors().iter().map(|doors| doors.http).collect());
            let state = tokio::task::spawn_blocking(move || client.cluster()).await?;
            if state.is_ok_and(|state| up(&state) == count) {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("the nodes did not find each other within {} s", JOIN_WAIT.as_secs());
            }
            sleep(LOOK_PAUSE).await;
        }
    }

    fn last_words(&self, place: u32) -> String {
        const LINES: usize = 5;
        let log = std::fs::read_to_string(self.log_of(place)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES)..].join("\n")
    }
}

fn up(state: &ClusterState) -> usize {
    state.nodes.iter().filter(|node| node.state == "up").count()
}

/// Of the nodes that are up the one that leads most tablets.
fn most_leading(state: &ClusterState) -> Option<&NodeState> {
    let up = state.nodes.iter().filter(|node| node.state == "up");
    up.max_by_key(|node| (node.leaders, std::cmp::Reverse(node.id)))
}

/// Asks a node to stop; one that does not is killed.
async fn end(mut process: Process) {
    let pid = i32::try_from(process.0.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // One that has ended meanwhile cannot be asked to.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    let deadline = Instant::now() + STOP_WAIT;
    while Instant::now() < deadline && matches!(process.0.try_wait(), Ok(None)) {
        sleep(LOOK_PAUSE).await;
    }
}

/// Addresses on which nothing listens now.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("cannot find a free port");
    // All are held until each is known, so that none comes twice.
    let held = [bind()?, bind()?, bind()?];
    let [a, b, c] = held.each_ref().map(TcpListener::local_addr);
    Ok([a?, b?, c?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: u32, state: &str, leaders: u64) -> NodeState {
        NodeState { id, state: state.into(), http: String::new(), replicas: 9, leaders }
    }

    #[test]
    fn the_node_that_leads_most_of_those_that_are_up_is_killed() {
        let nodes = vec![node(1, "up", 2), node(2, "down", 9), node(3, "up", 5), node(4, "up", 5)];
        let state = ClusterState { nodes };
        assert_eq!(most_leading(&state).map(|node| node.id), Some(3));
        assert_eq!(up(&state), 3);
        assert_eq!(most_leading(&ClusterState::default()), None);
    }

    #[test]
    fn free_addresses_differ() {
        let [a, b, c] = free_addresses().unwrap();
        assert!(a != b && b != c && a != c);
    }
}
