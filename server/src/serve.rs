//! A running server: what is started in which order, and stopped in which.

use crate::{
    api::{self, Addresses, Admin, Parts},
    catalog_store::CatalogStore,
    config::Config,
    front::{Bounds, FrontDoor},
    listen::{Bound, Listeners},
    telemetry::{CountedIngest, IngestCounters, Metrics, Sources},
};
use anyhow::{Context, Result};
use oribi_cluster::Node;
use oribi_connectors::{
    Connectors, MqttListener, connector::Parts as ConnectorParts, dead_letter::WithDeadLetters,
};
use oribi_ingest::{Ingest, Ingestor};
use oribi_model::{ArrivalClock, Clock, SystemClock};
use oribi_query::QueryEngine;
use oribi_store::disk::RealDisk;
use std::{sync::Arc, time::Instant};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A node with its listeners, data served.
pub(crate) struct Server {
    node: Arc<Node>,
    front: FrontDoor,
    mqtt: MqttListener,
    connectors: Connectors,
    peers: JoinHandle<()>,
    addresses: Addresses,
    stop: CancellationToken,
}

impl Server {
    /// Opens the node and serves it on `listeners`. HTTP answers from the first moment on: 503
    /// until the node is open. `None`: `stop` came before that.
    ///
    /// # Errors
    /// A data directory that cannot be opened, or a socket that cannot be used.
    pub(crate) async fn start(
        config: Config,
        listeners: Listeners,
        stop: CancellationToken,
    ) -> Result<Option<Server>> {
        let started = Instant::now();
        let Listeners { http, mqtt, node: peers } = listeners;
        let addresses = Addresses { http: http.address, mqtt: mqtt.address, node: peers.address };
        tracing::info!(
            http = %addresses.http, mqtt = %addresses.mqtt, node = %addresses.node, "listening"
        );
        let metrics = Arc::new(Metrics::new());
        let front = FrontDoor::open(
            http.socket,
            api::starting(metrics.clone(), &config.http, config.reach()),
            Bounds::of(&config.http),
            stop.clone(),
        )
        .context("cannot serve http")?;
        let peers = hold(peers, stop.clone()).context("cannot hold the address for nodes")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let open = Node::open(
            config.data_dir.clone(),
            config.storage.clone(),
            Arc::new(RealDisk),
            clock.clone(),
        );
        let node = tokio::select! {
            opened = open => opened?,
            () = stop.cancelled() => return Ok(None),
        };
        let arrival = ArrivalClock::new(clock.clone());
        let counters = Arc::new(IngestCounters::default());
        let ingestor = Ingestor::new(node.clone(), config.ingest.clone());
        let ingest: Arc<dyn Ingest> = Arc::new(CountedIngest::new(ingestor, counters.clone()));
        let mqtt = MqttListener::start(
            mqtt.socket,
            config.mqtt.clone(),
            ingest.clone(),
            node.clone(),
            arrival.clone(),
            stop.clone(),
        )?;
        let read = WithDeadLetters::over(node.clone());
        let engine = QueryEngine::with_clock(read, config.query.clone(), clock.clone());
        node.answer_by(Arc::new(engine.clone()));
        let connectors = Connectors::start(
            config.connectors.clone(),
            ConnectorParts {
                ingest: ingest.clone(),
                feed: node.clone(),
                windows: Arc::new(engine.clone()),
                arrival: arrival.clone(),
                store: Arc::new(CatalogStore(node.clone())),
                ahead_ns_max: config.mqtt.ahead_ns_max,
                files: config.connector_files(),
            },
            stop.clone(),
        )?;
        metrics.watch(Sources {
            node: node.clone(),
            mqtt: mqtt.counters().clone(),
            ingest: counters.clone(),
            front: front.counters().clone(),
            connectors: connectors.clone(),
            started,
        });
        let admin = Arc::new(Admin {
            node: node.clone(),
            query: config.query.clone(),
            clock: clock.clone(),
            addresses,
            started,
            connectors: connectors.clone(),
            engine: engine.clone(),
            write: ingest.clone(),
            mqtt_routes: config.mqtt.topics.clone(),
            arrival: arrival.clone(),
            ahead_ns_max: config.mqtt.ahead_ns_max,
            mqtt: mqtt.counters().clone(),
            ingest: counters,
            front: front.counters().clone(),
            metrics: metrics.clone(),
            compacting: tokio::sync::Mutex::default(),
        });
        let options = config.http.clone();
        let reach = config.reach();
        front.serve(api::router(Parts { admin, ingest, arrival, engine, metrics, options, reach }));
        let (data_dir, open_ms) = (config.data_dir.display(), started.elapsed().as_millis());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %data_dir, open_ms, "serving");
        Ok(Some(Server { node, front, mqtt, connectors, peers, addresses, stop }))
    }

    /// The addresses bound.
    pub(crate) fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Takes no new work, ends what is in progress, and closes the node. All that was acked is
    /// safe.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::join!(self.front.join(), self.mqtt.join(), self.connectors.join());
        self.node.stop().await;
        self.peers.abort();
        tracing::info!("stopped");
    }
}

/// Keeps the address for other nodes, to which this version has nothing to say.
fn hold(bound: Bound, stop: CancellationToken) -> std::io::Result<JoinHandle<()>> {
    let listener = TcpListener::from_std(bound.socket)?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                // Whether it came or not, the connection is dropped.
                _ = listener.accept() => tokio::task::yield_now().await,
                () = stop.cancelled() => return,
            }
        }
    }))
}
