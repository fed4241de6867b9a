//! Figures for Prometheus, read from where they are counted at each scrape.

use super::{IngestCounters, Memory, auth, cluster, connectors, page::Page, resident_bytes};
use crate::{auth::Keyring, front::FrontCounters, tls::TlsState};
use axum::http::{Method, StatusCode};
use oribi_cluster::{Node, PeersView};
use oribi_connectors::{Connectors, mqtt_listener::Counters};
use oribi_query::QueryEngine;
use parking_lot::RwLock;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    collections::HashSet,
    fmt::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Upper bounds of the buckets of request times, s.
const REQUEST_BOUNDS_S: [f64; 10] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: String,
}

/// All figures.
pub(crate) struct Metrics {
    registry: RwLock<Registry>,
    requests: Family<RequestLabels, Counter>,
    request_times: Family<RouteLabels, Histogram, fn() -> Histogram>,
}

impl Metrics {
    /// The figures of requests; the others come with [`Metrics::watch`].
    pub(crate) fn new() -> Metrics {
        let requests = Family::<RequestLabels, Counter>::default();
        let request_times = Family::new_with_constructor(new_histogram as fn() -> Histogram);
        let mut registry = Registry::default();
        registry.register(
            "oribi_http_requests",
            "HTTP requests by route, method and status",
            requests.clone(),
        );
        registry.register_with_unit(
            "oribi_http_request",
            "Time to the head of an answer by route",
            Unit::Seconds,
            request_times.clone(),
        );
        Metrics { registry: RwLock::new(registry), requests, request_times }
    }

    /// From now on shows what is counted there.
    pub(crate) fn watch(&self, sources: Sources) {
        self.registry.write().register_collector(Box::new(sources));
    }

    /// Counts a request.
    pub(crate) fn request(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
    ) {
        let labels = RequestLabels {
            method: known_method(method),
            route: route.to_owned(),
            status: status.as_u16(),
        };
        self.requests.get_or_create(&labels).inc();
        let labels = RouteLabels { route: route.to_owned() };
        self.request_times.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }

    /// All figures as OpenMetrics text.
    pub(crate) fn open_text(&self) -> String {
        let mut out = String::new();
        if let Err(error) = text::encode(&mut out, &self.registry.read()) {
            tracing::error!(%error, "cannot write the figures");
        }
        out
    }
}

/// OpenMetrics text in the older format of Prometheus (0.0.4), which has no units and no end, and
/// calls a counter by the name of its samples.
pub(crate) fn plain(open: &str) -> String {
    let mut counters: HashSet<&str> = HashSet::new();
    for line in open.lines() {
        let words = line.strip_prefix("# TYPE ").and_then(|words| words.split_once(' '));
        counters.extend(words.filter(|(_, kind)| *kind == "counter").map(|(name, _)| name));
    }
    let mut out = String::with_capacity(open.len());
    for line in open.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|lead| {
            let (name, rest) = line.strip_prefix(lead)?.split_once(' ')?;
            Some((lead, name, rest))
        });
        match described {
            Some((lead, name, rest)) if counters.contains(name) => {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "{lead}{name}_total {rest}");
            }
            None if line.starts_with("# UNIT ") || line == "# EOF" => {}
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

fn new_histogram() -> Histogram {
    Histogram::new(REQUEST_BOUNDS_S)
}

/// A client may call its method what it likes; figures do not grow by that.
fn known_method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

/// What is counted elsewhere.
pub(crate) struct Sources {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// The tokens.
    pub(crate) keyring: Arc<Keyring>,
    /// TLS, where it is spoken.
    pub(crate) tls: Option<Arc<TlsState>>,
    /// What it sees of others.
    pub(crate) peers: PeersView,
    /// The MQTT listener.
    pub(crate) mqtt: Arc<Counters>,
    /// The write path.
    pub(crate) ingest: Arc<IngestCounters>,
    /// The HTTP front door.
    pub(crate) front: Arc<FrontCounters>,
    /// Sources and sinks.
    pub(crate) connectors: Connectors,
    /// Memory, and who is told of it.
    pub(crate) memory: Memory,
    /// Questions.
    pub(crate) engine: QueryEngine,
    /// When the process started.
    pub(crate) started: Instant,
}

impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sources")
    }
}

impl Collector for Sources {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page::new(encoder);
        self.node(&mut page)?;
        cluster::encode(&self.peers, &mut page)?;
        self.doors(&mut page)?;
        auth::encode(&self.keyring, &self.node, &mut page)?;
        if let Some(tls) = &self.tls {
            auth::encode_tls(tls, &self.mqtt, &mut page)?;
        }
        connectors::encode(&self.connectors.list(), &mut page)?;
        self.memory.encode(&self.engine, &mut page)?;
        page.gauge("process_resident_memory_bytes", "Memory held", resident_bytes().unwrap_or(0))?;
        page.gauge("oribi_uptime_seconds", "Since the start", self.started.elapsed().as_secs())
    }
}

impl Sources {
    fn node(&self, page: &mut Page<'_>) -> fmt::Result {
        let stats = self.node.stats();
        page.gauge("oribi_tables", "Tables", stats.tables as u64)?;
        page.gauge("oribi_tablets", "Tablets hosted", stats.tablets as u64)?;
        let damaged = stats.damaged_tablets as u64;
        page.gauge("oribi_damaged_tablets", "Tablets set aside as damaged", damaged)?;
        let running = stats.running_replicas as u64;
        page.gauge("oribi_running_replicas", "Consensus instances that run", running)?;
        let sleeping = stats.sleeping_replicas as u64;
        let help = "Replicas of groups of several that sleep";
        page.gauge("oribi_sleeping_replicas", help, sleeping)?;
        let help = "Instances started of groups of several";
        page.counter("oribi_replica_wakes", help, stats.replica_wakes)?;
        let help = "Instances ended since their group of several was quiet";
        page.counter("oribi_replica_sleeps", help, stats.replica_sleeps)?;
        let damaged = stats.damaged_segments as u64;
        page.gauge("oribi_damaged_segments", "Segments in which a read met damage", damaged)?;
        page.gauge("oribi_trash_bytes", "Bytes of files to be removed", stats.trash_bytes)?;
        let troubles = self.node.troubles().len() as u64;
        page.gauge("oribi_failing_checks", "Checks of /health that fail", troubles)?;
        page.gauge("oribi_segments", "Segments of all tablets", stats.segments as u64)?;
        page.gauge("oribi_segment_bytes", "Bytes of all segments", stats.segment_bytes)?;
        page.gauge("oribi_memtable_rows", "Rows that are in memtables only", stats.memtable_rows)?;
        page.gauge("oribi_memtable_bytes", "Bytes of memtables", stats.memtable_bytes as u64)?;
        let cached = stats.page_cache_bytes as u64;
        page.gauge("oribi_page_cache_bytes", "Bytes of decoded pages held", cached)?;
        page.gauge("oribi_log_bytes", "Bytes of log files", stats.log_bytes)?;
        page.counter("oribi_log_syncs", "Synced frames of the log", stats.log_syncs)?;
        page.counter(
            "oribi_log_written_bytes",
            "Bytes written to the log",
            stats.log_written_bytes,
        )?;
        let sync_s = Duration::from_micros(stats.log_sync_us).as_secs_f64();
        page.seconds("oribi_log_sync_seconds", "Time in writes and syncs of the log", sync_s)?;
        page.counter("oribi_flushes", "Memtables written as segments", stats.flushes)?;
        page.counter("oribi_compactions", "Merges of segments", stats.compactions)?;
        page.gauge("oribi_disk_free_bytes", "Bytes free for data", stats.disk_free_bytes)?;
        let failed = u64::from(self.node.failure().is_some());
        page.gauge("oribi_failed", "1 once a disk failure stopped the writes", failed)
    }

    fn doors(&self, page: &mut Page<'_>) -> fmt::Result {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (ingest, mqtt, front) = (&self.ingest, &self.mqtt, &self.front);
        page.counter("oribi_ingest_rows", "Rows acked", now(&ingest.rows))?;
        page.counter("oribi_ingest_rejected_rows", "Rows refused", now(&ingest.rejected))?;
        page.counter("oribi_ingest_writes", "Writes acked", now(&ingest.writes))?;
        page.counter("oribi_ingest_failures", "Writes not acked", now(&ingest.failures))?;
        page.times(
            "oribi_ingest_write",
            "Time from a write's arrival to its ack",
            now(&ingest.write_us),
            &ingest.write_buckets,
        )?;
        page.gauge("oribi_mqtt_connections", "MQTT connections open", now(&mqtt.connections))?;
        page.counter("oribi_mqtt_messages", "MQTT messages taken in", now(&mqtt.messages))?;
        page.counter("oribi_mqtt_rows", "Rows stored by MQTT", now(&mqtt.rows))?;
        page.counter("oribi_mqtt_received_bytes", "Bytes from MQTT clients", now(&mqtt.bytes))?;
        page.counter("oribi_mqtt_dead_letters", "Dead letters", now(&mqtt.dead_letters))?;
        let waiting = "MQTT messages that wait for new tables or time ranges";
        page.gauge("oribi_mqtt_waiting_messages", waiting, now(&mqtt.waiting))?;
        let evicted = "MQTT connections and sessions ended to give their memory back";
        page.counter("oribi_mqtt_evicted", evicted, now(&mqtt.evicted))?;
        page.counter("oribi_mqtt_acks", "MQTT messages stored and acked", now(&mqtt.acks))?;
        page.times(
            "oribi_mqtt_ack",
            "Time from the start of a batch to its acks, by message",
            now(&mqtt.ack_us),
            &mqtt.ack_buckets,
        )?;
        page.gauge("oribi_http_connections", "HTTP connections open", now(&front.connections))?;
        page.counter("oribi_http_accepted_connections", "HTTP connections", now(&front.accepted))?;
        page.counter(
            "oribi_http_cut_connections",
            "HTTP connections closed as they took too long or others needed room",
            now(&front.cut),
        )?;
        page.counter(
            "oribi_http_refused_connections",
            "HTTP connections refused as all others were busy",
            now(&front.refused),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let open = "# HELP a_b How many.\n# TYPE a_b counter\na_b_total 3\n# HELP t_seconds Time.\n\
            # TYPE t_seconds histogram\n# UNIT t_seconds seconds\nt_seconds_sum 1.0\n# EOF\n";
        assert_eq!(
            plain(open),
            "# HELP a_b_total How many.\n# TYPE a_b_total counter\na_b_total 3\n\
             # HELP t_seconds Time.\n# TYPE t_seconds histogram\nt_seconds_sum 1.0\n"
        );
    }
}
