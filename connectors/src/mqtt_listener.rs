//! The MQTT listener: a front door for devices, not a broker.
//!
//! PUBACK and PUBREC go out only after the batch that holds the message is stored. Nothing is
//! routed to subscribers and nothing is retained.

mod common;
mod connect;
mod connection;
mod counters;
mod doors;
mod frame;
mod greeting;
mod holds;
mod input;
mod ledger;
mod live;
mod options;
mod packets;
mod qos2;
mod session;
mod shard;
mod watch;
mod wire;

pub use counters::{ACK_BOUNDS_US, Counters};
pub use doors::{Doors, Handshakes, TlsDoor};
pub use options::MqttListenerOptions;

use crate::{Error, Result, pump::CompiledRoutes, sparkplug_store::EdgeNodes};
use common::{Caller, Common};
use connect::Will;
use ledger::Ledger;
use live::Greetings;
use oribi_decode::mapping::{Decoder, TopicStyle};
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, ReadPath};
use session::Sessions;
use shard::Shard;
use socket2::{SockRef, TcpKeepalive};
use std::{
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// After an accept failed (out of files, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a connection is silent before the system asks whether its peer is there.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);
/// Longest sleep while no session is due.
const SESSIONS_PAUSE_MAX: Duration = Duration::from_secs(3_600);

/// A running listener.
#[derive(Debug)]
pub struct MqttListener {
    task: JoinHandle<()>,
    address: SocketAddr,
    counters: Arc<Counters>,
}

impl MqttListener {
    /// Serves MQTT at `doors` until `shutdown`. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Options that cannot be, or a socket that cannot be used.
    pub fn start(
        doors: impl Into<Doors>,
        options: MqttListenerOptions,
        ingest: Arc<dyn Ingest>,
        read: Arc<dyn ReadPath>,
        arrival: ArrivalClock,
        shutdown: CancellationToken,
    ) -> Result<MqttListener> {
        options.validate()?;
        let refused = |action| move |source| Error::Listen { action, source };
        let Doors { plain, tls, keeper } = doors.into();
        let listen = |socket: std::net::TcpListener| {
            socket.set_nonblocking(true).map_err(refused("prepare"))?;
            TcpListener::from_std(socket).map_err(refused("register"))
        };
        let listener = listen(plain)?;
        let tls =
            tls.map(|door| Ok::<_, Error>((listen(door.socket)?, door.handshakes))).transpose()?;
        let address = listener.local_addr().map_err(refused("name"))?;
        let counters = Arc::new(Counters::default());
        let routes = CompiledRoutes::new(&options.topics, TopicStyle::Mqtt, None, "mqtt.topics")?;
        let options = Arc::new(options);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nodes = Arc::new(EdgeNodes::of(shard::SOURCE.into()));
        let shards = (0..cores.min(4)).map(|_| {
            let (options, counters, nodes) =
                (options.clone(), counters.clone(), Arc::clone(&nodes));
            Arc::new(Shard::new(routes.clone(), options, arrival.clone(), counters, nodes))
        });
        let ledger = Arc::new(Ledger::new(options.memory_bytes_max));
        let common = Arc::new(Common {
            shards: shards.collect(),
            sessions: Sessions::new(options.sessions_max, ledger.clone()),
            greetings: Greetings::default(),
            ledger,
            keeper,
            refusals: greeting::refusals(),
            options,
            counters: counters.clone(),
            arrival,
            shutdown,
        });
        let has_births =
            common.options.topics.iter().any(|route| route.decoder == Decoder::SparkplugB);
        let task = tokio::spawn(async move {
            if has_births && let Err(wrong) = nodes.load(read, shard::SOURCE).await {
                tracing::warn!(%wrong, "births that were kept cannot be read");
            }
            run(listener, tls, common, ingest).await;
        });
        Ok(MqttListener { task, address, counters })
    }

    /// The address bound.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// What was counted so far.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Waits until everything acked is stored and all connections are closed; after `shutdown`.
    pub async fn join(self) {
        if let Err(wrong) = self.task.await {
            tracing::error!(%wrong, "the mqtt listener ended abnormally");
        }
    }
}

async fn run(
    listener: TcpListener,
    tls: Option<(TcpListener, Arc<dyn Handshakes>)>,
    common: Arc<Common>,
    ingest: Arc<dyn Ingest>,
) {
    let stop = CancellationToken::new();
    let writers = TaskTracker::new();
    for shard in &common.shards {
        writers.spawn(shard.clone().run(ingest.clone(), stop.clone()));
    }
    let (connections, keepers) = (TaskTracker::new(), TaskTracker::new());
    keepers.spawn(pass_sessions(common.clone()));
    keepers.spawn(watch::run(common.clone()));
    let secured = async || match &tls {
        Some((listener, handshakes)) => {
            let (stream, _) = listener.accept().await?;
            Ok(Caller::Secured(stream, handshakes.clone()))
        }
        None => std::future::pending().await,
    };
    let plain = async || Ok::<_, std::io::Error>(Caller::Plain(listener.accept().await?.0));
    let mut is_full = false;
    loop {
        let accepted = tokio::select! {
            accepted = plain() => accepted,
            accepted = secured() => accepted,
            () = common.shutdown.cancelled() => break,
        };
        let Ok(caller) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let was_full =
            std::mem::replace(&mut is_full, connections.len() >= common.options.connections_max);
        if is_full && !common.greetings.make_room(packets::reason::QUOTA) {
            if !was_full {
                tracing::warn!("connections are refused: mqtt.connections_max is reached");
            }
            continue;
        }
        prepare(caller.socket());
        let common = common.clone();
        connections.spawn(async move {
            common.counters.connections.fetch_add(1, Ordering::Relaxed);
            let _open = OpenConnection(common.counters.clone());
            connection::serve(common, caller).await;
        });
    }
    drop((listener, tls));
    for tasks in [connections, keepers] {
        tasks.close();
        tasks.wait().await;
    }
    stop.cancel();
    writers.close();
    writers.wait().await;
}

/// What is not possible on a socket is done without.
fn prepare(stream: &TcpStream) {
    // Acks are written in groups; waiting for more of them would only delay.
    let _ = stream.set_nodelay(true);
    // Peers that are gone without a word are found, whatever keep-alive they asked for.
    let keepalive = TcpKeepalive::new().with_time(TCP_KEEPALIVE).with_interval(TCP_KEEPALIVE / 6);
    let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
}

/// Publishes the wills of clients that stay away, and ends their sessions.
async fn pass_sessions(common: Arc<Common>) {
    let publish = |client: &Arc<str>, will: Will| common.publish_will(client, &will);
    loop {
        let next = common.sessions.pass(Instant::now(), &publish);
        let wait = next.map_or(SESSIONS_PAUSE_MAX, |next| {
            next.saturating_duration_since(Instant::now()).min(SESSIONS_PAUSE_MAX)
        });
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = common.sessions.earlier() => {}
            () = common.shutdown.cancelled() => return,
        }
    }
}

/// Counts a connection as open, also when it ends by a panic.
struct OpenConnection(Arc<Counters>);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
