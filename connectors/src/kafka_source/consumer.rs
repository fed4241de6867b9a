//! The group consumer, whose events are kept for the reading thread to act upon.

use crate::{connector::Progress, kafka::tokens::TokenSource};
use parking_lot::Mutex;
use rdkafka::{
    ClientContext,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::KafkaError,
    topic_partition_list::TopicPartitionList,
    types::RDKafkaRespErr,
};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long the broker may take to answer a question.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// Topic and partition.
pub(super) type TopicPartition = (String, i32);

/// What the group decided.
#[derive(Debug)]
pub(super) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
}

/// Collects what librdkafka calls back with.
pub(super) struct Events {
    pub(super) rebalances: Mutex<VecDeque<Rebalance>>,
    progress: Arc<Progress>,
    tokens: Option<TokenSource>,
    /// The reading thread acts no more, so that the group is answered at once.
    is_closing: AtomicBool,
}

impl Events {
    pub(super) fn new(progress: Arc<Progress>, tokens: Option<TokenSource>) -> Events {
        let is_closing = AtomicBool::new(false);
        Events { rebalances: Mutex::default(), progress, tokens, is_closing }
    }

    /// Gives up all partitions; what the group asks from here on is answered at once, without which
    /// a consumer cannot be closed.
    pub(super) fn close(&self, consumer: &Consumer) {
        self.is_closing.store(true, Ordering::Release);
        // Closing goes on whatever the answer is.
        drop(consumer.unassign());
    }
}

pub(super) type Consumer = BaseConsumer<Events>;

impl ClientContext for Events {
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
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        TokenSource::answer(self.tokens.as_ref())
    }
}

impl ConsumerContext for Events {
    fn rebalance(&self, consumer: &Consumer, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        if self.is_closing.load(Ordering::Acquire) {
            drop(match consumer.rebalance_protocol() {
                RebalanceProtocol::Cooperative => consumer.incremental_unassign(list),
                _ => consumer.unassign(),
            });
            return;
        }
        let partitions = list.elements();
        let partitions =
            partitions.iter().map(|one| (one.topic().to_owned(), one.partition())).collect();
        self.rebalances.lock().push_back(match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Rebalance::Assign(partitions),
            _ => Rebalance::Revoke(partitions),
        });
    }
}
