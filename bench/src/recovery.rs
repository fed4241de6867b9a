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

const MIB: f64 = 1_048_576.0;

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
    /// Further arguments of `oribi serve`.
    #[arg(last = true)]
    serve_args: Vec<String>,
}

/// What a node says about its memtables.
#[derive(Debug, Clone, Copy, Default)]
struct Memtables {
    rows: u64,
    bytes: u64,
}

/// How a load ended.
enum Filled {
    /// The memtables hold what was wanted.
    Enough(Memtables),
    /// Everything was loaded first; the most that the memtables ever held, and what they hold now.
    Never { most: Memtables, last: Memtables },
}

impl Recovery {
    /// Fills, kills, starts again, counts.
    ///
    /// # Errors
    /// The node does not start, or does not come back with every acked row.
    pub(crate) fn run(&self, bodies: &Bodies, sink: &Sink) -> Result<()> {
        let wanted = (self.memtable_mib_max as f64 * self.fill * MIB) as u64;
        let authority = format!("127.0.0.1:{}", free_ports(1)?[0]);
        let target: Target = format!("http://{authority}/write?db=benchmark").parse()?;
        let load = Load::new(bodies, &target);
        let held = match self.fill_and_kill(&load, wanted)? {
            Filled::Enough(held) => return self.recover(&load, held, sink),
            Filled::Never { most, last } if most.bytes - last.bytes <= most.bytes / 10 => last,
            Filled::Never { most, .. } => {
                println!("memtables never held more than {:.1} MiB", most.bytes as f64 / MIB);
                fs::remove_dir_all(&self.data_dir)?;
                let again = Load::new(bodies, &target);
                return match self.fill_and_kill(&again, most.bytes / 10 * 9)? {
                    Filled::Enough(held) | Filled::Never { last: held, .. } => {
                        self.recover(&again, held, sink)
                    }
                };
            }
        };
        self.recover(&load, held, sink)
    }

    /// Loads until the memtables hold so many bytes, or everything is loaded, and kills the node.
    fn fill_and_kill(&self, load: &Load, wanted: u64) -> Result<Filled> {
        ensure!(!self.data_dir.exists(), "{} exists already", self.data_dir.display());
        fs::create_dir_all(&self.data_dir)?;
        let mut node = self.start(load.authority())?;
        thread::scope(|scope| {
            let loading = scope.spawn(|| load.run(self.clients));
            let filled = watch(load.authority(), wanted, || loading.is_finished());
            node.kill()?;
            load.stop();
            let loaded = loading.join().map_err(|_| anyhow!("the loader panicked"))?;
            // Clients whose server was killed fail; what counts is what it acked.
            if let Ok(Filled::Never { .. }) = filled {
                loaded?;
            }
            filled
        })
    }

    fn recover(&self, load: &Load, held: Memtables, sink: &Sink) -> Result<()> {
        let start = Instant::now();
        let mut node = self.start(load.authority())?;
        let down = start.elapsed();
        let mut connection = Connection::new(load.authority());
        connection.get(&Dialect::Oribi.count_paths(load.workload())[0])?;
        let stored = count(Dialect::Oribi, connection.body())?;
        let replayed = memtables(&mut connection)?;
        node.kill()?;
        let (acked, sent) = (load.acked_rows(), load.sent_rows());
        println!(
            "killed with {} rows ({:.1} MiB) in memtables, {acked} rows acked; serving again after \
             {:.3} s with {} rows replayed into memtables; {stored} rows stored",
            held.rows,
            held.bytes as f64 / MIB,
            down.as_secs_f64(),
            replayed.rows
        );
        sink.put(&[
            ("rows_unflushed", held.rows.to_string()),
            ("rows_replayed", replayed.rows.to_string()),
            ("rows_acked", acked.to_string()),
            ("rows_stored", stored.to_string()),
            ("serving_after_s", format!("{:.3}", down.as_secs_f64())),
        ])?;
        ensure!(stored >= acked, "{} acked rows are lost", acked - stored);
        ensure!(stored <= sent, "{} rows appeared that were never sent", stored - sent);
        Ok(())
    }

    /// Starts a node and waits until it is healthy.
    fn start(&self, authority: &str) -> Result<Node> {
        let mut node = Node::start(&self.oribi, &self.data_dir, authority, &self.serve_args)?;
        node.wait_until_healthy(authority)?;
        Ok(node)
    }
}

/// Waits until the memtables hold so many bytes or everything is loaded.
fn watch(authority: &str, wanted: u64, finished: impl Fn() -> bool) -> Result<Filled> {
    let mut connection = Connection::new(authority);
    let mut most = Memtables::default();
    loop {
        let last = memtables(&mut connection)?;
        if last.bytes > most.bytes {
            most = last;
        }
        if last.bytes >= wanted {
            return Ok(Filled::Enough(last));
        }
        if finished() {
            return Ok(Filled::Never { most, last });
        }
        thread::sleep(Duration::from_millis(10));
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
    fn start(oribi: &Path, data_dir: &Path, authority: &str, more: &[String]) -> Result<Node> {
        let log = File::options().create(true).append(true).open(data_dir.with_extension("log"))?;
        let child = Command::new(oribi)
            .arg("serve")
            .arg("--data-dir")
            .arg(data_dir)
            .args(["--http-listen", authority])
            .args(["--mqtt-listen", "127.0.0.1:0", "--node-listen", "127.0.0.1:0"])
            .args(more)
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
