//! Who asks, told before anything of a request's body is read.

use super::{
    kept_open, problem,
    rights::{self, Right},
};
use crate::{auth::Keyring, config::TokenMode, front::Caller};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderValue, StatusCode, Uri, header},
    middleware::Next,
    response::Response,
};
use oribi_access::{
    Access, BadSecret, Denied, Doorkeeper, Given, admit, from_header, from_parameter,
};
use oribi_model::params::pairs;
use std::{net::IpAddr, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Refusals that wait at once; further ones are told at once.
const WAITING_MAX: usize = 1_024;
/// What guessing a token costs.
const WAIT: Duration = Duration::from_millis(250);

/// Whether `/metrics` is told to anybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricsDoor {
    /// To anybody.
    Open,
    /// To who may `ops`.
    Ops,
}

/// The door before all routes.
pub(super) struct Gate {
    keyring: Arc<Keyring>,
    metrics: MetricsDoor,
    waiting: Semaphore,
}

impl Gate {
    /// A door to which `keyring` has the keys.
    pub(super) fn new(keyring: Arc<Keyring>, metrics: MetricsDoor) -> Gate {
        Gate { keyring, metrics, waiting: Semaphore::new(WAITING_MAX) }
    }

    fn needs(&self, request: &Request) -> Right {
        // A path that does not exist is told so.
        let Some(route) = request.extensions().get::<MatchedPath>() else { return Right::Nothing };
        match rights::of(request.method(), route.as_str(), request.uri().path()) {
            Right::Ops if route.as_str() == "/metrics" && self.metrics == MetricsDoor::Open => {
                Right::Nothing
            }
            right => right,
        }
    }

    async fn refuse(&self, request: &Head, denied: Denied) -> Response {
        let Head { uri, asker, from } = request;
        self.keyring.turned_away("http", *from, denied);
        if denied != Denied::Missing
            && let Ok(_place) = self.waiting.try_acquire()
        {
            tokio::time::sleep(WAIT).await;
        }
        unauthorized(uri, *asker, denied)
    }
}

/// What of a request outlives it.
struct Head {
    uri: Uri,
    asker: Asker,
    from: Option<IpAddr>,
}

impl Head {
    fn of(request: &Request) -> Head {
        let from = request.extensions().get::<Caller>().map(|caller| caller.0);
        Head { uri: request.uri().clone(), asker: Asker::of(request), from }
    }
}

/// Lets requests through that show a token which is enough, and notes who asks among their extensions.
pub(super) async fn gate(
    State(gate): State<Arc<Gate>>,
    mut request: Request,
    next: Next,
) -> Response {
    if gate.keyring.mode() == TokenMode::Off {
        request.extensions_mut().insert(Access::Open);
        return next.run(request).await;
    }
    let right = gate.needs(&request);
    if right == Right::Nothing {
        return next.run(request).await;
    }
    let given = match given(&request) {
        Ok(given) => given,
        Err(Unclear::Several(detail)) => {
            let detail = detail.to_owned();
            return problem::refuse(request.uri(), StatusCode::BAD_REQUEST, "invalid", detail);
        }
        Err(Unclear::Malformed) => {
            let denied = Denied::Bad(BadSecret::Malformed);
            return gate.refuse(&Head::of(&request), denied).await;
        }
    };
    let access = match admit(gate.keyring.as_ref(), given.presented()).await {
        Ok(access) => access,
        Err(denied @ Denied::NotNow) => {
            let detail = denied.to_string();
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return problem::refuse(request.uri(), status, "unavailable", detail);
        }
        Err(denied) => return gate.refuse(&Head::of(&request), denied).await,
    };
    let checked = match right {
        Right::Nothing | Right::Token => Ok(()),
        Right::Ops => access.check_ops(),
        Right::All => access.check_all(),
    };
    let uri = request.uri().clone();
    let mut answer = match checked {
        Ok(()) => {
            request.extensions_mut().insert(access.clone());
            kept_open::watched(next.run(request).await, &gate.keyring, access.clone())
        }
        Err(needs) => problem::forbidden(&uri, &needs),
    };
    if answer.status() == StatusCode::FORBIDDEN {
        gate.keyring.refused(&access, uri.path(), "");
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Why it is not clear what a request shows.
enum Unclear {
    /// More than one thing.
    Several(&'static str),
    /// What cannot be a token.
    Malformed,
}

/// What a request shows.
fn given(request: &Request) -> Result<Given, Unclear> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION).iter();
    let header = headers.next().map(|value| from_header(value.as_bytes()));
    if headers.next().is_some() {
        return Err(Unclear::Several("two Authorization headers; expected one"));
    }
    let header = header.transpose().map_err(|_| Unclear::Malformed)?;
    let parameter = from_parameter(password(request.uri()).as_deref());
    match header {
        Some(header) if !parameter.is_nothing() && header != parameter => {
            let differ = "the Authorization header and the parameter p differ; expected one";
            Err(Unclear::Several(differ))
        }
        Some(header) => Ok(header),
        None => Ok(parameter),
    }
}

/// The parameter `p`, which InfluxDB 1's clients send.
fn password(uri: &Uri) -> Option<String> {
    if !matches!(uri.path(), "/write" | "/query") {
        return None;
    }
    let pairs = pairs(uri.query()?.as_bytes()).ok()?;
    pairs.into_iter().find(|(name, _)| name == "p").map(|(_, value)| value)
}

fn unauthorized(uri: &Uri, asker: Asker, denied: Denied) -> Response {
    let mut answer = problem::unauthorized(uri, denied);
    let bearer = match denied {
        Denied::Missing => "Bearer realm=\"oribi\"",
        _ => "Bearer realm=\"oribi\", error=\"invalid_token\"",
    };
    let headers = answer.headers_mut();
    headers.append(header::WWW_AUTHENTICATE, HeaderValue::from_static(bearer));
    // A browser would ask for a password itself, and keep it for every page.
    if asker == Asker::Program {
        let basic = HeaderValue::from_static("Basic realm=\"oribi\"");
        headers.append(header::WWW_AUTHENTICATE, basic);
    }
    answer
}

/// Who sent a request, as far as headers tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    Browser,
    Program,
}

impl Asker {
    fn of(request: &Request) -> Asker {
        let headers = request.headers();
        let agent = headers.get(header::USER_AGENT).map(HeaderValue::as_bytes).unwrap_or_default();
        let is_browser = headers.contains_key(header::ORIGIN)
            || headers.keys().any(|name| name.as_str().starts_with("sec-fetch-"))
            || agent.windows(8).any(|part| part == b"Mozilla/");
        if is_browser { Asker::Browser } else { Asker::Program }
    }
}
