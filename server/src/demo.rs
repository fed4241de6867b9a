//! Devices that publish recorded series over MQTT as if they happened now, and what they show.

mod ask;
mod device;
mod fleet;
mod keys;
mod payload;
mod plan;
mod recordings;
mod replay;
mod screen;
pub(crate) mod simulate;
mod sparkline;
mod summary;
mod tally;
mod text;
mod view;

use anyhow::{Context, Result};
use ask::{Client, ClusterState, Windows};
use clap::Args;
use device::{Device, now_ns};
pub(crate) use fleet::{Doors, Fleet};
use keys::Keys;
use parking_lot::Mutex;
use screen::Screen;
use std::{
    collections::VecDeque,
    io::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use summary::Summary;
use tally::{Counts, Tally};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use view::{Scene, Size};

const NS_PER_S: i64 = 1_000_000_000;
const FRAME: Duration = Duration::from_millis(500);
const LINE: Duration = Duration::from_secs(2);
const ASK: Duration = Duration::from_secs(1);
/// How long acks may still come once the devices stopped.
const SETTLE: Duration = Duration::from_secs(30);

/// What the demo does.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// End by itself after so long, such as 20s or 5m.
    #[arg(long = "for", value_name = "DURATION", value_parser = crate::length::parse_duration)]
    pub(crate) duration: Option<Duration>,
    /// Devices that publish.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) devices: u32,
    /// Rows per second of all devices together, once they have sent their history.
    #[arg(long, value_name = "ROWS", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) rate: u32,
    /// Nodes, each a process of its own where they are several.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=5))]
    pub(crate) nodes: u32,
    /// Kill the node that leads most after so long; in a terminal the key k does it, too.
    #[arg(long, value_name = "DURATION", value_parser = crate::length::parse_duration)]
    pub(crate) kill_after: Option<Duration>,
}

/// The nodes that a demo runs against.
pub(crate) struct Target {
    /// Where they listen.
    pub(crate) doors: Vec<Doors>,
    /// The folder of all that they store.
    pub(crate) data_dir: PathBuf,
    /// Their processes, where they are several.
    pub(crate) fleet: Option<Fleet>,
}

/// Runs devices against a server until `stop` or the end of `--for`, shows them, and says whether
/// the rows sent, acked and counted are equal.
///
/// # Errors
/// Where the recordings cannot be read, or the rows not be counted at the end.
pub(crate) async fn run(args: &DemoArgs, target: &Target, stop: CancellationToken) -> Result<bool> {
    let https = target.doors.iter().map(|doors| reachable(doors.http)).collect();
    let mqtts: Vec<SocketAddr> = target.doors.iter().map(|doors| reachable(doors.mqtt)).collect();
    let started = Instant::now();
    let run = now_ns() / NS_PER_S;
    let devices = plan::devices(args.devices, args.rate, run)?;
    let tally = Arc::new(Tally::default());
    let (publishing, over) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    for (place, device) in devices.clone().into_iter().enumerate() {
        let mut servers = mqtts.clone();
        servers.rotate_left(place % mqtts.len());
        tally.begins();
        tasks.spawn(device.run(servers, tally.clone(), publishing.clone(), over.clone()));
    }
    let client = Client::new(https);
    let watched = Arc::new(Mutex::new(Watched::default()));
    let asked = Asked { fields: fields_of(&devices), has_cluster: target.fleet.is_some() };
    let watch = tokio::spawn(watch(client.clone(), asked, watched.clone()));
    let shown = Show { devices: &devices, tally: &tally, watched: &watched, target, started };
    shown.until(args, stop).await;
    publishing.cancel();
    let settled = tokio::time::timeout(SETTLE, tally.settled()).await;
    over.cancel();
    watch.abort();
    tasks.join_all().await;
    if settled.is_err() {
        eprintln!("demo: some rows were not acked within {} s", SETTLE.as_secs());
    }
    let counted = tokio::task::spawn_blocking(move || client.count(run))
        .await
        .context("the count broke off")?
        .context("cannot count the rows of this run")?;
    let Counts { sent, acked, refused } = tally.counts();
    let disk_bytes =
        summary::folder_bytes(&target.data_dir).context("cannot read the data directory")?;
    let longest_pause = target.fleet.is_some().then(|| tally.longest_pause());
    let summary = Summary { sent, acked, counted, disk_bytes, longest_pause };
    say(&summary.to_string());
    if !summary.is_equal() {
        eprintln!("demo: sent, acked and counted rows differ ({refused} rows were refused)");
    }
    Ok(summary.is_equal())
}

/// An address as bound, as a client on this machine reaches it.
fn reachable(bound: SocketAddr) -> SocketAddr {
    let mut address = bound;
    match bound {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            address.set_ip(Ipv4Addr::LOCALHOST.into())
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            address.set_ip(Ipv6Addr::LOCALHOST.into())
        }
        _ => {}
    }
    address
}

/// The fields that the view shows, each once.
fn fields_of(devices: &[Device]) -> Vec<String> {
    let firsts = devices.iter().filter_map(|device| device.recording.fields.first());
    let mut fields: Vec<String> = firsts.map(|field| field.name.clone()).collect();
    fields.sort_unstable();
    fields.dedup();
    fields
}

/// What the server said last about the devices' windows and its cluster.
#[derive(Debug, Default)]
struct Watched {
    windows: Windows,
    failure: Option<String>,
    cluster: ClusterState,
}

/// What is asked again and again.
#[derive(Debug, Clone)]
struct Asked {
    fields: Vec<String>,
    has_cluster: bool,
}

async fn watch(client: Client, asked: Asked, watched: Arc<Mutex<Watched>>) {
    loop {
        tokio::time::sleep(ASK).await;
        let (client, asked) = (client.clone(), asked.clone());
        let answers = tokio::task::spawn_blocking(move || {
            let cluster = asked.has_cluster.then(|| client.cluster());
            (client.windows(&asked.fields), cluster)
        });
        let Ok((windows, cluster)) = answers.await else { return };
        let mut watched = watched.lock();
        match windows {
            Ok(windows) => (watched.windows, watched.failure) = (windows, None),
            Err(error) => watched.failure = Some(format!("{error:#}")),
        }
        if let Some(Ok(cluster)) = cluster {
            watched.cluster = cluster;
        }
    }
}

/// What is shown while the devices publish.
struct Show<'a> {
    devices: &'a [Device],
    tally: &'a Tally,
    watched: &'a Mutex<Watched>,
    target: &'a Target,
    started: Instant,
}

impl Show<'_> {
    /// Shows until `stop` or the end of `--for`: a picture in a terminal, else lines.
    async fn until(&self, args: &DemoArgs, stop: CancellationToken) {
        let mut screen = Screen::open();
        if screen.is_none() {
            for line in view::hints(self.doors()) {
                say(&line.into_iter().map(|(_, piece)| piece).collect::<String>());
            }
        }
        let mut keys = Keys::open(screen.is_some() && self.target.fleet.is_some());
        let every = if screen.is_some() { FRAME } else { LINE };
        let mut ticks = tokio::time::interval_at(self.started + every, every);
        let mut rates = Rates::new(self.started);
        let end = args.duration.map(|duration| self.started + duration);
        let mut kill_at = args.kill_after.map(|after| self.started + after);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = keys.pressed(b'k') => self.kill(),
                () = until(kill_at) => {
                    kill_at = None;
                    self.kill();
                }
                () = stop.cancelled() => break,
                () = until(end) => break,
            }
            rates.take(Instant::now(), self.tally.counts());
            match &mut screen {
                Some(screen) => {
                    let size = screen.size();
                    screen.draw(&self.picture(&rates, args.duration, size));
                }
                None => say(&self.line(&rates)),
            }
        }
    }

    fn kill(&self) {
        let Some(fleet) = &self.target.fleet else { return };
        if let Some(node) = fleet.kill(&self.watched.lock().cluster) {
            tracing::warn!(node, "the node that leads most was killed");
        }
    }

    fn doors(&self) -> Doors {
        let Doors { http, mqtt } = self.target.doors[0];
        Doors { http: reachable(http), mqtt: reachable(mqtt) }
    }

    fn picture(&self, rates: &Rates, ends: Option<Duration>, size: Size) -> Vec<view::Line> {
        let watched = self.watched.lock();
        let (sent_rate, acked_rate) = rates.per_second();
        let scene = Scene {
            elapsed: self.started.elapsed(),
            ends,
            devices: self.devices,
            live: self.tally.live(),
            counts: self.tally.counts(),
            sent_rate,
            acked_rate,
            latency: self.tally.latency(),
            windows: &watched.windows,
            failure: watched.failure.as_deref(),
            nodes: &watched.cluster.nodes,
            doors: self.doors(),
        };
        view::frame(&scene, size)
    }

    fn line(&self, rates: &Rates) -> String {
        let Counts { sent, acked, .. } = self.tally.counts();
        let (sent_rate, _) = rates.per_second();
        let latency = self.tally.latency().map_or(String::new(), |latency| {
            format!(", ack p50 {} p99 {}", text::ms(latency.p50), text::ms(latency.p99))
        });
        format!(
            "demo: {} sent {} rows, acked {}, {} rows/s{latency}",
            text::clock(self.started.elapsed()),
            text::count(sent),
            text::count(acked),
            text::count(sent_rate.round() as u64),
        )
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Counts of the last few seconds.
struct Rates {
    taken: VecDeque<(Instant, u64, u64)>,
}

impl Rates {
    const SPAN: Duration = Duration::from_secs(3);

    fn new(started: Instant) -> Rates {
        Rates { taken: [(started, 0, 0)].into() }
    }

    fn take(&mut self, at: Instant, counts: Counts) {
        self.taken.push_back((at, counts.sent, counts.acked));
        while self.taken.get(1).is_some_and(|(second, ..)| at - *second >= Rates::SPAN) {
            self.taken.pop_front();
        }
    }

    /// Rows sent and acked a second.
    fn per_second(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.taken.front(), self.taken.back()) else {
            return (0.0, 0.0);
        };
        let elapsed_s = (last.0 - first.0).as_secs_f64();
        if elapsed_s <= 0.0 {
            return (0.0, 0.0);
        }
        ((last.1 - first.1) as f64 / elapsed_s, (last.2 - first.2) as f64 / elapsed_s)
    }
}

/// Prints a line. Whoever reads it may have gone away, which is no failure of the demo.
fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests;
