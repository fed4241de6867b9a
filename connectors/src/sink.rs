//! Passes committed rows on: to Kafka topics, or to an MQTT broker. At least once, in the order in
//! which each tablet committed them.
//!
//! A feed keeps its cursor in each tablet, a log index, in the catalog, and moves it on only once
//! the broker has confirmed every record below. Rows that the log has let go come from segments
//! instead, whole, so that some may come again: each record has an id that stays the same.
//!
//! A feed of windows keeps the same cursors, and the time up to which all windows were sent. Rows of
//! windows before it are late: their windows are sent again, with a greater revision.

mod avro;
mod cursors;
mod kafka;
mod mqtt;
mod pass;
mod record;
mod sent;
mod spec;
mod window_record;
mod windows;

use crate::{
    Error, Result,
    connector::{Common, FeedSpec, RunContext},
};

pub(crate) use spec::{KafkaSink, MqttSink};

use tokio::runtime::Handle;

/// Where records go.
trait Outlet {
    /// Waits until a broker answers.
    ///
    /// # Errors
    /// [`Error::Broker`].
    fn meet(&mut self) -> Result<()>;

    /// Why records cannot be sent to a topic, as long as that is so.
    ///
    /// # Errors
    /// [`Error::Broker`].
    fn obstacle(&mut self, topic: &str) -> Result<Option<String>>;

    /// Hands a record over; waits where the queue is full.
    ///
    /// # Errors
    /// [`Error::Broker`].
    fn send(&mut self, topic: &str, key: &str, payload: &[u8]) -> Result<()>;

    /// Waits until everything handed over is confirmed.
    ///
    /// # Errors
    /// [`Error::Broker`]: something was not, so that all since the last call may be missing.
    fn settle(&mut self) -> Result<()>;
}

/// Runs until the context says stop, or something goes wrong that a new start may heal. `open` opens
/// the way out on a thread that may wait.
async fn run<O: Outlet>(
    feeds: &[FeedSpec],
    common: &Common,
    context: &RunContext,
    open: impl FnOnce(&Common, &RunContext, &Handle) -> Result<O> + Send + 'static,
) -> Result<()> {
    let (feeds, common, context) = (feeds.to_vec(), common.clone(), context.clone());
    let url = common.url.clone();
    let runtime = Handle::current();
    let passing = tokio::task::spawn_blocking(move || {
        let outlet = open(&common, &context, &runtime)?;
        pass::run(&feeds, &common, &context, &runtime, outlet)
    });
    passing.await.unwrap_or_else(|wrong| Err(broken(&url, wrong)))
}

fn broken(url: &str, reason: impl std::fmt::Display) -> Error {
    Error::Broker { action: "publish to", target: url.to_owned(), reason: reason.to_string() }
}
