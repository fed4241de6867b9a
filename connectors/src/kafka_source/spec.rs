//! Configuration of a Kafka source.

use super::start::{Beginning, Start};
use crate::{
    Error, Result,
    connector::{
        Common, FileMember, Kind, MESSAGE_BYTES_MAX, Outline, RunContext, check_message_bytes_max,
        check_routes, option_files, redacted, schema_files, texts,
    },
    kafka::{config, tokens},
};
use futures::future::BoxFuture;
use oribi_decode::{RouteSpec, mapping::TopicStyle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Takes in Kafka topics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSource {
    /// Messages above become dead letters, bytes; 1 MiB when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message_bytes_max: Option<usize>,
    /// Where a new connector begins to read; with the first records when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// librdkafka's options by its own names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[serde(serialize_with = "redacted", deserialize_with = "texts")]
    pub options: BTreeMap<String, String>,
    /// How messages become rows; the first route that fits decides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<RouteSpec>,
}

impl KafkaSource {
    /// Where it begins.
    ///
    /// # Errors
    /// What was expected.
    pub(super) fn beginning(&self) -> std::result::Result<Beginning, String> {
        self.start.as_ref().map_or(Ok(Beginning::Earliest), Start::read)
    }

    pub(super) fn message_bytes_max(&self) -> usize {
        self.message_bytes_max.unwrap_or(MESSAGE_BYTES_MAX)
    }
}

impl Kind for KafkaSource {
    fn check(&self, common: &Common, key: &str) -> Result<()> {
        check_message_bytes_max(self.message_bytes_max, key)?;
        if let Err(reason) = self.beginning() {
            return Err(Error::config(format!("{key}.start"), reason));
        }
        check_routes(common, &self.routes, TopicStyle::Kafka, key)?;
        config::options(&self.options, key).map(drop)
    }

    fn run<'r>(&'r self, common: &'r Common, context: &'r RunContext) -> BoxFuture<'r, Result<()>> {
        Box::pin(super::run(self, common, context))
    }

    fn describe(&self) -> Outline<'_> {
        Outline { style: TopicStyle::Kafka, routes: &self.routes, feeds: &[] }
    }

    fn files(&mut self) -> Vec<(String, FileMember<'_>)> {
        let mut files = schema_files(&mut self.routes);
        files.extend(option_files(&mut self.options));
        files
    }

    fn urls(&self) -> Vec<(String, &str)> {
        tokens::urls(&self.options)
    }
}
