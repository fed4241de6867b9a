//! Requests of the library of object stores, made by the HTTP client that the other commands use.

use http_body_util::BodyExt;
use object_store::{
    ClientOptions,
    client::{
        HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    },
};
use std::{future::Future, pin::Pin, time::Duration};
use ureq::{
    Agent,
    http::{Request, Response},
    tls::{RootCerts, TlsConfig, TlsProvider},
};

/// Longest time of one request: a part each way.
const REQUEST_MAX: Duration = Duration::from_secs(300);
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer: a part, or a page of a list.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug)]
pub(super) struct Connector;

#[derive(Debug)]
struct Requests(Agent);

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let tls = TlsConfig::builder()
            .provider(TlsProvider::NativeTls)
            .root_certs(RootCerts::PlatformVerifier)
            .build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT_MAX))
            .timeout_global(Some(REQUEST_MAX))
            .user_agent(concat!("oribi/", env!("CARGO_PKG_VERSION")))
            .build();
        Ok(HttpClient::new(Requests(config.into())))
    }
}

type Answering<'a> = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'a>>;

impl HttpService for Requests {
    fn call<'a, 'b>(&'a self, request: HttpRequest) -> Answering<'b>
    where
        'a: 'b,
    {
        let agent = self.0.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let asking = tokio::task::spawn_blocking(move || {
                let asked = match body.is_empty() && !parts.headers.contains_key("content-length") {
                    true => agent.run(Request::from_parts(parts, ())),
                    false => agent.run(Request::from_parts(parts, &body[..])),
                };
                let (parts, mut body) = asked?.into_parts();
                let bytes = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
                Ok(Response::from_parts(parts, bytes.into()))
            });
            let broke_off = |error| HttpError::new(HttpErrorKind::Unknown, error);
            asking.await.map_err(broke_off)?.map_err(|error| HttpError::new(kind(&error), error))
        })
    }
}

fn kind(error: &ureq::Error) -> HttpErrorKind {
    match error {
        ureq::Error::Timeout(_) => HttpErrorKind::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::HostNotFound => HttpErrorKind::Connect,
        ureq::Error::Io(_) => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}
