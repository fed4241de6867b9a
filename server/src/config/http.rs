//! Bounds of the HTTP front door.

use oribi_connectors::WriteOptions;
use serde::Deserialize;
use std::time::Duration;

/// Which names a node has that nobody listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reach {
    /// Those of this machine and those without a dot.
    #[default]
    Machine,
    /// Also those that name servers of private networks give.
    Network,
}

/// Bounds of the HTTP front door, `[http]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct HttpOptions {
    /// Largest body of a write as sent, bytes.
    pub(crate) body_bytes_max: usize,
    /// Largest body of a write once decompressed, bytes.
    pub(crate) decompressed_bytes_max: usize,
    /// Most decompressed bytes for one compressed byte, past the first MiB.
    pub(crate) ratio_max: usize,
    /// Bodies of writes in progress, as sent, bytes; past it writes wait.
    pub(crate) inflight_bytes_max: usize,
    /// How long a write waits for room before it is refused with 503, ms.
    pub(crate) wait_ms_max: u64,
    /// How far ahead of now an event may lie, ns.
    pub(crate) ahead_ns_max: i64,
    /// Request line and headers, bytes.
    pub(crate) header_bytes_max: usize,
    /// How long a client may take to send them, ms.
    pub(crate) header_ms_max: u64,
    /// Longest pause within a body, of a request or of an answer, ms.
    pub(crate) body_idle_ms_max: u64,
    /// How long a connection is kept between requests, ms.
    pub(crate) keep_alive_ms_max: u64,
    /// Connections at once; past it the one that is idle longest makes room.
    pub(crate) connections_max: usize,
    /// Names under which the node is reached, beside addresses, `localhost`, names without a dot and
    /// this machine's own.
    pub(crate) hosts: Vec<String>,
    /// Origins of web pages that may use the API from a browser, or `*`.
    pub(crate) cors_origins: Vec<String>,
    /// Whether every request is logged.
    pub(crate) access_log: bool,
}

impl Default for HttpOptions {
    fn default() -> HttpOptions {
        let write = WriteOptions::default();
        HttpOptions {
            body_bytes_max: write.body_bytes_max,
            decompressed_bytes_max: write.decompressed_bytes_max,
            ratio_max: write.ratio_max,
            inflight_bytes_max: 64 << 20,
            wait_ms_max: 10_000,
            ahead_ns_max: write.ahead_ns_max,
            header_bytes_max: 16 << 10,
            header_ms_max: 10_000,
            body_idle_ms_max: 30_000,
            keep_alive_ms_max: 120_000,
            connections_max: 2_048,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            access_log: false,
        }
    }
}

impl HttpOptions {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// Names the key, what it is and what was expected.
    pub(super) fn validate(&self) -> Result<(), String> {
        let bounds = [
            ("body_bytes_max", self.body_bytes_max as u64, 1024, 1 << 30),
            ("decompressed_bytes_max", self.decompressed_bytes_max as u64, 1024, 4 << 30),
            ("ratio_max", self.ratio_max as u64, 1, 10_000),
            ("header_bytes_max", self.header_bytes_max as u64, 1024, 1 << 20),
            ("wait_ms_max", self.wait_ms_max, 0, 600_000),
            ("header_ms_max", self.header_ms_max, 1, 600_000),
            ("body_idle_ms_max", self.body_idle_ms_max, 1, 600_000),
            ("keep_alive_ms_max", self.keep_alive_ms_max, 1, 86_400_000),
            ("connections_max", self.connections_max as u64, 1, 1 << 20),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                return Err(format!("{key} is {value}; expected {least} to {most}"));
            }
        }
        if self.inflight_bytes_max < self.body_bytes_max {
            return Err(
                "inflight_bytes_max is less than body_bytes_max; expected at least that".into()
            );
        }
        if self.ahead_ns_max < 0 {
            return Err("ahead_ns_max is negative; expected 0 or more".into());
        }
        if let Some(other) = self.hosts.iter().find(|host| host.contains(['/', ':', ' ', '*'])) {
            return Err(format!(
                "hosts holds {other:?}; expected names without port, such as \"db.example\""
            ));
        }
        let is_origin = |origin: &String| origin == "*" || origin.contains("://");
        if let Some(other) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(format!(
                "cors_origins holds {other:?}; expected origins such as \
                 \"https://dashboard.example\", or \"*\""
            ));
        }
        Ok(())
    }

    /// The part that the write paths take.
    pub(crate) fn write_options(&self) -> WriteOptions {
        WriteOptions {
            body_bytes_max: self.body_bytes_max,
            decompressed_bytes_max: self.decompressed_bytes_max,
            ratio_max: self.ratio_max,
            idle_timeout: self.body_idle(),
            ahead_ns_max: self.ahead_ns_max,
        }
    }

    /// How long a write waits for room.
    pub(crate) fn wait_max(&self) -> Duration {
        Duration::from_millis(self.wait_ms_max)
    }

    /// Longest pause within a body.
    pub(crate) fn body_idle(&self) -> Duration {
        Duration::from_millis(self.body_idle_ms_max)
    }
}
