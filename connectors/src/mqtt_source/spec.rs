//! Configuration of an MQTT source.

use crate::{
    Error, Result,
    connector::{
        Common, FileMember, Kind, MESSAGE_BYTES_MAX, Outline, RunContext, check_message_bytes_max,
        check_routes, schema_files,
    },
    mqtt::client_id,
};
use futures::future::BoxFuture;
use oribi_decode::{RouteSpec, mapping::TopicStyle};
use serde::{Deserialize, Serialize};

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

/// Takes in what an MQTT broker has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSource {
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
    /// How messages become rows; the first route that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
}

impl MqttSource {
    pub(super) fn client_id(&self, common: &Common) -> String {
        client_id(self.client_id.as_deref(), common)
    }

    pub(super) fn protocol(&self) -> Protocol {
        self.protocol.unwrap_or_default()
    }

    pub(super) fn qos(&self) -> u8 {
        self.qos.unwrap_or(1)
    }

    pub(super) fn retained(&self) -> Retained {
        self.retained.unwrap_or_default()
    }

    pub(super) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.unwrap_or(MESSAGE_BYTES_MAX)
    }
}

impl Kind for MqttSource {
    fn check(&self, common: &Common, key: &str) -> Result<()> {
        if self.qos() > 2 {
            return Err(Error::config(format!("{key}.qos"), "expected 0, 1 or 2"));
        }
        check_message_bytes_max(self.message_bytes_max, key)?;
        check_routes(common, &self.routes, TopicStyle::Mqtt, key)
    }

    fn run<'r>(&'r self, common: &'r Common, context: &'r RunContext) -> BoxFuture<'r, Result<()>> {
        Box::pin(super::run(self, common, context))
    }

    fn describe(&self) -> Outline<'_> {
        Outline { style: TopicStyle::Mqtt, routes: &self.routes, feeds: &[] }
    }

    fn files(&mut self) -> Vec<(String, FileMember<'_>)> {
        schema_files(&mut self.routes)
    }
}
