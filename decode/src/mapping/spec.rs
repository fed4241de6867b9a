//! Configuration of a route.

use crate::preset::Preset;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::PathBuf};

/// How payloads are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decoder {
    /// JSON, line protocol or a bare value, by the looks of the payload.
    #[default]
    Auto,
    /// A JSON object or an array of them.
    Json,
    /// InfluxDB line protocol.
    LineProtocol,
    /// One number, boolean or text.
    Value,
    /// CSV with a header line.
    Csv,
    /// MessagePack, a map or an array of maps.
    Msgpack,
    /// CBOR (RFC 8949), a map or an array of maps.
    Cbor,
    /// JSON in Kafka Connect's envelope of schema and payload, and change events of Debezium.
    Envelope,
    /// Avro.
    Avro,
    /// Protocol Buffers.
    Protobuf,
    /// Sparkplug B, which says itself what is tag, field and time.
    SparkplugB,
}

/// How the messages of some topics become rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteSpec {
    /// MQTT filters, or Kafka topics of which a leading `^` makes a regular expression. None: all
    /// that `pattern` fits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<String>,
    /// Levels divided by `/`: text, `{name}` for a level that becomes the tag `name`, `+` for any
    /// level, `#` at the end for any number of levels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// How payloads are read.
    pub decoder: Decoder,
    /// File of the schema of Avro (`.avsc`) or Protobuf (`.proto`, or a compiled set of descriptors)
    /// messages; none: they begin with the id of a schema in the connector's registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_file: Option<PathBuf>,
    /// Name of the Protobuf message; the first of the file when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whose messages they are, instead of a decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// The database; `default` when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub db: Option<String>,
    /// The table, in which `{name}` stands for what the pattern captured.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Tags: `=text`, `$.path` in the payload, `{name}` of the pattern, `$key` and `$header.NAME`
    /// of a Kafka record.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Fields and their paths; none: all members that are neither tag nor time.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
    /// Words, in any case, that stand for no value where a payload is one bare value, and for no time;
    /// absent: `unavailable`, `unknown`, `none`, `null`, `nan`, `undefined` and the empty text, which
    /// then stand for no value alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nulls: Option<Vec<String>>,
    /// Path of the time; absent: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Unit of a time that is a number: `ns us ms s m h`; absent: detected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_unit: Option<String>,
}
