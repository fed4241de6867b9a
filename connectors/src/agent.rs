//! How servers are asked over HTTP: by whose word they are who they say, for how long, and not by way
//! of proxies.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::time::Duration;
use ureq::{
    Agent,
    tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem},
};

/// What stands for itself in a path beside letters and digits (RFC 3986, 2.3).
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What does so in a form (WHATWG URL, 5.2), where a space is a plus sign.
const IN_FORM: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*').remove(b' ');

/// A text as one part of a path.
pub(crate) fn in_path(text: &str) -> String {
    utf8_percent_encode(text, IN_PATH).to_string()
}

/// A text as a value of a form.
pub(crate) fn in_form(text: &str) -> String {
    utf8_percent_encode(text, IN_FORM).to_string().replace(' ', "+")
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_encoded_for_where_they_stand() {
        assert_eq!(in_path("a b/c~%*ä"), "a%20b%2Fc~%25%2A%C3%A4");
        assert_eq!(in_form("a b:c%/ä~*+"), "a+b%3Ac%25%2F%C3%A4%7E*%2B");
    }
}
