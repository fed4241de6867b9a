//! What each route needs. A route without a line here is refused to everybody but who may do all.

use axum::http::Method;

/// What a route needs of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Right {
    /// Nothing, not even a token.
    Nothing,
    /// Any token; what it may reach is decided by the names in the request.
    Token,
    /// `ops`.
    Ops,
    /// `all`.
    All,
}

use Right::{All, Nothing, Ops, Token};

const RIGHTS: [(&str, &str, Right); 48] = [
    ("GET", "/", Nothing),
    ("GET", "/cluster", Nothing),
    ("GET", "/health", Nothing),
    ("GET", "/ping", Nothing),
    ("GET", "/ready", Nothing),
    ("GET", "/openapi.json", Nothing),
    ("GET", "/ca.pem", Nothing),
    ("GET", "/metrics", Ops),
    ("GET", "/api/v1/whoami", Token),
    ("GET", "/api/v1/node", Token),
    ("GET", "/api/v1/tables", Token),
    ("PUT", "/api/v1/tables/{table}", Token),
    ("DELETE", "/api/v1/tables/{table}", Token),
    ("POST", "/api/v1/tables/{table}/delete", Token),
    ("GET", "/api/v1/query", Token),
    ("POST", "/api/v1/query", Token),
    ("GET", "/api/v1/sql", Token),
    ("POST", "/api/v1/sql", Token),
    ("POST", "/api/v1/write", Token),
    ("POST", "/api/v2/write", Token),
    ("POST", "/write", Token),
    ("GET", "/query", Token),
    ("POST", "/query", Token),
    ("GET", "/api/v2/buckets", Token),
    ("POST", "/api/v1/compact", Ops),
    ("GET", "/api/v1/connectors", Ops),
    ("GET", "/api/v1/connectors/{name}", Ops),
    ("POST", "/api/v1/connectors/{name}/{steering}", Ops),
    // By name; the handler asks for more where the connector comes with the request.
    ("POST", "/api/v1/connectors/test", Ops),
    ("POST", "/api/v1/dead-letters/replay", Ops),
    ("POST", "/api/v1/connectors", All),
    ("DELETE", "/api/v1/connectors/{name}", All),
    ("GET", "/api/v1/cluster", All),
    ("POST", "/api/v1/cluster/join-secret", All),
    ("GET", "/api/v1/tablets", All),
    // To drain and to resume; whatever else may be ordered is for who may do all.
    ("POST", "/api/v1/nodes/{id}/{order}", Ops),
    ("DELETE", "/api/v1/nodes/{id}", All),
    ("DELETE", "/api/v1/backups/{backup}", All),
    ("GET", "/api/v1/backups/{backup}/catalog", All),
    ("POST", "/api/v1/backups/{backup}/tablets/{tablet}", All),
    ("GET", "/api/v1/backups/{backup}/tablets/{tablet}/files/{file}", All),
    ("GET", "/api/v1/audit", All),
    ("GET", "/api/v1/tokens", All),
    ("POST", "/api/v1/tokens", All),
    ("GET", "/api/v1/tokens/{name}", All),
    ("PATCH", "/api/v1/tokens/{name}", All),
    ("DELETE", "/api/v1/tokens/{name}", All),
    ("POST", "/api/v1/tokens/{name}/rotate", All),
];

/// What a request needs, by its route as the router knows it and the path that it has.
pub(super) fn of(method: &Method, route: &str, path: &str) -> Right {
    if route.starts_with("/page/") {
        return Nothing;
    }
    if route.starts_with("/api/v1/nodes/")
        && !path.ends_with("/drain")
        && !path.ends_with("/resume")
    {
        return All;
    }
    let method = if *method == Method::HEAD { "GET" } else { method.as_str() };
    stated(method, route).unwrap_or(All)
}

fn stated(method: &str, route: &str) -> Option<Right> {
    let is = |(known, path, _): &&(&str, &str, Right)| (*known, *path) == (method, route);
    RIGHTS.iter().find(is).map(|(_, _, right)| *right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::openapi;

    #[test]
    fn every_route_of_the_description_has_a_stated_right() {
        let description = serde_json::to_value(openapi::description()).unwrap();
        let paths = description["paths"].as_object().unwrap();
        assert!(paths.len() > 20);
        for (path, methods) in paths {
            for method in methods.as_object().unwrap().keys().filter(|key| key.len() < 8) {
                let method = method.to_ascii_uppercase();
                assert!(stated(&method, path).is_some(), "{method} {path} has no right");
            }
        }
    }

    #[test]
    fn what_is_not_stated_is_for_who_may_do_all() {
        let of = |method, route| super::of(&method, route, route);
        assert_eq!(of(Method::POST, "/api/v1/new"), All);
        assert_eq!(of(Method::PUT, "/health"), All);
        assert_eq!(of(Method::HEAD, "/health"), Nothing);
        assert_eq!(of(Method::GET, "/page/main.js"), Nothing);
        let order = |path| super::of(&Method::POST, "/api/v1/nodes/{id}/{order}", path);
        assert_eq!(order("/api/v1/nodes/2/drain"), Ops);
        assert_eq!(order("/api/v1/nodes/2/remove"), All);
    }
}
