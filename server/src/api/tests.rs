//! What the real binary cannot be brought to by a test: a disk that fails, a start that lasts.

use super::*;
use crate::{
    audit::Audit,
    auth::{AdminFile, ClusterVault, Keyring},
    catalog_store::CatalogStore,
    front::FrontCounters,
    telemetry::{IngestCounters, Memory},
};
use axum::{
    body::Body,
    extract::Request,
    http::{Method, StatusCode},
};
use http_body_util::BodyExt;
use oribi_cluster::{Node, NodeOptions, PeersView, secured::KeyHolder};
use oribi_connectors::{Connectors, connector::Parts as ConnectorParts, mqtt_listener::Counters};
use oribi_ingest::{IngestOptions, Ingestor};
use oribi_model::{Clock, Pressure, SystemClock};
use oribi_query::QueryOptions;
use oribi_store::disk::sim::SimDisk;
use serde_json::Value;
use std::{path::Path, time::Instant};
use tokio_util::sync::CancellationToken;
use tower::Service;

const DATA_DIR: &str = "/data";

struct Answer {
    status: StatusCode,
    retry_after: Option<String>,
    body: Value,
}

async fn ask(router: &Router, method: Method, path: &str, body: &str) -> Answer {
    let request =
        Request::builder().method(method).uri(path).body(Body::from(body.to_owned())).unwrap();
    let answer = router.clone().call(request).await.unwrap();
    let retry_after = answer.headers().get(header::RETRY_AFTER);
    Answer {
        status: answer.status(),
        retry_after: retry_after.map(|value| value.to_str().unwrap().to_owned()),
        body: {
            let bytes = answer.into_body().collect().await.unwrap().to_bytes();
            serde_json::from_slice(&bytes).unwrap_or_default()
        },
    }
}

async fn open(disk: SimDisk) -> (Arc<Node>, Router) {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let node =
        Node::open(DATA_DIR.into(), NodeOptions::default(), Arc::new(disk), clock.clone()).await;
    let node = node.unwrap();
    let address = "127.0.0.1:1".parse().unwrap();
    let metrics = Arc::new(Metrics::new());
    let ingest: Arc<dyn Ingest> = Arc::new(Ingestor::new(node.clone(), IngestOptions::default()));
    let arrival = ArrivalClock::new(clock.clone());
    let engine = QueryEngine::new(node.clone(), QueryOptions::default());
    let admin = Admin {
        node: node.clone(),
        peers: PeersView::default(),
        keyring: Arc::new(Keyring::new(
            TokenMode::Off,
            node.clone(),
            clock.clone(),
            AdminFile::open(None).unwrap(),
            Audit::none(clock.clone()),
            None,
        )),
        vault: Arc::new(ClusterVault::new(
            node.clone(),
            Arc::new(KeyHolder::keeping(None, |_| Ok(()))),
        )),
        audit: Audit::none(clock.clone()),
        tls: None,
        query: QueryOptions::default(),
        clock: clock.clone(),
        addresses: Addresses { http: address, mqtt: address, node: address },
        started: Instant::now(),
        connectors: Connectors::start(
            Vec::new(),
            ConnectorParts {
                ingest: ingest.clone(),
                feed: node.clone(),
                windows: Arc::new(engine.clone()),
                arrival: arrival.clone(),
                store: Arc::new(CatalogStore::new(node.clone(), PeersView::default())),
                vault: Arc::new(ClusterVault::new(
                    node.clone(),
                    Arc::new(KeyHolder::keeping(None, |_| Ok(()))),
                )),
                ahead_ns_max: i64::MAX,
                files: "/nowhere".into(),
            },
            CancellationToken::new(),
        )
        .unwrap(),
        engine,
        write: ingest.clone(),
        mqtt_routes: Vec::new(),
        arrival: arrival.clone(),
        ahead_ns_max: i64::MAX,
        mqtt: Arc::new(Counters::default()),
        ingest: Arc::new(IngestCounters::default()),
        front: Arc::new(FrontCounters::default()),
        metrics: metrics.clone(),
        memory: Memory { bytes_max: u64::MAX, parts: Vec::new(), pressure: Pressure::default() },
        compacting: tokio::sync::Mutex::default(),
    };
    let router = router(Parts {
        admin: Arc::new(admin),
        ingest,
        arrival,
        engine: QueryEngine::new(node.clone(), QueryOptions::default()),
        metrics,
        options: HttpOptions::default(),
        reach: Reach::Machine,
        auth: AuthOptions::default(),
        places: Places::within(Path::new(DATA_DIR)),
    });
    (node, router)
}

#[tokio::test]
async fn a_failed_disk_stops_writes_and_is_told_while_rows_are_still_read() {
    let disk = SimDisk::new();
    let (node, router) = open(disk.clone()).await;
    assert_eq!(ask(&router, Method::GET, "/health", "").await.status, StatusCode::OK);
    let written = ask(&router, Method::POST, "/write", "m v=1i 1").await;
    assert_eq!(written.status, StatusCode::NO_CONTENT);
    disk.crash_at(disk.operations() + 1);
    let refused = ask(&router, Method::POST, "/write", "m v=2i 2").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.retry_after.is_some() && refused.body["message"].is_string());
    let health = ask(&router, Method::GET, "/health", "").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(health.body["status"], "fail");
    assert!(health.body["message"].as_str().unwrap().contains("disk failure"));
    let rows = ask(&router, Method::GET, "/api/v1/query?table=m&select=count(*)", "").await;
    assert_eq!(rows.body["rows"], serde_json::json!([[null, 1]]));
    let dropped = ask(&router, Method::DELETE, "/api/v1/tables/m", "").await;
    assert_eq!(dropped.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(dropped.body["detail"].is_string());
    for answer in [refused, health, dropped] {
        assert!(!answer.body.to_string().contains(DATA_DIR), "{}", answer.body);
    }
    node.stop().await;
}

#[tokio::test]
async fn a_node_that_starts_answers_and_asks_to_come_again() {
    let router = starting(
        Arc::new(Metrics::new()),
        &HttpOptions::default(),
        Reach::Machine,
        Waiting::default(),
    );
    let health = ask(&router, Method::GET, "/health", "").await;
    assert_eq!(health.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(health.body["message"].as_str().unwrap().contains("starting"));
    for (path, member) in [("/write", "message"), ("/api/v1/query", "detail"), ("/", "detail")] {
        let answer = ask(&router, Method::POST, path, "m v=1").await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(answer.retry_after.as_deref(), Some("1"), "{path}");
        assert!(answer.body[member].as_str().unwrap().contains("starting"), "{path}");
    }
}

#[tokio::test]
async fn a_defect_is_a_problem_of_one_request() {
    let routes = Router::new().route("/defect", get(async || -> &'static str { panic!("defect") }));
    let routes =
        finish(routes, Arc::new(Metrics::new()), &HttpOptions::default(), Doors::default());
    let answer = ask(&routes, Method::GET, "/defect", "").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.body["type"], "/problems/internal");
}
