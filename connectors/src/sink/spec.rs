//! Configuration of the sinks.

use super::{kafka::KafkaOutlet, mqtt::MqttOutlet};
use crate::{
    Result,
    connector::{
        Common, FeedSpec, FileMember, Kind, Outline, RunContext, check_feeds, option_files,
        redacted, texts,
    },
    kafka::{config, tokens},
    mqtt::client_id,
};
use futures::future::BoxFuture;
use oribi_decode::mapping::TopicStyle;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Passes committed rows and closed windows on to Kafka topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSink {
    /// librdkafka's options by its own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(serialize_with = "redacted", deserialize_with = "texts")]
    pub options: BTreeMap<String, String>,
    /// What it passes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedSpec>,
}

/// Passes committed rows and closed windows on to an MQTT broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MqttSink {
    /// MQTT client id; `oribi-NAME` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What it passes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub feeds: Vec<FeedSpec>,
}

impl Kind for KafkaSink {
    fn check(&self, common: &Common, key: &str) -> Result<()> {
        check_feeds(common, &self.feeds, key)?;
        config::options(&self.options, key).map(drop)
    }

    fn run<'r>(&'r self, common: &'r Common, context: &'r RunContext) -> BoxFuture<'r, Result<()>> {
        let options = self.options.clone();
        Box::pin(super::run(&self.feeds, common, context, move |common, context, _| {
            KafkaOutlet::new(&options, common, context)
        }))
    }

    fn describe(&self) -> Outline<'_> {
        Outline { style: TopicStyle::Kafka, routes: &[], feeds: &self.feeds }
    }

    fn files(&mut self) -> Vec<(String, FileMember<'_>)> {
        option_files(&mut self.options)
    }

    fn urls(&self) -> Vec<(String, &str)> {
        tokens::urls(&self.options)
    }
}

impl Kind for MqttSink {
    fn check(&self, common: &Common, key: &str) -> Result<()> {
        check_feeds(common, &self.feeds, key)
    }

    fn run<'r>(&'r self, common: &'r Common, context: &'r RunContext) -> BoxFuture<'r, Result<()>> {
        let id = client_id(self.client_id.as_deref(), common);
        Box::pin(super::run(&self.feeds, common, context, move |common, context, runtime| {
            MqttOutlet::connect(id, common, context, runtime)
        }))
    }

    fn describe(&self) -> Outline<'_> {
        Outline { style: TopicStyle::Mqtt, routes: &[], feeds: &self.feeds }
    }

    fn files(&mut self) -> Vec<(String, FileMember<'_>)> {
        Vec::new()
    }
}
