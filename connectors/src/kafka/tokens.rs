//! Tokens for SASL's OAUTHBEARER (RFC 7628), asked of an OpenID Connect provider by the grant of client
//! credentials (RFC 6749, 4.4). librdkafka has a client of its own for that only where libcurl is built in;
//! the options keep its names.

use crate::{
    Error, Result,
    agent::{agent, check_url, in_form},
    connector::read_file,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use oribi_decode::excerpt;
use rdkafka::client::OAuthToken;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use ureq::Agent;

/// How all options of tokens begin.
const FAMILY: &str = "sasl.oauthbearer.";
/// Which of the ways to a token is taken; only `oidc` makes a [`TokenSource`].
const METHOD: &str = "sasl.oauthbearer.method";
/// Where tokens are asked for.
const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
const CLIENT_ID: &str = "sasl.oauthbearer.client.id";
const CLIENT_SECRET: &str = "sasl.oauthbearer.client.secret";
const SCOPE: &str = "sasl.oauthbearer.scope";
const CA_FILE: &str = "https.ca.location";
/// The options that this file reads instead of librdkafka.
const OWN: [&str; 6] = [METHOD, TOKEN_URL, CLIENT_ID, CLIENT_SECRET, SCOPE, CA_FILE];
const MECHANISMS: [&str; 2] = ["sasl.mechanism", "sasl.mechanisms"];
const GRANT: &str = "grant_type=client_credentials";

/// Longest time for one question. The thread that reads records asks.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Longest answer, bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// A provider and what it is shown; asked each time that librdkafka wants a token.
pub(crate) struct TokenSource {
    agent: Agent,
    url: String,
    client_id: String,
    client_secret: String,
    scope: Option<String>,
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("TokenSource");
        shown.field("url", &self.url).field("client_id", &self.client_id).finish_non_exhaustive()
    }
}

/// Whether an option is read here, not by librdkafka.
pub(crate) fn is_own(name: &str) -> bool {
    OWN.contains(&name)
}

/// Checks the options of tokens without reading any file. `key` is how the configuration calls the entry.
///
/// # Errors
/// [`Error::Config`] names the option and what was expected.
pub(crate) fn check(given: &BTreeMap<String, String>, key: &str) -> Result<()> {
    let wrong =
        |name: &str, reason: String| Err(Error::config(format!("{key}.options.{name}"), reason));
    let asks = match given.get(METHOD).map(String::as_str) {
        None | Some("default") => false,
        Some("oidc") => true,
        Some(other) => {
            return wrong(METHOD, format!("expected oidc, not {:?}", excerpt(other, 32)));
        }
    };
    let other = given.keys().find(|name| name.starts_with(FAMILY) && !is_own(name));
    if let Some(name) = other {
        return wrong(
            name,
            format!("tokens come by {METHOD} = \"oidc\" alone, which has no such option"),
        );
    }
    let mechanism = MECHANISMS.iter().find_map(|name| given.get(*name).map(|value| (name, value)));
    let bears = mechanism.filter(|(_, value)| value.eq_ignore_ascii_case("oauthbearer"));
    match (bears, asks) {
        (Some(_), true) => {}
        (Some((name, _)), false) => {
            return wrong(name, format!("OAUTHBEARER needs {METHOD} = \"oidc\""));
        }
        (None, true) => {
            return wrong(METHOD, "it goes with sasl.mechanism = \"OAUTHBEARER\"".into());
        }
        (None, false) => {
            return match OWN.iter().find(|name| **name != METHOD && given.contains_key(**name)) {
                Some(name) => wrong(name, format!("it goes with {METHOD} = \"oidc\"")),
                None => Ok(()),
            };
        }
    }
    for name in [TOKEN_URL, CLIENT_ID, CLIENT_SECRET] {
        if given.get(name).is_none_or(String::is_empty) {
            return wrong(name, format!("it is missing, and {METHOD} = \"oidc\" needs it"));
        }
    }
    check_url(&given[TOKEN_URL]).or_else(|reason| wrong(TOKEN_URL, reason))
}

/// The provider's address, with the member that names it.
pub(crate) fn urls(given: &BTreeMap<String, String>) -> Vec<(String, &str)> {
    let url = given.get(TOKEN_URL);
    url.into_iter().map(|url| (format!("options.{TOKEN_URL}"), url.as_str())).collect()
}

impl TokenSource {
    /// What checked options ask for; `None` where they ask for no tokens.
    ///
    /// # Errors
    /// [`Error::Config`]: a file that cannot be read.
    pub(crate) fn of(given: &BTreeMap<String, String>, key: &str) -> Result<Option<TokenSource>> {
        let text = |name: &str| given.get(name).cloned();
        let asked = (text(TOKEN_URL), text(CLIENT_ID), text(CLIENT_SECRET));
        let (Some(url), Some(client_id), Some(client_secret)) = asked else { return Ok(None) };
        let ca_key = format!("{key}.options.{CA_FILE}");
        let ca_pem = text(CA_FILE).map(|path| read_file(Path::new(&path), &ca_key)).transpose()?;
        // An answer that leads elsewhere would take the secret there.
        let agent = agent(ca_pem.as_deref(), TIMEOUT, 0);
        let agent = agent.map_err(|reason| Error::config(ca_key, reason))?;
        Ok(Some(TokenSource { agent, url, client_id, client_secret, scope: text(SCOPE) }))
    }

    /// A new token, in the form that librdkafka takes.
    ///
    /// # Errors
    /// Says what the provider or the network said.
    fn token(&self) -> std::result::Result<OAuthToken, String> {
        let failed = |reason: String| {
            format!("cannot get a token from {}: {}", self.url, excerpt(&reason, 256))
        };
        let answer = self.ask().map_err(failed)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let end_s = match answer.expires_in {
            Some(length_s) => Some((now + Duration::from_secs(length_s)).as_secs()),
            None => end_s_of(&answer.access_token),
        };
        let end_s = end_s.ok_or_else(|| failed("it does not say when its token ends".into()))?;
        Ok(OAuthToken {
            token: answer.access_token,
            principal_name: self.client_id.clone(),
            lifetime_ms: i64::try_from(end_s.saturating_mul(1_000)).unwrap_or(i64::MAX),
        })
    }

    /// What librdkafka gets where it wants a token of a client that has this source, or none.
    ///
    /// # Errors
    /// As [`TokenSource::token`].
    pub(crate) fn answer(
        source: Option<&TokenSource>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        let source = source.ok_or_else(|| format!("{METHOD} is not \"oidc\""))?;
        Ok(source.token()?)
    }

    fn ask(&self) -> std::result::Result<Answer, String> {
        // Each is a value of a form before they are joined (RFC 6749, 2.3.1).
        let (id, secret) = (in_form(&self.client_id), in_form(&self.client_secret));
        let credentials =
            base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
        let body = match &self.scope {
            Some(scope) => format!("{GRANT}&scope={}", in_form(scope)),
            None => GRANT.to_owned(),
        };
        let request = self.agent.post(&self.url).header("Accept", "application/json");
        let request = request.header("Authorization", format!("Basic {credentials}"));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let mut response = request.send(body).map_err(|error| error.to_string())?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
        let body = body.map_err(|error| error.to_string())?;
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|wrong| format!("its answer holds no token: {wrong}")),
            _ => Err(format!(
                "it answers {status} {}",
                excerpt(&String::from_utf8_lossy(&body), 128)
            )),
        }
    }
}

/// RFC 6749, 5.1.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    /// Seconds.
    expires_in: Option<u64>,
}

/// When a JSON Web Token ends by its own word (RFC 7519, 4.1.4), seconds since the Unix epoch.
fn end_s_of(token: &str) -> Option<u64> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok().map(|claims: Claims| claims.exp as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_tokens_are_whole_or_refused_by_name() {
        let judge = |options: &str| check(&toml::from_str(options).unwrap(), "connector");
        let whole = "\"sasl.mechanism\" = \"OAUTHBEARER\"\n\"sasl.oauthbearer.method\" = \"oidc\"\n\
            \"sasl.oauthbearer.token.endpoint.url\" = \"https://id.example/token\"\n\
            \"sasl.oauthbearer.client.id\" = \"oribi\"\n\"sasl.oauthbearer.client.secret\" = \"s\"\n";
        judge(whole).unwrap();
        judge("\"sasl.mechanism\" = \"SCRAM-SHA-256\"").unwrap();
        for left_out in ["endpoint.url", "client.id", "client.secret", "method", "sasl.mechanism"] {
            let lines = whole.lines().filter(|line| !line.contains(left_out));
            let wrong = judge(&lines.collect::<Vec<_>>().join("\n")).unwrap_err().to_string();
            assert!(wrong.contains("connector.options.sasl."), "{left_out}: {wrong}");
        }
        let wrong = judge(&whole.replace("https://", "ftp://")).unwrap_err().to_string();
        assert!(wrong.contains("endpoint.url: expected http://"), "{wrong}");
        let wrong = judge("\"https.ca.location\" = \"ca.pem\"").unwrap_err().to_string();
        assert!(wrong.contains("https.ca.location: it goes with"), "{wrong}");
    }

    #[test]
    fn a_web_token_says_when_it_ends() {
        let claims = URL_SAFE_NO_PAD.encode(r#"{"sub":"oribi","exp":1790000000.5}"#);
        assert_eq!(end_s_of(&format!("e30.{claims}.")), Some(1_790_000_000));
        for wrong in ["", "opaque", "e30.e30.", "a.%%.c"] {
            assert_eq!(end_s_of(wrong), None, "{wrong}");
        }
    }
}
