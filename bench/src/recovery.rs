//! How long Oribi takes to serve again after kill -9 with full memtables, and whether everything
//! that it acked is still there.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};

use crate::{
    answer::count,
    bodies::Bodies,
    dialect::Dialect,
    http::{Connection, Payload, Target},
    load::Load,
    results::Sink,
};

/// How a recovery is provoked.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Recovery {
    /// The program `oribi`.
    #[arg(long, value_name = "FILE")]
    oribi: PathBuf,
    /// A data directory that does not exist yet.
    #[arg(long)]
    data_dir: PathBuf,
    /// Clients that load while the node is killed.
    #[arg(long, default_value_t = 2)]
    clients: usize,
    /// The node's bound on all its memtables, MiB.
    #[arg(long, default_value_t = 160)]
    memtable_mib_max: u64,
    /// The node is killed when its memtables hold this share of the bound.
    #[arg(long, default_value_t = 0.9)]
    fill: f64,
}

/// What a node says about its memtables.
#[derive(Debug, Clone, Copy, Default)]
struct Memtables {
    rows: u64,
    bytes: u64,
}

impl Recovery {
    /// Fills, kills, starts again, counts.
    ///
    /// # Errors
    /// The node does not start, or does not come back with every acked row.
    pub(crate) fn run(&self, bodies: &Bodies, sink: &Sink) -> Result<()> {
        ensure!(!self.data_dir.exists(), "{} exists already", self.data_dir.display());
        fs::create_dir_all(&self.data_dir)?;
        let authority = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let mut node = Node::start(&self.oribi, &self.data_dir, &authority)?;
        node.wait_until_healthy(&authority)?;
        let target: Target = format!("http://{authority}/write?db=benchmark").parse()?;
        let load = Load::new(bodies, &target);
        let full = thread::scope(|scope| -> Result<Memtables> {
            let loading = scope.spawn(|| load.run(self.clients));
            let watched = self.watch(&load, &authority, || loading.is_finished());
            node.kill()?;
            load.stop();
            // The clients fail because their server was killed; what counts is what it acked.
            drop(loading.join().map_err(|_| anyhow!("the loader panicked"))?);
            watched
        })?;
        let start = Instant::now();
        let mut node = Node::start(&self.oribi, &self.data_dir, &authority)?;
        node.wait_until_healthy(&authority)?;
        let down = start.elapsed();
        let mut connection = Connection::new(&authority);
        connection.get(&Dialect::Oribi.count_path(0))?;
        let stored = count(Dialect::Oribi, connection.body())?;
        let replayed = memtables(&mut connection)?;
        node.kill()?;
        let (acked, sent) = (load.acked_rows(), load.sent_rows());
        println!(
            "killed with {} rows ({:.1} MiB) in memtables, {acked} rows acked; serving again after \
             {:.3} s with {} rows replayed into memtables; {stored} rows stored",
            full.rows,
            full.bytes as f64 / f64::from(1 << 20),
            down.as_secs_f64(),
            replayed.rows
        );
        sink.put(&[
            ("rows_unflushed", full.rows.to_string()),
            ("rows_replayed", replayed.rows.to_string()),
            ("rows_acked", acked.to_string()),
            ("rows_stored", stored.to_string()),
            ("serving_after_s", format!("{:.3}", down.as_secs_f64())),
        ])?;
        ensure!(stored >= acked, "{} acked rows are lost", acked - stored);
        ensure!(stored <= sent, "{} rows appeared that were never sent", stored - sent);
        Ok(())
    }

    /// Waits until the memtables are full or everything is loaded.
    fn watch(
        &self,
        load: &Load,
        authority: &str,
        finished: impl Fn() -> bool,
    ) -> Result<Memtables> {
        let wanted = (self.memtable_mib_max as f64 * self.fill * f64::from(1 << 20)) as u64;
        let mut connection = Connection::new(authority);
        loop {
            let held = memtables(&mut connection)?;
            if held.bytes >= wanted {
                return Ok(held);
            }
            if finished() {
                println!("all {} rows were loaded before memtables were full", load.acked_rows());
                return Ok(held);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Ports of 127.0.0.1 that nobody uses right now.
///
/// # Errors
/// None can be bound.
pub(crate) fn free_ports(count: usize) -> Result<Vec<u16>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<TcpListener>>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

/// A started node, killed when it goes out of scope.
struct Node {
    child: Child,
}

impl Node {
    fn start(oribi: &Path, data_dir: &Path, authority: &str) -> Result<Node> {
        let log = File::options().create(true).append(true).open(data_dir.with_extension("log"))?;
        let child = Command::new(oribi)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--http-listen", authority])
            .args(["--mqtt-listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| oribi.display().to_string())?;
        Ok(Node { child })
    }

    fn wait_until_healthy(&mut self, authority: &str) -> Result<()> {
        let start = Instant::now();
        let mut connection = Connection::new(authority);
        while start.elapsed() < Duration::from_secs(120) {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("the node ended with {status}");
            }
            if let Ok(head) = connection.request("GET", "/health", Payload::Nothing)
                && head.status == 200
            {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(2));
        }
        anyhow::bail!("the node is not healthy after 120 s: {}", connection.body_text())
    }

    /// Ends the node as kill -9 does.
    fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Reads the gauges `…memtable_rows` and `…memtable_bytes`, over all their labels.
fn memtables(connection: &mut Connection) -> Result<Memtables> {
    connection.get("/metrics")?;
    let text = String::from_utf8_lossy(connection.body());
    let gauge = |name: &str| -> Result<u64> {
        let values = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .filter_map(|line| line.rsplit_once(' '))
            .filter(|(key, _)| key.split('{').next().is_some_and(|key| key.ends_with(name)))
            .map(|(_, value)| value.parse::<f64>())
            .collect::<Result<Vec<f64>, _>>()?;
        ensure!(!values.is_empty(), "/metrics has no {name}");
        Ok(values.iter().sum::<f64>() as u64)
    };
    Ok(Memtables { rows: gauge("memtable_rows")?, bytes: gauge("memtable_bytes")? })
}
