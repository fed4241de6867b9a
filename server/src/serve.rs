//! A running server: what is started in which order, and stopped in which.

use crate::{
    api::{self, Addresses, Admin, Parts, Places, Waiting},
    audit::{Audit, Record, members},
    auth::{
        AdminFile, ClusterVault, Keyring, open_cluster_key, open_node_key, read_join_secret,
        write_new,
    },
    catalog_store::CatalogStore,
    config::{Config, TokenMode, memory_parts},
    front::{Bounds, Entry, FrontDoor},
    listen::{Bound, Listeners},
    posture::{Joins, Posture, Tls},
    telemetry::{CountedIngest, IngestCounters, Memory, Metrics, Sources},
    tls::TlsState,
};
use anyhow::{Context, Result};
use oribi_cluster::{
    JoinOptions, Node, Peering, join, renew,
    secured::{Admission, KeyHolder, NodeKey},
    vet,
};
use oribi_connectors::{
    Connectors, MqttListener,
    connector::Parts as ConnectorParts,
    dead_letter::WithDeadLetters,
    mqtt_listener::{Doors, TlsDoor},
};
use oribi_ingest::{Ingest, Ingestor};
use oribi_model::{ArrivalClock, Clock, Pressure, SystemClock};
use oribi_query::QueryEngine;
use oribi_store::disk::RealDisk;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

/// A node with its listeners, data served.
pub(crate) struct Server {
    front: FrontDoor,
    mqtt: MqttListener,
    connectors: Connectors,
    peering: Peering,
    addresses: Addresses,
    audit: Audited,
    stop: CancellationToken,
}

/// The audit log, and what joins refusals for it.
struct Audited {
    audit: Arc<Audit>,
    joining: JoinHandle<()>,
    /// What the listeners ask for.
    mode: String,
}

impl Audited {
    async fn note(&self, event: &'static str) {
        let object = Some(self.mode.clone());
        let entry = Record { event, via: "node", object, result: "ok", ..Record::default() };
        if let Err(wrong) = self.audit.note(entry).await {
            tracing::error!(%wrong, "the audit log cannot be written; changes will be refused");
        }
    }
}

/// What keeps others out, as the configuration asks for it.
pub(crate) struct Guarded {
    posture: Posture,
    tls: Option<Arc<TlsState>>,
    admin_file: AdminFile,
    admission: Admission,
    cluster_key: KeyHolder,
}

impl Guarded {
    /// Reads what it takes.
    ///
    /// # Errors
    /// Listeners that would be open to others, or files that cannot be used.
    pub(crate) fn of(config: &Config) -> Result<Guarded> {
        let posture = Posture::of(config)?;
        let path = config.auth.admin_token_file(&config.data_dir);
        let shown = path.as_deref().map(Path::display).map(|path| path.to_string());
        let admin_file = AdminFile::open(path).with_context(|| {
            format!("cannot use the admin token file {}", shown.unwrap_or_default())
        })?;
        let wants_tls = posture.tls == Tls::On || config.mqtts_listen.is_some();
        let tls = wants_tls.then(|| TlsState::open(&config.tls, &config.data_dir));
        let secret = config.cluster.join_secret_file.as_deref().map(read_join_secret);
        let admission = match (secret.transpose()?, posture.joins) {
            (Some(secret), _) => Admission::Secret(secret),
            (None, Joins::Loopback) => Admission::Loopback,
            (None, Joins::Anybody) => Admission::Anybody,
            (None, Joins::Nobody) => Admission::Nobody,
        };
        let cluster_key = open_cluster_key(&config.secrets, &config.data_dir)?;
        let tls = tls.transpose()?.map(Arc::new);
        Ok(Guarded { posture, tls, admin_file, admission, cluster_key })
    }
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
        let Guarded { posture, tls, admin_file, admission, cluster_key } = Guarded::of(&config)?;
        posture.warn(&config);
        let cluster_key = Arc::new(cluster_key);
        let key = node_key(config.data_dir.clone()).await?;
        let mut join_options =
            listeners.join_options(&config.cluster, key, admission, cluster_key.clone());
        let Listeners { http, mqtt, node: peers, mqtts } = listeners;
        let addresses = Addresses { http: http.address, mqtt: mqtt.address, node: peers.address };
        tracing::info!(
            http = %addresses.http, mqtt = %addresses.mqtt, node = %addresses.node,
            mqtts = mqtts.as_ref().map(|bound| bound.address.to_string()), "listening"
        );
        let metrics = Arc::new(Metrics::new());
        let waiting = Waiting::default();
        let http_tls = tls.clone().filter(|_| posture.tls == Tls::On);
        let front = FrontDoor::open(
            http.socket,
            Entry { plain: posture.plain, tls: http_tls.clone() },
            api::starting(metrics.clone(), &config.http, config.reach(), waiting.clone()),
            Bounds::of(&config.http),
            stop.clone(),
        )
        .context("cannot serve http")?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let open = open(&config, clock.clone(), &peers, &mut join_options, &waiting);
        let node = tokio::select! {
            opened = open => opened?,
            () = stop.cancelled() => return Ok(None),
        };
        let peering = Peering::start(node.clone(), peers.socket, join_options)
            .context("cannot listen to other nodes")?;
        let arrival = ArrivalClock::new(clock.clone());
        node.keep_arrivals(&arrival);
        tokio::spawn(share_times(node.clone(), arrival.clone(), stop.clone()));
        if let Some(tls) = &tls {
            load(tls.clone()).await?;
        }
        let dir = config.data_dir.join("audit");
        let audit = Audit::open(&dir, &config.audit, node.identity().node, clock.clone());
        let joining = tokio::spawn(audit.clone().watch(stop.clone()));
        tokio::spawn(members::watch(audit.clone(), node.clone(), stop.clone()));
        if let Some(tls) = &tls {
            tokio::spawn(tls.clone().watch(audit.clone(), stop.clone()));
        }
        let file = first_token(posture, &node, admin_file)?;
        let keyring = Keyring::new(
            posture.tokens,
            node.clone(),
            clock.clone(),
            file,
            audit.clone(),
            tls.clone(),
        );
        let keyring = Arc::new(keyring);
        tokio::spawn(keyring.clone().watch(stop.clone()));
        let counters = Arc::new(IngestCounters::default());
        let memory = Memory {
            bytes_max: config.memory_bytes_max,
            parts: memory_parts(&config).collect(),
            pressure: Pressure::default(),
        };
        tokio::spawn(memory.clone().watch(node.clone(), stop.clone()));
        let pressure = memory.pressure.clone();
        let ingestor = Ingestor::under(pressure.clone(), node.clone(), config.ingest.clone());
        let ingest: Arc<dyn Ingest> = Arc::new(CountedIngest::new(ingestor, counters.clone()));
        let doors = mqtt_doors(mqtt, mqtts, tls.as_ref(), keyring.clone())?;
        let mqtt = MqttListener::start(
            doors,
            config.mqtt.clone(),
            ingest.clone(),
            node.clone(),
            arrival.clone(),
            stop.clone(),
        )?;
        let read = WithDeadLetters::over(node.clone());
        let engine = QueryEngine::with_clock(read, config.query.clone(), clock.clone())
            .on(node.identity().node)
            .under(pressure);
        node.answer_by(Arc::new(engine.clone()));
        let vault = Arc::new(ClusterVault::new(node.clone(), cluster_key));
        let connectors = Connectors::start(
            config.connectors.clone(),
            ConnectorParts {
                ingest: ingest.clone(),
                feed: node.clone(),
                windows: Arc::new(engine.clone()),
                arrival: arrival.clone(),
                store: Arc::new(CatalogStore::new(node.clone(), peering.view())),
                vault: vault.clone(),
                ahead_ns_max: config.mqtt.ahead_ns_max,
                files: config.connector_files(),
            },
            stop.clone(),
        )?;
        metrics.watch(Sources {
            node: node.clone(),
            peers: peering.view(),
            keyring: keyring.clone(),
            tls,
            mqtt: mqtt.counters().clone(),
            ingest: counters.clone(),
            front: front.counters().clone(),
            connectors: connectors.clone(),
            memory: memory.clone(),
            engine: engine.clone(),
            started,
        });
        let admin = Arc::new(Admin {
            node: node.clone(),
            peers: peering.view(),
            keyring: keyring.clone(),
            vault,
            audit: audit.clone(),
            tls: http_tls,
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
            memory,
            compacting: tokio::sync::Mutex::default(),
        });
        let options = config.http.clone();
        let (reach, auth) = (config.reach(), config.auth.clone());
        let places = Places::within(&config.data_dir);
        let parts = Parts { admin, ingest, arrival, engine, metrics, options, reach, auth, places };
        front.serve(api::router(parts));
        let (data_dir, open_ms) = (config.data_dir.display(), started.elapsed().as_millis());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), %data_dir, open_ms, "serving");
        let audit = Audited { audit, joining, mode: posture.to_string() };
        audit.note("started").await;
        Ok(Some(Server { front, mqtt, connectors, peering, addresses, audit, stop }))
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
        self.audit.note("stopped").await;
        // It ends with `stop`, and has written what it had by then.
        if self.audit.joining.await.is_err() {
            tracing::error!("what joins refused logins ended abnormally");
        }
        tracing::info!("stopped");
    }
}

/// The admin's file. Where nobody could get in, a token is made there that may do everything.
fn first_token(posture: Posture, node: &Node, file: AdminFile) -> Result<AdminFile> {
    let has_all = file.holds_one() || node.catalog().tokens().any(|token| token.rights.all);
    if let (TokenMode::On, Some(path)) = (posture.tokens, file.path()) {
        let shown = path.display();
        if !has_all {
            write_new(path).with_context(|| format!("cannot write the admin token {shown}"))?;
            file.look();
        }
        tracing::info!(path = %shown, "tokens on; admin token in {shown}");
    }
    Ok(file)
}

/// The key of the node, once its directory is known to be one.
async fn node_key(data_dir: PathBuf) -> Result<Arc<NodeKey>> {
    let opening = tokio::task::spawn_blocking(move || {
        vet(&RealDisk, &data_dir)?;
        open_node_key(&data_dir.join("node.key"))
    });
    Ok(Arc::new(opening.await.context("cannot open the key of the node")??))
}

/// Has a certificate at hand, and says which.
async fn load(tls: Arc<TlsState>) -> Result<()> {
    let described = tokio::task::spawn_blocking(move || {
        if tls.describe().is_none() {
            tls.load()?;
        }
        Ok::<_, anyhow::Error>(tls.describe())
    });
    if let Some((sha256, authority)) = described.await.context("cannot load the certificate")?? {
        let authority = authority.map(|path| path.display().to_string()).unwrap_or_default();
        tracing::info!(sha256, authority, "tls on");
    }
    Ok(())
}

/// Where devices come in.
fn mqtt_doors(
    plain: Bound,
    secured: Option<Bound>,
    tls: Option<&Arc<TlsState>>,
    keeper: Arc<Keyring>,
) -> Result<Doors> {
    let handshakes = tls.and_then(TlsState::mqtt);
    let tls = match (secured, handshakes) {
        (Some(bound), Some(handshakes)) => Some(TlsDoor { socket: bound.socket, handshakes }),
        (Some(_), None) => anyhow::bail!("there is no certificate for mqtt over tls"),
        (None, _) => None,
    };
    Ok(Doors { plain: plain.socket, tls, keeper })
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
    options: &mut JoinOptions,
    waiting: &Waiting,
) -> Result<Arc<Node>> {
    let socket = peers.socket.try_clone().and_then(TcpListener::from_std);
    let listener = socket.context("cannot listen to other nodes")?;
    let (dir, disk) = (config.data_dir.clone(), Arc::new(RealDisk));
    join(dir.clone(), disk.clone(), &listener, options, |reason| waiting.tell(reason)).await?;
    drop(listener);
    waiting.open();
    let storage = &config.storage;
    let opened = Node::open(dir.clone(), storage.clone(), disk.clone(), clock.clone()).await;
    let Err(error) = opened else { return Ok(opened?) };
    if !is_damaged(&error, &dir.join("log")) {
        return Err(error.into());
    }
    tracing::error!(%error, "the log cannot be read; asking the other nodes to do without it");
    options.replaces = renew(dir.clone(), disk.clone(), options).await?;
    match options.replaces {
        Some(_) => Ok(Node::open(dir, storage.clone(), disk, clock).await?),
        None => Err(error.into()),
    }
}

fn is_damaged(error: &oribi_cluster::Error, log: &Path) -> bool {
    let oribi_cluster::Error::Store(oribi_store::Error::Corrupt { path, .. }) = error else {
        return false;
    };
    path.starts_with(log)
}
