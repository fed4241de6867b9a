//! What connectors of all kinds have in their configuration.

use super::{
    registry::RegistrySpec,
    secret::{Secret, password},
};
use crate::{Error, Result, pump::CompiledRoutes};
use oribi_decode::{RouteSpec, mapping::TopicStyle};
use oribi_model::Name;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Members that every kind of connector has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    /// Its name, one of a kind.
    pub name: String,
    /// `mqtt://HOST[:PORT]`, `mqtts://…`, or `kafka://HOST[:PORT],…`.
    pub url: String,
    /// User.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File that holds the password instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities to trust; absent: those of the system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the client's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key, PKCS #8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// Where the schemas of Avro and Protobuf messages are whose route names no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistrySpec>,
}

impl Common {
    /// Checks what the types cannot. `key` is how the configuration calls the connector.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    pub(crate) fn check(&self, style: TopicStyle, key: &str) -> Result<()> {
        let wrong =
            |member: &str, reason: String| Err(Error::config(format!("{key}.{member}"), reason));
        if let Err(reason) = Name::new(&self.name) {
            return wrong("name", reason.to_string());
        }
        self.addresses(style, key)?;
        if self.password.is_some() && self.password_file.is_some() {
            let reason = "password is given too; expected one of them";
            return wrong("password_file", reason.into());
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return wrong("key_file", "cert_file and key_file go together".into());
        }
        Ok(())
    }

    /// The routes of a source, compiled.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    pub(crate) fn compile(
        &self,
        routes: &[RouteSpec],
        style: TopicStyle,
        key: &str,
    ) -> Result<CompiledRoutes> {
        let registry = self.registry.as_ref();
        let registry = registry.map(|spec| spec.open(&format!("{key}.registry"))).transpose()?;
        CompiledRoutes::new(routes, style, registry, &format!("{key}.routes"))
    }

    /// The hosts and ports of the URL.
    ///
    /// # Errors
    /// [`Error::Config`] says what was expected.
    pub(crate) fn addresses(&self, style: TopicStyle, key: &str) -> Result<Addresses> {
        let schemes: &[(&str, Transport, u16)] = match style {
            TopicStyle::Mqtt => {
                &[("mqtt", Transport::Plain, 1883), ("mqtts", Transport::Tls, 8883)]
            }
            TopicStyle::Kafka => &[("kafka", Transport::Plain, 9092)],
        };
        let wrong = |reason: String| Error::config(format!("{key}.url"), reason);
        let names: Vec<&str> = schemes.iter().map(|(scheme, ..)| *scheme).collect();
        let expected = || wrong(format!("expected {}://HOST[:PORT]", names.join(":// or ")));
        let (scheme, rest) = self.url.split_once("://").ok_or_else(expected)?;
        let (_, transport, port) =
            schemes.iter().find(|(s, ..)| *s == scheme).ok_or_else(expected)?;
        if rest.contains('@') {
            return Err(wrong(
                "a URL must not hold a password; expected username and password_file".into(),
            ));
        }
        let address = |text: &str| {
            let (host, port) = match text.rsplit_once(':') {
                Some((host, text)) if !host.ends_with(':') && !text.ends_with(']') => {
                    (host, text.parse().map_err(|_| wrong(format!("{text:?} is no port")))?)
                }
                _ => (text, *port),
            };
            if host.is_empty() || host.contains(['/', '?', '#']) {
                return Err(expected());
            }
            Ok((host.to_owned(), port))
        };
        let hosts = rest.trim_end_matches('/').split(',').map(str::trim).map(address);
        let hosts = hosts.collect::<Result<Vec<_>>>()?;
        if style == TopicStyle::Mqtt && hosts.len() > 1 {
            return Err(wrong("expected one broker".into()));
        }
        Ok(Addresses { transport: *transport, hosts })
    }

    /// The password, read from its file if it has one.
    ///
    /// # Errors
    /// [`Error::Config`]: a file that cannot be read.
    pub(crate) fn secret(&self) -> Result<Option<String>> {
        password(self.password.as_ref(), self.password_file.as_deref(), "password_file")
    }
}

/// Whether bytes go encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Plain,
    Tls,
}

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) transport: Transport,
    pub(crate) hosts: Vec<(String, u16)>,
}
