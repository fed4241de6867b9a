//! A running server: what is started in which order, and stopped in which.

use crate::{
    api::{self, Addresses, Admin, Parts, Waiting},
    catalog_store::CatalogStore,
    config::Config,
    front::{Bounds, FrontDoor},
    listen::{Bound, Listeners},
    telemetry::{CountedIngest, IngestCounters, Metrics, Sources},
};
use anyhow::{Context, Result};
use oribi_cluster::{JoinOptions, Node, Peering, join};
use oribi_connectors::{
    Connectors, MqttListener, connector::Parts as ConnectorParts, dead_letter::WithDeadLetters,
};
use oribi_ingest::{Ingest, Ingestor};
use oribi_model::{ArrivalClock, Clock, SystemClock};
use oribi_query::QueryEngine;
use oribi_store::disk::RealDisk;
use std::{sync::Arc, time::Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A node with its listeners, data served.
pub(crate) struct Server {
    front: FrontDoor,
    mqtt: MqttListener,
    connectors: Connectors,
    peering: Peering,
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
        let join_options = listeners.join_options(&config.cluster);
        let Listeners { http, mqtt, node: peers } = listeners;
        let addresses = Addresses { http: http.address, mqtt: mqtt.address, node: peers.address };
        tracing::info!(
            http = %addresses.http, mqtt = %addresses.mqtt, node = %addresses.node, "listening"
        );
        let metrics = Arc::new(Metrics::new());
        let waiting = Waiting::default();
        let front = FrontDoor::open(
            http.socket,
            api::starting(metrics.clone(), &config.http, config.reach(), waiting.clone()),
            Bounds::of(&config.http),
            stop.clone(),
        )
        .context("cannot serve http")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let open = open(&config, clock.clone(), &peers, &join_options, &waiting);
        let node = tokio::select! {
            opened = open => opened?,
            () = stop.cancelled() => return Ok(None),
        };
        let peering = Peering::start(node.clone(), peers.socket, join_options)
            .context("cannot listen to other nodes")?;
        let arrival = ArrivalClock::new(clock.clone());
        node.keep_arrivals(&arrival);
        tokio::spawn(share_times(node.clone(), arrival.clone(), stop.clone()));
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
        let engine = QueryEngine::with_clock(read, config.query.clone(), clock.clone())
            .on(node.identity().node);
        node.answer_by(Arc::new(engine.clone()));
        let connectors = Connectors::start(
            config.connectors.clone(),
            ConnectorParts {
                ingest: ingest.clone(),
                feed: node.clone(),
                windows: Arc::new(engine.clone()),
                arrival: arrival.clone(),
                store: Arc::new(CatalogStore::new(node.clone(), peering.view())),
                ahead_ns_max: config.mqtt.ahead_ns_max,
                files: config.connector_files(),
            },
            stop.clone(),
        )?;
        metrics.watch(Sources {
            node: node.clone(),
            peers: peering.view(),
            mqtt: mqtt.counters().clone(),
            ingest: counters.clone(),
            front: front.counters().clone(),
            connectors: connectors.clone(),
            started,
        });
        let admin = Arc::new(Admin {
            node: node.clone(),
            peers: peering.view(),
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
        Ok(Some(Server { front, mqtt, connectors, peering, addresses, stop }))
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
        self.peering.stop().await;
        tracing::info!("stopped");
    }
}

/// Has the times that this node gives differ from those of others, once there are others.
async fn share_times(node: Arc<Node>, arrival: ArrivalClock, stop: CancellationToken) {
    tokio::select! {
        // A cluster has at most as many nodes as there are slots.
        () = node.has_company() => arrival.share(node.identity().node.0 as u8),
        () = stop.cancelled() => {}
    }
}

/// Opens the node, once the cluster that it is to join has taken it in.
async fn open(
    config: &Config,
    clock: Arc<dyn Clock>,
    peers: &Bound,
    options: &JoinOptions,
    waiting: &Waiting,
) -> Result<Arc<Node>> {
    let socket = peers.socket.try_clone().and_then(TcpListener::from_std);
    let listener = socket.context("cannot listen to other nodes")?;
    let (dir, disk) = (config.data_dir.clone(), Arc::new(RealDisk));
    join(dir.clone(), disk.clone(), &listener, options, |reason| waiting.tell(reason)).await?;
    drop(listener);
    waiting.open();
    Ok(Node::open(dir, config.storage.clone(), disk, clock).await?)
}
