//! What happens to every request: counted, logged where asked, and refused where a web page of
//! another site sent it.

use super::problem;
use crate::telemetry::Metrics;
use axum::{
    extract::{MatchedPath, Request, State},
    http::{Method, StatusCode, header},
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};

/// Whether requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AccessLog {
    /// One line a request.
    On,
    /// None.
    Off,
}

/// Counts a request by route and status, and how long it took to its answer's head.
pub(super) async fn count(
    State((metrics, access_log)): State<(Arc<Metrics>, AccessLog)>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let method = request.method().clone();
    let path = (access_log == AccessLog::On).then(|| request.uri().path().to_owned());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let answer = next.run(request).await;
    let elapsed = started.elapsed();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.request(route, &method, answer.status(), elapsed);
    if let Some(path) = path {
        let (status, elapsed_us) = (answer.status().as_u16(), elapsed.as_micros());
        tracing::info!(%method, path, status, elapsed_us, "request");
    }
    answer
}

/// Questions, which cost what a page of another site has no business to spend.
const QUESTIONS: [&str; 2] = ["/api/v1/query", "/api/v1/sql"];

/// Refuses requests that change or ask something and come from a web page of another site: without
/// tokens, any page that a user of this machine opens could send them.
pub(super) async fn same_site(
    State(origins): State<Arc<[String]>>,
    request: Request,
    next: Next,
) -> Response {
    let is_foreign = matches!(header(&request, "sec-fetch-site"), "cross-site" | "same-site");
    let is_question = QUESTIONS.contains(&request.uri().path());
    let only_reads = match *request.method() {
        Method::OPTIONS => true,
        Method::GET | Method::HEAD => !is_question,
        _ => false,
    };
    let origin = header(&request, header::ORIGIN.as_str());
    let is_allowed = origins.iter().any(|allowed| allowed == "*" || allowed == origin);
    if is_foreign && !only_reads && !is_allowed {
        let detail = "a web page of another site may not change or ask anything here; \
            http.cors_origins lists those that may"
            .to_owned();
        return problem::refuse(request.uri(), StatusCode::FORBIDDEN, "cross-site", detail);
    }
    next.run(request).await
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}
