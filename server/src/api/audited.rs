//! What changes something is noted, by whom and with what outcome; and the path that shows it.

use super::{
    admin::Admin,
    params::Given,
    problem::{self, ApiError, Result},
};
use crate::{
    audit::{Audit, Record},
    front::Caller,
    length,
};
use axum::{
    Json,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode},
    middleware::Next,
    response::Response,
};
use oribi_access::{Access, Deed};
use oribi_query::http::Problem;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// What routes do that change something.
const EVENTS: [(&str, &str, &str); 19] = [
    ("PUT", "/api/v1/tables/{table}", "table_altered"),
    ("DELETE", "/api/v1/tables/{table}", "table_dropped"),
    ("POST", "/api/v1/tables/{table}/delete", "rows_deleted"),
    ("POST", "/api/v1/compact", "compacted"),
    ("POST", "/api/v1/connectors", "connector_made"),
    ("DELETE", "/api/v1/connectors/{name}", "connector_dropped"),
    ("POST", "/api/v1/connectors/{name}/{steering}", "connector_steered"),
    ("POST", "/api/v1/dead-letters/replay", "dead_letters_replayed"),
    ("POST", "/api/v1/cluster/join-secret", "join_secret_made"),
    ("POST", "/api/v1/nodes/{id}/{order}", "node_ordered"),
    ("DELETE", "/api/v1/nodes/{id}", "node_removed"),
    ("GET", "/api/v1/backups/{backup}/catalog", "backup_begun"),
    ("DELETE", "/api/v1/backups/{backup}", "backup_ended"),
    ("POST", "/api/v1/tokens", "token_made"),
    ("PATCH", "/api/v1/tokens/{name}", "token_changed"),
    ("DELETE", "/api/v1/tokens/{name}", "token_revoked"),
    ("POST", "/api/v1/tokens/{name}/rotate", "token_rotated"),
    // Only some of what is said there changes anything, and says so.
    ("POST", "/query", ""),
    ("GET", "/query", ""),
];

/// Bytes of what an entry is about.
const OBJECT_BYTES_MAX: usize = 1_024;
const REQUEST_ID: &str = "x-request-id";

/// Notes requests that change something. Where that could not be noted they are refused.
pub(super) async fn audited(
    State(audit): State<Arc<Audit>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let Some(event) = route.and_then(|route| event_of(request.method(), route)) else {
        return next.run(request).await;
    };
    let id = request_id(request.headers());
    let mut entry = Record { via: "http", request_id: Some(id.clone()), ..Record::default() };
    entry.from = request.extensions().get::<Caller>().map(|caller| caller.0);
    if let Some(Access::Of(passport)) = request.extensions().get::<Access>() {
        (entry.who, entry.token_id) = (Some(passport.token.name.clone()), Some(passport.token.id));
    }
    let uri = request.uri().clone();
    if !event.is_empty()
        && let Err(wrong) = audit.reserve().await
    {
        tracing::error!(%wrong, "the audit log cannot be written; changes are refused");
        let detail = format!("the audit log cannot be written, and nothing was changed: {wrong}");
        return problem::refuse(&uri, StatusCode::INSUFFICIENT_STORAGE, "storage", detail);
    }
    let mut answer = next.run(request).await;
    let deed = answer.extensions_mut().remove::<Deed>();
    entry.event = deed.as_ref().and_then(|deed| deed.event).unwrap_or(event);
    if entry.event.is_empty() {
        return answer;
    }
    entry.object = Some(cut(deed.map_or_else(|| uri.path().to_owned(), |deed| deed.object)));
    let status = answer.status();
    entry.result = if status.is_success() { "ok" } else { "refused" };
    entry.reason = (!status.is_success()).then(|| status.to_string());
    if let Err(wrong) = audit.note(entry).await {
        tracing::error!(%wrong, "a change is not in the audit log");
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

fn event_of(method: &Method, route: &str) -> Option<&'static str> {
    let is = |(known, path, _): &&(&str, &str, &str)| (*known, *path) == (method.as_str(), route);
    EVENTS.iter().find(is).map(|(_, _, event)| *event)
}

/// That of the client where it gives one, or else one of our own.
fn request_id(headers: &HeaderMap) -> String {
    const CHARS_MAX: usize = 64;
    let is_plain = |text: &&str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(is_plain);
    match given.filter(|given| (1..=CHARS_MAX).contains(&given.len())) {
        Some(given) => given.to_owned(),
        None => {
            let mut bytes = [0; 8];
            // Without random bytes it is one of many alike.
            let _ = SystemRandom::new().fill(&mut bytes);
            format!("{:016x}", u64::from_be_bytes(bytes))
        }
    }
}

fn cut(mut object: String) -> String {
    object.truncate(object.floor_char_boundary(OBJECT_BYTES_MAX));
    object
}

/// What has happened.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditView {
    /// The newest entries, oldest first.
    entries: Vec<Value>,
}

/// Who has changed what on this node, and who was not let in.
#[utoipa::path(
    get,
    path = "/api/v1/audit",
    tag = "tokens",
    params(
        ("since" = Option<String>, Query, description = "how far back, such as 1h; all that is kept where absent"),
        ("limit" = Option<usize>, Query, description = "the newest so many, at most 10,000 (1,000)"),
    ),
    responses(
        (status = 200, description = "the entries", body = AuditView),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
pub(super) async fn list(State(admin): State<Arc<Admin>>, given: Given) -> Result<Json<AuditView>> {
    const LIMIT_MAX: usize = 10_000;
    let params = given.params(&["since", "limit"])?;
    let since_ns = match params.text("since")? {
        Some(text) => {
            let length = length::parse_duration(text);
            let length = length.map_err(|wrong| ApiError::parameter("since", wrong))?;
            let ns = i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
            admin.clock.now_ns().saturating_sub(ns)
        }
        None => 0,
    };
    let limit = match params.text("limit")?.map(str::parse::<usize>) {
        None => 1_000,
        Some(Ok(limit)) if (1..=LIMIT_MAX).contains(&limit) => limit,
        Some(_) => {
            let expected = format!("expected a number from 1 to {LIMIT_MAX}");
            return Err(ApiError::parameter("limit", expected));
        }
    };
    let entries = admin.audit.read(since_ns, limit).await.map_err(|wrong| {
        let detail = format!("cannot read the audit log: {wrong}");
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "storage", detail)
    })?;
    Ok(Json(AuditView { entries }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi;

    /// Who adds a route that changes something states here what it does.
    #[test]
    fn every_route_that_may_change_something_is_noted() {
        // They store or ask for rows, or try something out.
        const OTHERS: [&str; 8] = [
            "/api/v1/write",
            "/api/v2/write",
            "/write",
            "/api/v1/query",
            "/api/v1/sql",
            "/query",
            "/api/v1/connectors/test",
            "/api/v1/backups/{backup}/tablets/{tablet}",
        ];
        let description = serde_json::to_value(openapi::description()).unwrap();
        for (path, methods) in description["paths"].as_object().unwrap() {
            for method in methods.as_object().unwrap().keys().filter(|key| key.len() < 8) {
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                let may_change = method != Method::GET && !OTHERS.contains(&path.as_str());
                assert!(!may_change || event_of(&method, path).is_some(), "{method} {path}");
            }
        }
    }

    #[test]
    fn an_id_of_the_client_is_taken_where_it_is_plain() {
        let of = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(value).unwrap());
            request_id(&headers)
        };
        assert_eq!(of("a-1.b_2"), "a-1.b_2");
        for odd in ["", "two words", "\"", &"x".repeat(65)] {
            assert_ne!(of(odd), odd);
            assert_eq!(of(odd).len(), 16);
        }
    }
}
