//! Every way in: decoders, HTTP writes, the MQTT listener and its dead letters.
//!
//! Rows leave this crate through [`oribi_ingest::Ingest`]; what is underneath is not known here.

pub mod dead_letter;
pub mod decode;
mod error;
pub mod http;
pub mod mapping;
pub mod mqtt_listener;
mod pump;
#[cfg(test)]
mod testing;

pub use error::{Error, Result};
pub use http::{WriteOptions, write_router};
pub use mapping::RouteSpec;
pub use mqtt_listener::{MqttListener, MqttListenerOptions};
