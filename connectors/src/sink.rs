//! Passes committed rows on: to Kafka topics, or to an MQTT broker. At least once, in the order in
//! which each tablet committed them.
//!
//! A feed keeps its place in each tablet, a log index, in the catalog, and moves it on only once
//! the broker has confirmed every record below. Rows that the log has let go come from segments
//! instead, whole, so that some may come again: each record has an id that stays the same.
//!
//! A feed of windows keeps the same places, and the time up to which all windows were sent. Rows of
//! windows before it are late: their windows are sent again, with a greater revision.

mod avro;
mod kafka;
mod mqtt;
mod pass;
mod places;
mod record;
mod sent;
mod window_record;
mod windows;

use crate::{
    Error, Result,
    connector::{ConnectorSpec, Kind, RunContext},
};

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

/// Runs until the context says stop, or something goes wrong that a new start may heal.
pub(crate) async fn run(spec: &ConnectorSpec, context: &RunContext) -> Result<()> {
    let (spec, context) = (spec.clone(), context.clone());
    let url = spec.url.clone();
    let runtime = tokio::runtime::Handle::current();
    let passing = tokio::task::spawn_blocking(move || match spec.kind {
        Kind::MqttSink => {
            let outlet = mqtt::MqttOutlet::connect(&spec, &context, &runtime)?;
            pass::run(&spec, &context, &runtime, outlet)
        }
        _ => {
            let outlet = kafka::KafkaOutlet::new(&spec, &context)?;
            pass::run(&spec, &context, &runtime, outlet)
        }
    });
    passing.await.unwrap_or_else(|wrong| Err(broken(&url, wrong)))
}

fn broken(url: &str, reason: impl std::fmt::Display) -> Error {
    Error::Broker { action: "publish to", target: url.to_owned(), reason: reason.to_string() }
}
