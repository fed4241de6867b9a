//! Every way in: decoders, HTTP writes, the MQTT listener and its dead letters.
//!
//! Rows leave this crate through [`oribi_ingest::Ingest`]; what is underneath is not known here.

pub mod connector;
pub mod dead_letter;
pub mod decode;
mod error;
pub mod http;
mod kafka;
mod kafka_source;
pub mod mapping;
pub mod mqtt_listener;
mod mqtt_source;
mod pump;
mod sink;
#[cfg(test)]
mod testing;

pub use connector::{ConnectorSpec, ConnectorStore, Connectors, Described, FeedSpec};
pub use error::{Error, Result};
pub use http::{WriteOptions, write_router};
pub use mapping::RouteSpec;
pub use mqtt_listener::{MqttListener, MqttListenerOptions};
