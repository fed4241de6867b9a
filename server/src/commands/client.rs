//! Requests to a node, with its refusals as errors.

use super::{NodeUrl, credentials};
use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;
use std::{fmt::Write, time::Duration};
use ureq::{
    Agent, Body, RequestBuilder,
    http::{Response, StatusCode, header},
    tls::{Certificate, RootCerts, TlsConfig, TlsProvider},
};

/// Largest answer that is held in memory, bytes.
const ANSWER_BYTES_MAX: u64 = 1 << 30;

/// A node as a client sees it.
pub(super) struct Client {
    agent: Agent,
    url: String,
    token: Option<String>,
}

impl Client {
    /// A client of this node.
    ///
    /// # Errors
    /// An address that is none.
    pub(super) fn new(node: &NodeUrl) -> Result<Client> {
        const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
        let url = node.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("cannot use the url {url:?}: expected http://HOST:PORT or https://HOST:PORT");
        }
        let mut roots = RootCerts::PlatformVerifier;
        if let Some(file) = &node.ca_file {
            let shown = file.display();
            let pem = std::fs::read(file).with_context(|| format!("cannot read {shown}"))?;
            let certificate = Certificate::from_pem(&pem);
            let certificate = certificate.with_context(|| format!("cannot use {shown}"))?;
            roots = RootCerts::new_with_certs(&[certificate]);
        }
        let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
        // Proxies of the environment are for other machines.
        let proxy = if is_loopback(&url) { None } else { ureq::Proxy::try_from_env() };
        let config = Agent::config_builder()
            .proxy(proxy)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .tls_config(tls)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .user_agent(concat!("oribi/", env!("CARGO_PKG_VERSION")))
            .build();
        let token = credentials::token(node.token_file.as_deref())?;
        Ok(Client { agent: config.into(), url, token })
    }

    /// A client of another node of the same cluster, asked in the same way.
    pub(super) fn of(&self, address: &str) -> Client {
        let scheme = self.url.split("://").next().unwrap_or("http");
        let url = format!("{scheme}://{address}");
        Client { agent: self.agent.clone(), url, token: self.token.clone() }
    }

    /// GET with parameters.
    ///
    /// # Errors
    /// Names the node where nothing answers.
    pub(super) fn get(&self, path: &str, pairs: &[(&str, &str)]) -> Result<Response<Body>> {
        let request = self.agent.get(self.address(path, pairs));
        self.showing(request).call().with_context(|| self.unreachable())
    }

    /// GET of what comes soon, or is not waited for.
    ///
    /// # Errors
    /// Names the node where nothing answers in time, or what it refuses.
    pub(super) fn ask(&self, path: &str) -> Result<()> {
        const WAIT_MAX: Duration = Duration::from_secs(10);
        let request = self.agent.get(self.address(path, &[]));
        let request = request.config().timeout_global(Some(WAIT_MAX)).build();
        let answer = self.showing(request).call().with_context(|| self.unreachable())?;
        bytes(accepted(answer)?).map(drop)
    }

    /// POST with parameters in the URL.
    ///
    /// # Errors
    /// Names the node where nothing answers.
    pub(super) fn post(
        &self,
        path: &str,
        pairs: &[(&str, &str)],
        body: &[u8],
    ) -> Result<Response<Body>> {
        let request = self.agent.post(self.address(path, pairs));
        self.showing(request).send(body).with_context(|| self.unreachable())
    }

    /// POST, sent again to where the node points to.
    ///
    /// # Errors
    /// Names the node where nothing answers.
    pub(super) fn post_where_it_is(&self, path: &str, body: &[u8]) -> Result<Response<Body>> {
        let answer = self.post(path, &[], body)?;
        let location = answer.headers().get(header::LOCATION).and_then(|at| at.to_str().ok());
        match location {
            Some(at) if answer.status() == StatusCode::TEMPORARY_REDIRECT => {
                let unreachable = || format!("cannot reach the node at {at}");
                self.showing(self.agent.post(at)).send(body).with_context(unreachable)
            }
            _ => Ok(answer),
        }
    }

    /// DELETE.
    ///
    /// # Errors
    /// Names the node where nothing answers.
    pub(super) fn delete(&self, path: &str) -> Result<Response<Body>> {
        let request = self.showing(self.agent.delete(self.address(path, &[])));
        request.call().with_context(|| self.unreachable())
    }

    /// SQL, answered in `format`; the text goes in the body, where it may be long.
    ///
    /// # Errors
    /// What the node refuses, in its words.
    pub(super) fn sql(&self, q: &str, db: Option<&str>, format: &str) -> Result<Response<Body>> {
        let mut body = serde_json::json!({"q": q, "format": format});
        if let Some(db) = db {
            body["db"] = db.into();
        }
        accepted(self.post("/api/v1/sql", &[], body.to_string().as_bytes())?)
    }

    fn showing<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    fn address(&self, path: &str, pairs: &[(&str, &str)]) -> String {
        let mut address = format!("{}{path}", self.url);
        for (at, (name, value)) in pairs.iter().enumerate() {
            address.push(if at == 0 { '?' } else { '&' });
            address.push_str(name);
            address.push('=');
            encode(&mut address, value);
        }
        address
    }

    fn unreachable(&self) -> String {
        format!("cannot reach a node at {}; is `oribi serve` running there?", self.url)
    }
}

/// Whether a URL names this machine.
fn is_loopback(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.split('/').next().unwrap_or_default();
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let is_name = host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost");
    is_name || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Lets a success through.
///
/// # Errors
/// What the node refuses, in its words.
pub(super) fn accepted(answer: Response<Body>) -> Result<Response<Body>> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let problem = json(answer).unwrap_or_default();
    let detail = ["detail", "message", "error"].into_iter().find_map(|name| problem[name].as_str());
    Err(anyhow!("{}", detail.unwrap_or_else(|| reason(status))))
}

/// The body as JSON.
///
/// # Errors
/// A body that is none.
pub(super) fn json(answer: Response<Body>) -> Result<Value> {
    serde_json::from_slice(&bytes(answer)?).context("the answer is no JSON; is this an Oribi node?")
}

/// The body's bytes.
///
/// # Errors
/// An answer that breaks off.
pub(super) fn bytes(answer: Response<Body>) -> Result<Vec<u8>> {
    let mut body = answer.into_body();
    body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec().context("the answer broke off")
}

/// Seconds that the node asks to wait.
pub(super) fn retry_after_s(answer: &Response<Body>) -> Option<u64> {
    answer.headers().get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// Text as a part of a path.
pub(super) fn encoded(text: &str) -> String {
    let mut out = String::new();
    encode(&mut out, text);
    out
}

fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or("the node refused")
}

fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            // Writing to a string cannot fail.
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_loopback;

    #[test]
    fn this_machine_is_asked_directly() {
        for url in
            ["http://127.0.0.1:8640", "http://localhost", "http://[::1]:8640/x", "http://127.3.2.1"]
        {
            assert!(is_loopback(url), "{url}");
        }
        for url in [
            "http://oribi:8640",
            "http://10.0.0.1",
            "http://127.0.0.1.example:80",
            "http://[fe80::1]",
        ] {
            assert!(!is_loopback(url), "{url}");
        }
    }
}
