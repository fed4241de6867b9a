//! Configuration: one TOML file, over which come the environment and flags.

mod audit;
mod auth;
mod cluster;
mod files;
mod http;
mod keys;
mod layers;
mod memory;
mod secrets;
mod tls;

pub(crate) use audit::AuditOptions;
pub(crate) use auth::{AuthMode, AuthOptions, TokenMode};
pub(crate) use cluster::ClusterOptions;
pub(crate) use http::{HttpOptions, Reach};
pub(crate) use layers::{Sources, load};
pub(crate) use memory::parts as memory_parts;
pub(crate) use secrets::SecretsOptions;
pub(crate) use tls::{ClientCertificates, TlsOptions, TlsVersion};

use oribi_cluster::NodeOptions;
use oribi_connectors::{ConnectorSpec, MqttListenerOptions};
use oribi_ingest::IngestOptions;
use oribi_query::QueryOptions;
use serde::Deserialize;
use std::path::PathBuf;

/// Everything that can be set.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Config {
    /// Where all data lies; made where it is missing.
    pub(crate) data_dir: PathBuf,
    /// Address of HTTP.
    pub(crate) http_listen: String,
    /// Address of the MQTT listener.
    pub(crate) mqtt_listen: String,
    /// Address of the MQTT listener over TLS; none when absent.
    pub(crate) mqtts_listen: Option<String>,
    /// Address for other nodes.
    pub(crate) node_listen: String,
    /// Whether listeners may be bound to other addresses than loopback.
    pub(crate) insecure: bool,
    /// Memory of the process, bytes, of which others are parts unless they are set.
    pub(crate) memory_bytes_max: u64,
    /// What is logged: a level, or directives such as `info,oribi_query=debug`.
    pub(crate) log: String,
    /// Tokens.
    pub(crate) auth: AuthOptions,
    /// The audit log.
    pub(crate) audit: AuditOptions,
    /// TLS of HTTP and MQTT.
    pub(crate) tls: TlsOptions,
    /// The key of secrets that are kept.
    pub(crate) secrets: SecretsOptions,
    /// The cluster that the node belongs to.
    pub(crate) cluster: ClusterOptions,
    /// The node's storage.
    pub(crate) storage: NodeOptions,
    /// The write path.
    pub(crate) ingest: IngestOptions,
    /// The HTTP front door.
    pub(crate) http: HttpOptions,
    /// The MQTT listener.
    pub(crate) mqtt: MqttListenerOptions,
    /// Limits of queries.
    pub(crate) query: QueryOptions,
    /// The folder of the files that connectors made over HTTP may name; `DATA_DIR/connector-files`
    /// when absent.
    pub(crate) connector_files: Option<PathBuf>,
    /// Sources and sinks.
    pub(crate) connectors: Vec<ConnectorSpec>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            data_dir: "oribi-data".into(),
            http_listen: "127.0.0.1:8640".into(),
            mqtt_listen: "127.0.0.1:1883".into(),
            mqtts_listen: None,
            node_listen: "127.0.0.1:8641".into(),
            insecure: false,
            memory_bytes_max: u64::MAX,
            log: "info".into(),
            auth: AuthOptions::default(),
            audit: AuditOptions::default(),
            tls: TlsOptions::default(),
            secrets: SecretsOptions::default(),
            cluster: ClusterOptions::default(),
            storage: NodeOptions::default(),
            ingest: IngestOptions::default(),
            http: HttpOptions::default(),
            mqtt: MqttListenerOptions::default(),
            query: QueryOptions::default(),
            connector_files: None,
            connectors: Vec::new(),
        }
    }
}

impl Config {
    /// The folder of the files that connectors made over HTTP may name.
    pub(crate) fn connector_files(&self) -> PathBuf {
        let default = || self.data_dir.join("connector-files");
        self.connector_files.clone().unwrap_or_else(default)
    }

    /// Which names the node has that nobody listed.
    pub(crate) fn reach(&self) -> Reach {
        if self.insecure { Reach::Network } else { Reach::Machine }
    }

    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the key, what it is and what was expected.
    fn validate(&self) -> Result<(), String> {
        memory::validate(self.memory_bytes_max)?;
        let within = |section: &'static str| move |wrong: String| format!("{section}.{wrong}");
        self.cluster.validate().map_err(within("cluster"))?;
        self.audit.validate().map_err(within("audit"))?;
        self.tls.validate().map_err(within("tls"))?;
        self.storage.validate().map_err(within("storage"))?;
        self.ingest.validate().map_err(within("ingest"))?;
        self.http.validate().map_err(within("http"))?;
        self.query.validate().map_err(within("query"))?;
        self.mqtt.validate().map_err(|wrong| wrong.to_string())?;
        for (at, connector) in self.connectors.iter().enumerate() {
            let checked = connector.validate(&format!("connectors[{at}]"));
            checked.map_err(|wrong| wrong.to_string())?;
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err("data_dir is empty; expected a folder".into());
        }
        Ok(())
    }
}
