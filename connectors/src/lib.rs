//! Every way in and out: HTTP writes, the MQTT listener, connectors, dead letters.
//!
//! Rows leave this crate through [`oribi_ingest::Ingest`] and come back through [`oribi_model::Feed`]; what
//! is underneath is not known here.

mod agent;
mod births;
pub mod connector;
pub mod dead_letter;
mod error;
pub mod http;
mod kafka;
mod kafka_source;
mod mqtt;
pub mod mqtt_listener;
mod mqtt_source;
mod pump;
mod registry;
pub mod replay;
mod sink;
mod sparkplug_store;
mod spec;
mod supervisor;
#[cfg(test)]
mod testing;

pub use connector::{ConnectorStore, FeedSpec, Seat};
pub use error::{Error, Result};
pub use http::{WriteOptions, write_router};
pub use mqtt_listener::{MqttListener, MqttListenerOptions};
pub use oribi_decode::{Message, RouteSpec, mapping::TopicStyle};
pub use spec::{ConnectorSpec, Described, Explained, KindSpec, Shown, explain};
pub use supervisor::Connectors;
