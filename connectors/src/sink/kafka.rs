//! Kafka as an outlet: an idempotent producer whose confirmations are counted.

use super::{Outlet, broken};
use crate::{
    Error, Result,
    connector::{Common, Progress, RunContext},
    kafka::{config, tokens::TokenSource},
};
use parking_lot::{Condvar, Mutex};
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer},
    types::RDKafkaRespErr,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How long a full queue is left alone.
const FULL_PAUSE: Duration = Duration::from_millis(5);
/// How often waiting looks whether to stop.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the broker may take to tell of a topic.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Counts what the brokers confirmed.
struct Confirmations {
    counts: Mutex<Counts>,
    changed: Condvar,
    progress: Arc<Progress>,
    tokens: Option<TokenSource>,
}

#[derive(Default)]
struct Counts {
    done: u64,
    failure: Option<String>,
}

impl ClientContext for Confirmations {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn log(&self, _: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "librdkafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.progress.kafka_failed(&error, reason);
    }

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> std::result::Result<OAuthToken, Box<dyn std::error::Error>> {
        TokenSource::answer(self.tokens.as_ref())
    }
}

impl ProducerContext for Confirmations {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let mut counts = self.counts.lock();
        counts.done += 1;
        if let Err((wrong, _)) = result {
            counts.failure.get_or_insert_with(|| wrong.to_string());
        }
        drop(counts);
        self.changed.notify_one();
    }
}

/// A producer.
pub(super) struct KafkaOutlet {
    producer: ThreadedProducer<Confirmations>,
    sent: u64,
    url: String,
    stop: CancellationToken,
}

impl KafkaOutlet {
    /// # Errors
    /// [`Error::Config`]: options that librdkafka refuses together.
    pub(super) fn new(
        options: &BTreeMap<String, String>,
        common: &Common,
        context: &RunContext,
    ) -> Result<KafkaOutlet> {
        let confirmations = Confirmations {
            counts: Mutex::default(),
            changed: Condvar::new(),
            progress: context.progress.clone(),
            tokens: TokenSource::of(options, "connector")?,
        };
        let producer = config::producer(common, options)?.create_with_context(confirmations);
        let producer = producer.map_err(|wrong| Error::config("options", wrong.to_string()))?;
        let (url, stop) = (common.url.clone(), context.stop.clone());
        Ok(KafkaOutlet { producer, sent: 0, url, stop })
    }
}

impl Outlet for KafkaOutlet {
    fn meet(&mut self) -> Result<()> {
        // Why none answers stands in the status meanwhile.
        while self.producer.client().fetch_cluster_id(LOOK_EVERY).is_none() {
            if self.stop.is_cancelled() {
                return Err(broken(&self.url, "the node stops"));
            }
        }
        Ok(())
    }

    fn obstacle(&mut self, topic: &str) -> Result<Option<String>> {
        let known = self.producer.client().fetch_metadata(Some(topic), ANSWER_WAIT);
        let known = known.map_err(|wrong| broken(&self.url, wrong))?;
        let found = known.topics().iter().find(|one| one.name() == topic);
        let is_missing = found.is_none_or(|found| {
            found.error() == Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        });
        Ok(is_missing.then(|| format!("the topic {topic:?} does not exist")))
    }

    fn send(&mut self, topic: &str, key: &str, payload: &[u8]) -> Result<()> {
        let mut record = BaseRecord::to(topic).key(key).payload(payload);
        loop {
            match self.producer.send(record) {
                Ok(()) => {
                    self.sent += 1;
                    return Ok(());
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    if self.stop.is_cancelled() {
                        return Err(broken(&self.url, "the node stops"));
                    }
                    record = back;
                    std::thread::sleep(FULL_PAUSE);
                }
                Err((wrong, _)) => return Err(broken(&self.url, wrong)),
            }
        }
    }

    fn settle(&mut self) -> Result<()> {
        let confirmations = self.producer.context();
        let mut counts = confirmations.counts.lock();
        while counts.done < self.sent {
            if self.stop.is_cancelled() {
                return Err(broken(&self.url, "the node stops"));
            }
            confirmations.changed.wait_for(&mut counts, LOOK_EVERY);
        }
        counts.failure.take().map_or(Ok(()), |reason| Err(broken(&self.url, reason)))
    }
}
