//! Configuration of a connector: one shape for all kinds, in TOML and in JSON.

use super::{
    feed::FeedSpec,
    registry::RegistrySpec,
    secret::{REDACTED, Secret, is_secret, password},
    start::{Beginning, Start},
};
use crate::{Error, Result, pump::CompiledRoutes};
use oribi_decode::{RouteSpec, mapping::TopicStyle};
use oribi_model::Name;
use serde::{Deserialize, Serialize, Serializer};
use std::{collections::BTreeMap, path::PathBuf};

/// What a connector is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Takes in what an MQTT broker has.
    Mqtt,
    /// Takes in Kafka topics.
    Kafka,
    /// Passes committed rows and closed windows on to Kafka topics.
    KafkaSink,
    /// Passes them on to an MQTT broker.
    MqttSink,
}

impl Kind {
    /// As the configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mqtt => "mqtt",
            Kind::Kafka => "kafka",
            Kind::KafkaSink => "kafka_sink",
            Kind::MqttSink => "mqtt_sink",
        }
    }
}

/// Version of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V311,
}

/// What becomes of messages that a broker had retained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retained {
    /// They are acked and counted, but not stored: they are old, and come anew with each
    /// subscription.
    #[default]
    Skip,
    /// They are stored like others.
    Take,
}

/// A connector as configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConnectorSpec {
    /// Its name, one of a kind.
    pub name: String,
    /// What it is.
    pub kind: Kind,
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
    /// MQTT client id; `oribi-NAME` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Version of MQTT; 5 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Greatest quality of service to ask for: 0, 1 or 2; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qos: Option<u8>,
    /// Retained messages; skipped when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retained: Option<Retained>,
    /// Messages above become dead letters, bytes; 1 MiB when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<usize>,
    /// Where a new connector begins to read; with the first records when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// librdkafka's options by its own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", serialize_with = "redacted")]
    pub options: BTreeMap<String, String>,
    /// Where the schemas of Avro and Protobuf messages are whose route names no file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<RegistrySpec>,
    /// How messages become rows; the first route that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
    /// What a sink passes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedSpec>,
}

fn redacted<S: Serializer>(
    options: &BTreeMap<String, String>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(
        options
            .iter()
            .map(|(name, value)| (name, if is_secret(name) { REDACTED } else { value.as_str() })),
    )
}

impl ConnectorSpec {
    /// Checks what the types cannot. `key` is how the configuration calls the connector.
    ///
    /// # Errors
    /// [`Error::Config`] names the key and what was expected.
    pub fn validate(&self, key: &str) -> Result<()> {
        let wrong = |member: &str, reason: &str| {
            Err(Error::config(format!("{key}.{member}"), reason.to_owned()))
        };
        if let Err(reason) = Name::new(&self.name) {
            return wrong("name", &reason.to_string());
        }
        if let Some((member, kinds)) = self.foreign() {
            let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
            let (own, others) = (self.kind.name(), kinds.join(" and "));
            return wrong(member, &format!("{own} has none; it belongs to {others}"));
        }
        self.addresses(key)?;
        if self.qos() > 2 {
            return wrong("qos", "expected 0, 1 or 2");
        }
        if !(1..=256 << 20).contains(&self.message_bytes_max()) {
            return wrong("message_bytes_max", "expected 1 byte to 256 MiB");
        }
        if let Err(reason) = self.beginning() {
            return wrong("start", &reason);
        }
        if self.password.is_some() && self.password_file.is_some() {
            return wrong("password_file", "password is given too; expected one of them");
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            return wrong("key_file", "cert_file and key_file go together");
        }
        match self.kind {
            Kind::Mqtt | Kind::Kafka => {
                if self.routes.iter().all(|route| route.topics.is_empty()) {
                    return wrong("routes", "a source needs a route with topics");
                }
                self.routes(key).map(drop)
            }
            Kind::KafkaSink | Kind::MqttSink => {
                if self.feeds.is_empty() {
                    return wrong("feeds", "a sink needs a feed");
                }
                if let Some(registry) = &self.registry {
                    registry.open(&format!("{key}.registry"))?;
                }
                for (at, feed) in self.feeds.iter().enumerate() {
                    if let Err((member, reason)) = feed.check() {
                        return wrong(&format!("feeds[{at}].{member}"), reason);
                    }
                }
                Ok(())
            }
        }
    }

    /// A member that is given and means nothing to this kind, and the kinds that it belongs to.
    fn foreign(&self) -> Option<(&'static str, &'static [Kind])> {
        use Kind::{Kafka, KafkaSink, Mqtt, MqttSink};
        let members: [(_, _, &[Kind]); 9] = [
            ("start", self.start.is_some(), &[Kafka]),
            ("client_id", self.client_id.is_some(), &[Mqtt, MqttSink]),
            ("protocol", self.protocol.is_some(), &[Mqtt]),
            ("qos", self.qos.is_some(), &[Mqtt]),
            ("retained", self.retained.is_some(), &[Mqtt]),
            ("message_bytes_max", self.message_bytes_max.is_some(), &[Mqtt, Kafka]),
            ("options", !self.options.is_empty(), &[Kafka, KafkaSink]),
            ("routes", !self.routes.is_empty(), &[Mqtt, Kafka]),
            ("feeds", !self.feeds.is_empty(), &[KafkaSink, MqttSink]),
        ];
        let foreign =
            |(_, is_given, kinds): &(_, bool, &[Kind])| *is_given && !kinds.contains(&self.kind);
        members.into_iter().find(foreign).map(|(member, _, kinds)| (member, kinds))
    }

    /// The MQTT client id.
    pub(crate) fn client_id(&self) -> String {
        self.client_id.clone().unwrap_or_else(|| format!("oribi-{}", self.name))
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    pub(crate) fn qos(&self) -> u8 {
        self.qos.unwrap_or(1)
    }

    pub(crate) fn retained(&self) -> Retained {
        self.retained.unwrap_or_default()
    }

    /// Where a Kafka source begins.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn beginning(&self) -> std::result::Result<Beginning, String> {
        self.start.as_ref().map_or(Ok(Beginning::Earliest), Start::read)
    }

    pub(crate) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.unwrap_or(1 << 20)
    }

    /// How the topics of its broker look.
    pub fn style(&self) -> TopicStyle {
        match self.kind {
            Kind::Mqtt | Kind::MqttSink => TopicStyle::Mqtt,
            Kind::Kafka | Kind::KafkaSink => TopicStyle::Kafka,
        }
    }

    /// The compiled routes.
    pub(crate) fn routes(&self, key: &str) -> Result<CompiledRoutes> {
        let registry = self.registry.as_ref();
        let registry = registry.map(|spec| spec.open(&format!("{key}.registry"))).transpose()?;
        CompiledRoutes::new(&self.routes, self.style(), registry, &format!("{key}.routes"))
    }

    /// The hosts and ports of the URL.
    pub(crate) fn addresses(&self, key: &str) -> Result<Addresses> {
        let schemes: &[(&str, Transport, u16)] = match self.style() {
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
        if self.style() == TopicStyle::Mqtt && hosts.len() > 1 {
            return Err(wrong("expected one broker".into()));
        }
        Ok(Addresses { transport: *transport, hosts })
    }

    /// The password, read from its file if it has one.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> ConnectorSpec {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_shape_in_toml_and_json() {
        let text = r#"
            name = "plant"
            kind = "mqtt"
            url = "mqtts://broker"
            username = "u"
            password = "hidden"
            [[routes]]
            topics = ["a/+"]
            table = "t"
        "#;
        let spec = spec(text);
        spec.validate("connectors[0]").unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert!(!json.contains("hidden"), "{json}");
        assert!(!format!("{:?}", spec.password).contains("hidden"));
        let back: ConnectorSpec = serde_json::from_str(&json).unwrap();
        assert_eq!(back.routes, spec.routes);
        let addresses = spec.addresses("c").unwrap();
        assert_eq!(addresses.hosts, [("broker".to_owned(), 8883)]);
        assert_eq!(addresses.transport, Transport::Tls);
    }

    #[test]
    fn secrets_among_options_do_not_show() {
        let text = r#"
            name = "stream"
            kind = "kafka"
            url = "kafka://broker"
            options = { "sasl.password" = "hidden", "client.id" = "x" }
            routes = [{ topics = ["rows"] }]
        "#;
        let spec = spec(text);
        spec.validate("connectors[0]").unwrap();
        let json = serde_json::to_string(&spec).unwrap();
        assert!(!json.contains("hidden") && json.contains("\"client.id\":\"x\""), "{json}");
    }

    #[test]
    fn what_cannot_be_is_refused_by_key() {
        let base =
            "name = \"n\"\nkind = \"mqtt\"\nurl = \"mqtt://h\"\n[[routes]]\ntopics = [\"a\"]\n";
        for (from, to, key) in [
            ("name = \"n\"", "name = \"\"", "name"),
            ("mqtt://h", "http://h", "url"),
            ("mqtt://h", "mqtt://u:p@h", "url"),
            ("mqtt://h", "mqtt://h:x", "url"),
            ("mqtt://h", "mqtt://a,b", "url"),
            ("mqtt://h", "mqtt://", "url"),
            ("url =", "qos = 3\nurl =", "qos"),
            ("url =", "message_bytes_max = 0\nurl =", "message_bytes_max"),
            ("url =", "cert_file = \"x\"\nurl =", "key_file"),
            ("topics = [\"a\"]", "pattern = \"a\"", "routes"),
            ("topics = [\"a\"]", "topics = [\"a/#/b\"]", "routes[0].topics"),
            ("\"mqtt\"", "\"mqtt_sink\"", "routes"),
            ("url =", "feeds = [{ table = \"t\", topic = \"t\" }]\nurl =", "feeds"),
            ("url =", "options = { \"linger.ms\" = \"1\" }\nurl =", "options"),
            ("\"mqtt\"\nurl = \"mqtt:", "\"kafka\"\nqos = 1\nurl = \"kafka:", "qos"),
        ] {
            let text = base.replace(from, to);
            let wrong = spec(&text).validate("connectors[1]").unwrap_err().to_string();
            assert!(wrong.contains(&format!("connectors[1].{key}:")), "{text}: {wrong}");
        }
        assert!(toml::from_str::<ConnectorSpec>(&base.replace("url", "uri")).is_err());
    }
}
