//! Takes in Kafka topics, exactly once in effect.
//!
//! A thread of its own polls the group and decodes; each partition writes one batch after another.
//! How far a partition has been read goes into the same log entries as its rows, as a cursor, and tablets
//! keep marks of what they have seen. The catalog keeps, for each partition, an offset below which
//! all is stored: there reading goes on after a restart, and what is read again the marks leave
//! out. What the broker knows of the group's offsets is a hint for other tools.

mod assignment;
mod consumer;
mod partition;
mod placing;
mod reader;
mod spec;
mod start;
mod subscription;
mod topics;

use crate::{
    Error, Result,
    connector::{Common, RunContext},
    kafka,
};
pub(crate) use spec::KafkaSource;

use assignment::MADE;
use oribi_decode::mapping::{Decoder, TopicStyle};
use reader::Reader;
use std::collections::BTreeMap;

/// Reads until the context says stop, or something goes wrong that a new start may heal.
async fn run(spec: &KafkaSource, common: &Common, context: &RunContext) -> Result<()> {
    let config = kafka::config::consumer(common, &spec.options)?;
    let routes = common.compile(&spec.routes, TopicStyle::Kafka, "connector")?;
    let label = label(context).await?;
    if spec.routes.iter().any(|route| route.decoder == Decoder::SparkplugB) {
        context.nodes.load(context.parts.feed.clone(), &context.name).await?;
    }
    let mut reader = Reader::open(&config, spec, common, context, routes, label)?;
    let (done, ended) = tokio::sync::oneshot::channel();
    let name = format!("oribi-kafka-{}", common.name);
    let thread = std::thread::Builder::new().name(name).spawn(move || {
        let outcome = reader.run();
        // The group knows that this member has left before another one joins.
        drop(reader);
        // Nobody listens any more where the connector's task was dropped.
        drop(done.send(outcome));
    });
    thread.map_err(|wrong| Error::Broker {
        action: "read from",
        target: common.url.clone(),
        reason: format!("the system gives no thread: {wrong}"),
    })?;
    ended.await.unwrap_or_else(|_| {
        let (target, reason) = (common.url.clone(), "the reading thread panicked".to_owned());
        Err(Error::Broker { action: "read from", target, reason })
    })
}

/// How the sources of this connector begin as the tablets' marks know them. Those of a connector
/// that was deleted stay in the tablets, and would leave out all that one of its name reads anew.
///
/// # Errors
/// [`Error::Store`].
async fn label(context: &RunContext) -> Result<String> {
    let (name, store) = (&context.name, &context.parts.store);
    let kept = store.cursors(name);
    let number = match kept.get(MADE) {
        Some(number) => *number,
        // It has read before there were such numbers.
        None if !kept.is_empty() => return Ok(name.to_string()),
        None => {
            let number = context.parts.arrival.next_ns().unsigned_abs();
            let made = BTreeMap::from([(MADE.to_owned(), number)]);
            context.save_cursors(made).await.map_err(Error::Store)?;
            number
        }
    };
    Ok(format!("{name}@{number}"))
}
