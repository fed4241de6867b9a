//! What happens to every request: counted, logged where asked, and refused where a web page of
//! another site may have sent it.

use super::problem;
use crate::{
    config::{HttpOptions, Reach, TokenMode},
    telemetry::Metrics,
};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use std::{net::IpAddr, sync::Arc, time::Instant};

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

/// Has browsers take no answer for what it is not, show none within other sites, and hand none to them.
pub(super) async fn shield(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    let mut answer = next.run(request).await;
    for (name, value) in HEADERS {
        answer.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answer
}

/// Refuses requests whose line and headers are longer than `bytes_max`.
pub(super) async fn head(State(bytes_max): State<usize>, request: Request, next: Next) -> Response {
    let headers = request.headers().iter();
    let headers: usize = headers.map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
    let bytes = request.method().as_str().len() + uri + headers;
    if bytes <= bytes_max {
        return next.run(request).await;
    }
    let detail = format!(
        "request line and headers of {bytes} bytes; at most {bytes_max} are taken \
         (http.header_bytes_max). A long question goes in the body of a POST"
    );
    // The whole of it would only stand there again.
    let path = request.uri().path().parse().unwrap_or_default();
    problem::refuse(&path, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large", detail)
}

/// Who may come in while there is no authentication: without it any web page that a user of this
/// network opens could ask this node, in the user's name and from the user's machine.
#[derive(Debug, Default)]
pub(super) struct Doors {
    /// `http.hosts`.
    hosts: Vec<String>,
    /// `http.cors_origins`.
    origins: Vec<String>,
    /// This machine's name.
    own_name: String,
    reach: Reach,
    tokens: TokenMode,
}

/// Suffixes of names that no public name server gives.
const PRIVATE: [&str; 5] = [".local", ".internal", ".lan", ".home.arpa", ".svc.cluster.local"];
/// What a proxy adds to requests that it passes on.
const FORWARDED: [&str; 3] = ["x-forwarded-for", "forwarded", "x-real-ip"];
/// Paths that hold no rows and are asked by machines under all kinds of names.
const OPEN_PATHS: [&str; 2] = ["/health", "/metrics"];

/// Why a request is refused.
struct Refusal {
    status: StatusCode,
    code: &'static str,
    detail: String,
}

impl Doors {
    pub(super) fn new(options: &HttpOptions, reach: Reach, tokens: TokenMode) -> Doors {
        let own_name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Doors {
            hosts: options.hosts.iter().map(|host| host.to_ascii_lowercase()).collect(),
            origins: options.cors_origins.clone(),
            own_name: own_name.trim().to_ascii_lowercase(),
            reach,
            tokens,
        }
    }

    fn check(&self, request: &Request) -> Result<(), Refusal> {
        // A page that got here under another name has no token that would be sent by itself.
        if self.tokens == TokenMode::On || OPEN_PATHS.contains(&request.uri().path()) {
            return self.check_site(request);
        }
        let host = host(request);
        let name = host.map(name_of).unwrap_or_default();
        let is_listed = self.hosts.contains(&name);
        if host.is_some() && !is_listed && !self.is_own(&name) {
            let detail = format!(
                "{name:?} is no name of this node: a web page may have made it lead here; \
                 http.hosts lists the names that it has"
            );
            return Err(Refusal { status: StatusCode::MISDIRECTED_REQUEST, code: "host", detail });
        }
        if !is_listed && FORWARDED.iter().any(|name| request.headers().contains_key(*name)) {
            let detail = "a proxy makes this node reachable for others, and it asks nobody who \
                they are; http.hosts lists the names under which it may be reached so"
                .to_owned();
            return Err(Refusal { status: StatusCode::FORBIDDEN, code: "proxy", detail });
        }
        self.check_site(request)
    }

    /// Whether the node has this name without being told.
    fn is_own(&self, name: &str) -> bool {
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        bare.parse::<IpAddr>().is_ok()
            || !name.contains('.')
            || name.ends_with(".localhost")
            || name == self.own_name
            || (self.reach == Reach::Network && PRIVATE.iter().any(|suffix| name.ends_with(suffix)))
    }

    /// Refuses what a web page of another site sent: it could change rows, or ask heavy questions
    /// again and again without seeing an answer.
    fn check_site(&self, request: &Request) -> Result<(), Refusal> {
        let site = header(request, "sec-fetch-site");
        let origin = header(request, header::ORIGIN.as_str());
        let is_allowed = self.origins.iter().any(|allowed| allowed == "*" || allowed == origin);
        let is_foreign = match site {
            "cross-site" | "same-site" => {
                // A link that leads here shows its answer to the user alone.
                let is_link = header(request, "sec-fetch-mode") == "navigate"
                    && header(request, "sec-fetch-dest") == "document";
                !(is_link && request.method() == Method::GET)
            }
            "" => !origin.is_empty() && !is_of_host(origin, host(request)),
            _ => false,
        };
        if !is_foreign || is_allowed {
            return Ok(());
        }
        let detail = "a web page of another site may not ask here; \
            http.cors_origins lists those that may"
            .to_owned();
        Err(Refusal { status: StatusCode::FORBIDDEN, code: "cross-site", detail })
    }
}

/// Refuses requests that [`Doors`] do not let in.
pub(super) async fn doors(
    State(doors): State<Arc<Doors>>,
    request: Request,
    next: Next,
) -> Response {
    match doors.check(&request) {
        Ok(()) => next.run(request).await,
        Err(Refusal { status, code, detail }) => {
            problem::refuse(request.uri(), status, code, detail)
        }
    }
}

/// The host that was asked for, with its port; HTTP/2 has it in the URI.
fn host(request: &Request) -> Option<&str> {
    let named = request.headers().get(header::HOST).map(|value| value.to_str().unwrap_or("?"));
    named.or_else(|| request.uri().authority().map(Authority::as_str))
}

/// A host without its port and the dot of a full name, in lowercase.
fn name_of(host: &str) -> String {
    let end = match host.find(']') {
        Some(end) => end + 1,
        None => host.rfind(':').unwrap_or(host.len()),
    };
    host[..end].trim_end_matches('.').to_ascii_lowercase()
}

/// Whether an origin is that of the host that was asked for.
fn is_of_host(origin: &str, host: Option<&str>) -> bool {
    let (Some((scheme, of)), Some(host)) = (origin.split_once("://"), host) else { return false };
    let port = if scheme == "https" { ":443" } else { ":80" };
    let plain = |text: &str| text.strip_suffix(port).unwrap_or(text).to_ascii_lowercase();
    plain(of) == plain(host)
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn status(doors: &Doors, method: &str, path: &str, headers: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::empty()).unwrap();
        doors.check(&request).map_or_else(|refusal| refusal.status.as_u16(), |()| 200)
    }

    fn doors(hosts: &[&str], origins: &[&str]) -> Doors {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let options = HttpOptions {
            hosts: owned(hosts),
            cors_origins: owned(origins),
            ..HttpOptions::default()
        };
        Doors {
            own_name: "box.example".into(),
            ..Doors::new(&options, Reach::Machine, TokenMode::Off)
        }
    }

    #[test]
    fn the_host_decides_as_after_rebinding_a_page_is_of_the_same_origin() {
        let closed = doors(&["db.example"], &[]);
        for host in [
            "127.0.0.1:8640",
            "[::1]:8640",
            "192.168.1.7",
            "localhost:8640",
            "LOCALHOST",
            "x.localhost.",
            "oribi:8640",
            "box.example",
            "db.example:8640",
            "DB.Example.",
        ] {
            assert_eq!(status(&closed, "GET", "/api/v1/sql", &[("host", host)]), 200, "{host}");
        }
        for host in
            ["evil.example:8640", "127.0.0.1.evil.example", "x.local", "localhost.evil.example"]
        {
            let rebound = [("host", host), ("sec-fetch-site", "same-origin")];
            for (method, path) in
                [("GET", "/api/v1/sql"), ("DELETE", "/api/v1/tables/t"), ("POST", "/write")]
            {
                assert_eq!(status(&closed, method, path, &rebound), 421, "{host}");
            }
            assert_eq!(status(&closed, "GET", "/health", &rebound), 200);
            assert_eq!(status(&closed, "GET", "/metrics", &rebound), 200);
        }
        assert_eq!(status(&closed, "GET", "/api/v1/sql", &[]), 200);
        assert_eq!(status(&closed, "GET", "http://evil.example/api/v1/sql", &[]), 421);
        let open = Doors { reach: Reach::Network, ..doors(&[], &[]) };
        assert_eq!(status(&open, "GET", "/x", &[("host", "box.local")]), 200);
        assert_eq!(status(&open, "GET", "/x", &[("host", "evil.example")]), 421);
    }

    #[test]
    fn what_a_proxy_passes_on_needs_a_host_that_is_listed() {
        let closed = doors(&["db.example"], &[]);
        for name in ["X-Forwarded-For", "Forwarded", "X-Real-IP"] {
            let through = |host| [("host", host), (name, "10.0.0.1")];
            assert_eq!(status(&closed, "GET", "/x", &through("127.0.0.1:8640")), 403);
            assert_eq!(status(&closed, "GET", "/x", &through("db.example")), 200);
        }
    }

    #[test]
    fn pages_of_other_sites_neither_change_nor_read() {
        let closed = doors(&[], &["https://board.example"]);
        let host = ("host", "127.0.0.1:8640");
        for method in ["GET", "POST", "DELETE", "OPTIONS"] {
            for more in [
                ("sec-fetch-site", "cross-site"),
                ("sec-fetch-site", "same-site"),
                ("origin", "http://evil.example"),
                ("origin", "http://127.0.0.1:3000"),
                ("origin", "null"),
            ] {
                assert_eq!(status(&closed, method, "/query", &[host, more]), 403, "{more:?}");
            }
            for more in [
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "none"),
                ("origin", "http://127.0.0.1:8640"),
                ("origin", "https://board.example"),
                ("accept", "*/*"),
            ] {
                assert_eq!(status(&closed, method, "/query", &[host, more]), 200, "{more:?}");
            }
        }
        let link = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert_eq!(status(&closed, "GET", "/", &link), 200);
        assert_eq!(status(&closed, "POST", "/write", &link), 403);
        let frame = [
            host,
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
        ];
        assert_eq!(status(&closed, "GET", "/", &frame), 403);
        let board = [host, ("origin", "https://board.example"), ("sec-fetch-site", "cross-site")];
        assert_eq!(status(&closed, "POST", "/write", &board), 200);
    }
}
