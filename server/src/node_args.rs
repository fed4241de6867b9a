//! The flags of a node, and the configuration that they and all other sources make.

use crate::{
    config::{self, Config},
    telemetry,
};
use anyhow::{Result, anyhow};
use clap::Args;
use std::path::PathBuf;

/// Flags of a node.
#[derive(Debug, Clone, Args)]
pub(crate) struct NodeArgs {
    /// Where all data lies; made where it is missing.
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Configuration file.
    #[arg(long, value_name = "FILE", env = "ORIBI_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Address of HTTP [default: 127.0.0.1:8640]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http_listen: Option<String>,
    /// Address of the MQTT listener [default: 127.0.0.1:1883]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtt_listen: Option<String>,
    /// Address of the MQTT listener over TLS, by custom port 8883 [default: none]
    #[arg(long, value_name = "ADDR")]
    pub(crate) mqtts_listen: Option<String>,
    /// Address for other nodes [default: 127.0.0.1:8641]
    #[arg(long, value_name = "ADDR")]
    pub(crate) node_listen: Option<String>,
    /// Nodes of the cluster to join, comma-separated; any of them will do.
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) join: Option<String>,
    /// File with the secret that all nodes of the cluster are started with.
    #[arg(long, value_name = "FILE")]
    pub(crate) join_secret_file: Option<PathBuf>,
    /// Where other nodes reach this one [default: the address bound for other nodes]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) advertise: Option<String>,
    /// Whether tokens are asked for: auto, on or off [default: auto]
    #[arg(long, value_name = "MODE")]
    pub(crate) auth: Option<String>,
    /// Certificate of the listeners, PEM [default: one that the node makes]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Key of that certificate, PEM.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen on other addresses than loopback without TLS, and without tokens unless --auth on.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Memory of the process, bytes [default: half of the machine's or of the control group's]
    #[arg(long, value_name = "BYTES")]
    pub(crate) memory_bytes_max: Option<u64>,
    /// Set any key of the configuration, such as storage.log_bytes_max=268435456; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl NodeArgs {
    /// Whether none is given.
    pub(crate) fn is_plain(&self) -> bool {
        let NodeArgs { data_dir, config, http_listen, mqtt_listen, node_listen, join, .. } = self;
        let named = [http_listen, mqtt_listen, &self.mqtts_listen, node_listen, join, &self.auth];
        let paths = [data_dir, config, &self.tls_cert, &self.tls_key, &self.join_secret_file];
        let has_path = paths.iter().any(|path| path.is_some());
        !has_path
            && !self.insecure
            && self.set.is_empty()
            && self.memory_bytes_max.is_none()
            && named.iter().all(|flag| flag.is_none())
    }

    /// The configuration out of all sources, over other `defaults` than usual; the log begins.
    /// `None`: it was refused, and said so.
    pub(crate) fn configure(
        &self,
        defaults: Vec<(&'static str, String)>,
    ) -> Result<Option<Config>> {
        match self.load(defaults) {
            Ok(config) => Ok(Some(config)),
            Err(wrong) => {
                eprintln!("oribi: {wrong:#}");
                Ok(None)
            }
        }
    }

    /// Reads the configuration again, and logs by it. Nothing else changes while the node runs.
    ///
    /// # Errors
    /// A configuration that is refused, of which nothing is used then.
    pub(crate) fn reload(&self) -> Result<()> {
        let (config, warnings) = self.read(Vec::new())?;
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let log = &config.log;
        tracing::info!(log, "configuration read again; other keys than log need a restart");
        telemetry::change_log(log)
    }

    fn load(&self, defaults: Vec<(&'static str, String)>) -> Result<Config> {
        let (mut config, mut warnings) = self.read(defaults)?;
        telemetry::start_log(&config.log)?;
        warnings.extend(config.fit_files(telemetry::raise_file_limit()));
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        Ok(config)
    }

    /// The configuration out of all sources, and what is to be said about it.
    fn read(&self, defaults: Vec<(&'static str, String)>) -> Result<(Config, Vec<String>)> {
        let mut flags = Vec::new();
        let shown = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let named = [
            ("--data-dir", "data_dir", shown(&self.data_dir)),
            ("--http-listen", "http_listen", self.http_listen.clone()),
            ("--mqtt-listen", "mqtt_listen", self.mqtt_listen.clone()),
            ("--mqtts-listen", "mqtts_listen", self.mqtts_listen.clone()),
            ("--node-listen", "node_listen", self.node_listen.clone()),
            ("--auth", "auth.mode", self.auth.clone()),
            ("--tls-cert", "tls.cert_file", shown(&self.tls_cert)),
            ("--tls-key", "tls.key_file", shown(&self.tls_key)),
            ("--join", "cluster.join", self.join.clone()),
            ("--join-secret-file", "cluster.join_secret_file", shown(&self.join_secret_file)),
            ("--advertise", "cluster.advertise", self.advertise.clone()),
            (
                "--memory-bytes-max",
                "memory_bytes_max",
                self.memory_bytes_max.map(|bytes| bytes.to_string()),
            ),
            ("--insecure", "insecure", self.insecure.then(|| "true".to_owned())),
        ];
        for pair in &self.set {
            let (key, value) = pair
                .split_once('=')
                .ok_or_else(|| anyhow!("cannot use --set {pair}: expected --set KEY=VALUE"))?;
            flags.push((format!("--set {pair}"), key.trim().to_owned(), value.to_owned()));
        }
        for (flag, key, value) in named {
            flags.extend(value.map(|value| (flag.to_owned(), key.to_owned(), value)));
        }
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let file = self.config.as_deref();
        let sources = config::Sources { defaults, file, environment, flags };
        config::load(sources)
    }
}
