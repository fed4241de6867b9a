//! Takes in Kafka topics, exactly once in effect.
//!
//! A thread of its own polls the group and decodes; each partition writes one batch after another.
//! The place of a partition goes into the same log entries as its rows, as a cursor, and tablets
//! keep marks of what they have seen. The catalog keeps, for each partition, a place below which
//! all is stored: there reading goes on after a restart, and what is read again the marks leave
//! out. What the broker knows of the group's offsets is a hint for other tools.

mod assignment;
mod consumer;
mod partition;
mod reader;
mod subscription;

use crate::{
    Error, Result,
    connector::{ConnectorSpec, RunContext},
    kafka,
};
use reader::Reader;
use std::sync::Arc;

/// Reads until the context says stop, or something goes wrong that a new start may heal.
pub(crate) async fn run(spec: &ConnectorSpec, context: &RunContext) -> Result<()> {
    let config = kafka::config::consumer(spec)?;
    let routes = Arc::new(spec.routes("connector")?);
    let mut reader =
        Reader::open(&config, spec, context, routes, tokio::runtime::Handle::current())?;
    let (done, ended) = tokio::sync::oneshot::channel();
    let name = format!("oribi-kafka-{}", spec.name);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let outcome = reader.run();
        // The group knows that this member has left before another one joins.
        drop(reader);
        // Nobody listens any more where the connector's task was dropped.
        drop(done.send(outcome));
    });
    thread.map_err(|wrong| Error::Broker {
        action: "read from",
        target: spec.url.clone(),
        reason: format!("the system gives no thread: {wrong}"),
    })?;
    ended.await.unwrap_or_else(|_| {
        let (target, reason) = (spec.url.clone(), "the reading thread panicked".to_owned());
        Err(Error::Broker { action: "read from", target, reason })
    })
}
