//! Every way in and out: decoders, HTTP writes, the MQTT listener, connectors, dead letters.
//!
//! Rows leave this crate through [`oribi_ingest::Ingest`] and come back through [`oribi_model::Feed`]; what
//! is underneath is not known here.

mod births;
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
pub mod preset;
mod pump;
pub mod replay;
mod sink;
mod supervisor;
#[cfg(test)]
mod testing;

pub use connector::{ConnectorSpec, ConnectorStore, Described, FeedSpec};
pub use error::{Error, Result};
pub use http::{WriteOptions, write_router};
pub use mapping::RouteSpec;
pub use mqtt_listener::{MqttListener, MqttListenerOptions};
pub use supervisor::Connectors;
