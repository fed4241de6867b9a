//! Configuration of the MQTT listener.

use crate::{Error, Result};
use oribi_decode::RouteSpec;
use serde::Deserialize;

/// Configuration of the listener, `[mqtt]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MqttListenerOptions {
    /// The first rule whose pattern fits a topic decides.
    pub topics: Vec<RouteSpec>,
    /// Largest packet that is decoded; larger publishes become dead letters.
    pub packet_bytes_max: usize,
    /// How long a batch waits for more messages, ms.
    pub linger_ms: u64,
    /// A batch is written at once from this many rows on.
    pub batch_rows_max: usize,
    /// A batch is written at once from this many bytes of messages on.
    pub batch_bytes_max: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// Sessions of clients that are away, whose QoS 2 packet ids are remembered.
    pub sessions_max: usize,
    /// Memory of all that clients make the listener remember beyond 8 KiB a connection, bytes:
    /// unfinished packets, topic aliases, wills, sessions and their QoS 2 packet ids. Past it
    /// what was used least lately goes.
    pub memory_bytes_max: usize,
    /// How long a new connection may take to say CONNECT, ms.
    pub connect_timeout_ms: u64,
    /// How far ahead of now an event may lie, ns.
    pub ahead_ns_max: i64,
}

impl Default for MqttListenerOptions {
    fn default() -> MqttListenerOptions {
        MqttListenerOptions {
            topics: vec![RouteSpec {
                pattern: Some("sensors/{site}/{device}".into()),
                table: Some("sensors".into()),
                ..RouteSpec::default()
            }],
            packet_bytes_max: 1 << 20,
            linger_ms: 1,
            batch_rows_max: 32_768,
            batch_bytes_max: 8 << 20,
            connections_max: 10_000,
            sessions_max: 100_000,
            memory_bytes_max: 40 << 20,
            connect_timeout_ms: 10_000,
            ahead_ns_max: oribi_decode::AHEAD_NS_MAX,
        }
    }
}

impl MqttListenerOptions {
    /// Checks what the types cannot.
    ///
    /// # Errors
    /// [`Error::Config`] names the key.
    pub fn validate(&self) -> Result<()> {
        let bounds = [
            ("packet_bytes_max", self.packet_bytes_max, 1024, 256 << 20),
            ("batch_rows_max", self.batch_rows_max, 1, 1 << 20),
            ("batch_bytes_max", self.batch_bytes_max, 1024, 256 << 20),
            ("connections_max", self.connections_max, 1, 1 << 20),
            ("sessions_max", self.sessions_max, 1, 1 << 24),
            ("memory_bytes_max", self.memory_bytes_max, 1 << 20, 1 << 40),
            ("linger_ms", self.linger_ms as usize, 0, 1000),
            ("connect_timeout_ms", self.connect_timeout_ms as usize, 1, 600_000),
        ];
        for (key, value, least, most) in bounds {
            if !(least..=most).contains(&value) {
                let reason = format!("{value} is not between {least} and {most}");
                return Err(Error::config(format!("mqtt.{key}"), reason));
            }
        }
        Ok(())
    }
}
