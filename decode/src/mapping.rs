//! From a message to rows: which route its topic takes, which table and tags that means, and how
//! its payload is read.

mod error;
mod pattern;
mod payload;
mod route;
mod schema;
mod select;
mod spec;
#[cfg(test)]
mod tests;

pub use error::RouteError;
pub use pattern::TopicStyle;
pub use route::Routes;
pub use schema::{SchemaPlaces, SchemasById};
pub use spec::{Decoder, RouteSpec};

pub(crate) use payload::{
    BatchSlot, Reading, is_lines, read_lines, read_preset, read_rows, read_sparkplug,
};
pub(crate) use route::Route;
pub(crate) use schema::SchemaSource;

/// A message as a source hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its content.
    pub payload: &'a [u8],
    /// The key of a Kafka record.
    pub key: Option<&'a [u8]>,
    /// The headers of a Kafka record.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// The time of rows that have none of their own, ns since the Unix epoch; `None`: arrival.
    pub time_ns: Option<i64>,
    /// The partition of a Kafka record.
    pub partition: Option<i32>,
}

impl<'a> Message<'a> {
    /// A message without key, headers and time.
    #[inline]
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Message<'a> {
        Message { topic, payload, key: None, headers: &[], time_ns: None, partition: None }
    }
}
