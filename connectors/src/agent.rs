//! How servers are asked over HTTP: by whose word they are who they say, for how long, and not by way
//! of proxies.

use std::time::Duration;
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

/// Asks with nothing kept between two questions. `ca_pem` holds certificates of who may vouch for a
/// server, else the system's count; an answer that leads elsewhere is followed `redirects_max` times.
///
/// # Errors
/// Says what is wrong with the certificates.
pub(crate) fn agent(
    ca_pem: Option<&str>,
    timeout: Duration,
    redirects_max: u32,
) -> Result<Agent, String> {
    let roots = match ca_pem {
        None => RootCerts::PlatformVerifier,
        Some(pem) => RootCerts::new_with_certs(&certificates(pem)?),
    };
    let tls = TlsConfig::builder().provider(TlsProvider::NativeTls).root_certs(roots).build();
    let agent = Agent::config_builder()
        .tls_config(tls)
        .http_status_as_error(false)
        .max_redirects(redirects_max)
        .max_idle_connections(0)
        .proxy(None)
        .timeout_global(Some(timeout))
        .build();
    Ok(agent.into())
}

/// Checks an address that is asked.
///
/// # Errors
/// Says what was expected.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    match rest.map(|rest| rest.split('/').next().unwrap_or_default()) {
        None | Some("") => Err("expected http:// or https:// and a host".into()),
        Some(host) if host.contains('@') => {
            Err("names and passwords do not belong into the address".into())
        }
        Some(_) if url.contains(['?', '#']) => Err("expected an address without ? and #".into()),
        Some(_) => Ok(()),
    }
}

fn certificates(pem: &str) -> Result<Vec<Certificate<'static>>, String> {
    let items = parse_pem(pem.as_bytes()).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(wrong) => Some(Err(format!("the certificates are no PEM: {wrong}"))),
    });
    match items.collect::<Result<Vec<_>, _>>()? {
        none if none.is_empty() => Err("there is no certificate in the PEM".into()),
        some => Ok(some),
    }
}
