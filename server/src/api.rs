//! The HTTP interface as a whole: writes, questions, administration.

mod admin;
mod audited;
mod backups;
mod bodies;
mod cluster;
mod connectors;
mod dead_letters;
mod delete;
mod drain;
mod gate;
mod guard;
mod health;
mod join_secrets;
mod kept_open;
mod node;
mod nodes;
mod openapi;
mod params;
mod places;
mod problem;
mod rights;
mod schema;
mod tables;
mod tokens;

pub(crate) use admin::{Addresses, Admin};
pub(crate) use bodies::Bodies;
pub(crate) use health::Waiting;
pub(crate) use places::Places;

use gate::{Gate, MetricsDoor};
use guard::Doors;

use crate::{
    config::{AuthOptions, HttpOptions, Reach, TokenMode},
    page,
    telemetry::Metrics,
};
use axum::{
    Router,
    extract::DefaultBodyLimit,
    http::{HeaderName, HeaderValue, Method, header},
    middleware::{from_fn, from_fn_with_state},
    routing::{delete, get, post, put},
};
use oribi_connectors::write_router;
use oribi_ingest::Ingest;
use oribi_model::ArrivalClock;
use oribi_query::QueryEngine;
use std::{sync::Arc, time::Duration};
use tower_http::{
    CompressionLevel,
    catch_panic::CatchPanicLayer,
    compression::{CompressionLayer, DefaultPredicate, Predicate, predicate::SizeAbove},
    cors::{AllowOrigin, CorsLayer},
    timeout::RequestBodyTimeoutLayer,
};

/// What the routes need.
pub(crate) struct Parts {
    /// The node and what is told of it.
    pub(crate) admin: Arc<Admin>,
    /// The write path.
    pub(crate) ingest: Arc<dyn Ingest>,
    /// Times of rows without one.
    pub(crate) arrival: ArrivalClock,
    /// The read path.
    pub(crate) engine: QueryEngine,
    /// What is counted of requests.
    pub(crate) metrics: Arc<Metrics>,
    /// Bounds.
    pub(crate) options: HttpOptions,
    /// Which names the node has.
    pub(crate) reach: Reach,
    /// Who is asked for a token.
    pub(crate) auth: AuthOptions,
    /// What answers do not tell.
    pub(crate) places: Places,
}

/// All routes of a node that is open.
pub(crate) fn router(parts: Parts) -> Router {
    let Parts { admin, ingest, arrival, engine, metrics, options, reach, auth, places } = parts;
    let metrics_door = if auth.metrics_open { MetricsDoor::Open } else { MetricsDoor::Ops };
    let keyring = admin.keyring.clone();
    let mode = keyring.mode();
    let audit = admin.audit.clone();
    let gate = Arc::new(Gate::new(keyring, metrics_door));
    let bodies = Bodies::new(&options, admin.memory.pressure.clone());
    let writes = write_router(ingest, arrival, options.write_options())
        .layer(from_fn_with_state(bodies, bodies::bound));
    let asked = admin_router(admin)
        .merge(oribi_query::router(engine))
        .layer(RequestBodyTimeoutLayer::new(options.body_idle()));
    let routes = writes
        .merge(asked)
        .merge(page::router())
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(audit, audited::audited))
        .layer(from_fn_with_state(gate, gate::gate))
        .layer(from_fn_with_state(places, places::leave_out));
    finish(routes, metrics, &options, Doors::new(&options, reach, mode))
}

/// The routes of a node that is not open yet: all but `/health` is to be tried again.
pub(crate) fn starting(
    metrics: Arc<Metrics>,
    options: &HttpOptions,
    reach: Reach,
    waiting: Waiting,
) -> Router {
    let routes = Router::new()
        .route("/health", get(health::starting))
        .with_state(waiting)
        .fallback(problem::starting)
        .method_not_allowed_fallback(problem::method_not_allowed);
    // Nothing is told yet but that it starts.
    finish(routes, metrics, options, Doors::new(options, reach, TokenMode::Off))
}

fn admin_router(admin: Arc<Admin>) -> Router {
    Router::new()
        .route("/health", get(health::health))
        .route("/metrics", get(node::metrics))
        .route("/ca.pem", get(node::authority))
        .route("/openapi.json", get(openapi::document))
        .route("/api/v1/node", get(node::node))
        .route("/api/v1/whoami", get(tokens::whoami))
        .route("/api/v1/tokens", get(tokens::list).post(tokens::create))
        .route(
            "/api/v1/tokens/{name}",
            get(tokens::get).patch(tokens::patch).delete(tokens::revoke),
        )
        .route("/api/v1/tokens/{name}/rotate", post(tokens::rotate))
        .route("/api/v1/audit", get(audited::list))
        .route("/api/v1/cluster", get(cluster::cluster))
        .route("/api/v1/cluster/join-secret", post(join_secrets::create))
        .route("/api/v1/tablets", get(cluster::tablets))
        .route("/api/v1/nodes/{id}", axum::routing::delete(nodes::remove))
        .route("/api/v1/nodes/{id}/{order}", post(nodes::order))
        .route("/api/v1/compact", post(node::compact))
        .route("/api/v1/backups/{backup}", delete(backups::end))
        .route("/api/v1/backups/{backup}/catalog", get(backups::catalog))
        .route("/api/v1/backups/{backup}/tablets/{tablet}", post(backups::hold))
        .route("/api/v1/backups/{backup}/tablets/{tablet}/files/{file}", get(backups::file))
        .route("/api/v1/tables", get(tables::list))
        .route("/api/v1/tables/{table}", put(tables::put).delete(tables::drop))
        .route("/api/v1/tables/{table}/delete", post(delete::rows))
        .route("/api/v1/connectors", get(connectors::list).post(connectors::put))
        .route("/api/v1/dead-letters/replay", post(dead_letters::put_through))
        .route("/api/v1/connectors/test", post(connectors::test))
        .route("/api/v1/connectors/{name}", get(connectors::get).delete(connectors::drop))
        .route("/api/v1/connectors/{name}/{steering}", post(connectors::steer))
        .layer(DefaultBodyLimit::max(params::BODY_BYTES_MAX))
        .with_state(admin)
}

/// What holds for every route.
fn finish(routes: Router, metrics: Arc<Metrics>, options: &HttpOptions, doors: Doors) -> Router {
    let routes = routes
        .layer(CatchPanicLayer::new())
        .layer(from_fn(problem::reshape))
        .layer(from_fn(drain::rest))
        .layer(from_fn_with_state(Arc::new(doors), guard::doors))
        .layer(from_fn_with_state(options.header_bytes_max, guard::head))
        .layer(compression());
    let routes = match cors(&options.cors_origins) {
        Some(cors) => routes.layer(cors),
        None => routes,
    };
    let access_log = if options.access_log { guard::AccessLog::On } else { guard::AccessLog::Off };
    let routes = routes.layer(from_fn(guard::shield));
    routes.layer(from_fn_with_state((metrics, access_log), guard::count))
}

/// Many clients ask for gzip without need; it must not cost more than the answer did.
fn compression() -> CompressionLayer<impl Predicate> {
    const BYTES_MIN: u64 = 1_024;
    CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        .compress_when(DefaultPredicate::new().and(SizeAbove::new(BYTES_MIN)))
}

fn cors(origins: &[String]) -> Option<CorsLayer> {
    const AGE_MAX: Duration = Duration::from_secs(3_600);
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()))
    };
    let headers: [HeaderName; 4] =
        [header::CONTENT_TYPE, header::CONTENT_ENCODING, header::ACCEPT, header::AUTHORIZATION];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
            .allow_headers(headers)
            .max_age(AGE_MAX),
    )
}

#[cfg(test)]
mod tests;
