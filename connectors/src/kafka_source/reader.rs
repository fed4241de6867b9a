//! The reading thread: polls the group, takes records, and keeps cursors.

use super::{
    assignment::Position,
    consumer::{ANSWER_WAIT, Consumer, Events, Rebalance, TopicPartition},
    partition::{Partition, Waited},
    placing::{Placing, broken, renew},
    spec::KafkaSource,
    start::Beginning,
    subscription,
    topics::TopicIds,
};
use crate::{
    Error, Result,
    connector::{Common, PartitionLag, RunContext, State},
    kafka::{
        native::{self, Queue, Record},
        tokens::TokenSource,
    },
    pump::CompiledRoutes,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, RebalanceProtocol},
    types::RDKafkaRespErr,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Records taken at once: enough to make a call cheap, few enough to stay in the caches.
const RECORDS_MAX: usize = 1_000;
/// How long records are waited for before a small batch is written.
const LINGER: Duration = Duration::from_millis(10);
/// How often cursors are kept and lag is looked at.
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// A consumer with its partitions.
pub(super) struct Reader {
    partitions: Vec<Partition>,
    index: PartitionIndex,
    topic_ids: TopicIds,
    queue: Queue<Events>,
    consumer: Arc<Consumer>,
    routes: CompiledRoutes,
    /// How the partitions' sources begin.
    label: String,
    url: String,
    message_bytes_max: usize,
    context: RunContext,
    runtime: Handle,
    kept: Instant,
    beginning: Beginning,
}

impl Reader {
    /// Joins the group.
    ///
    /// # Errors
    /// [`Error::Config`]: options that librdkafka refuses together.
    pub(super) fn open(
        config: &ClientConfig,
        spec: &KafkaSource,
        common: &Common,
        context: &RunContext,
        routes: CompiledRoutes,
        label: String,
    ) -> Result<Reader> {
        let tokens = TokenSource::of(&spec.options, "connector")?;
        let events = Events::new(context.progress.clone(), tokens);
        let refused =
            |wrong: rdkafka::error::KafkaError| Error::config("options", wrong.to_string());
        let consumer: Consumer = config.create_with_context(events).map_err(refused)?;
        let topics = subscription::topics(&spec.routes);
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(refused)?;
        let consumer = Arc::new(consumer);
        let beginning = spec.beginning().map_err(|wrong| Error::config("start", wrong))?;
        Ok(Reader {
            partitions: Vec::new(),
            index: PartitionIndex::default(),
            topic_ids: TopicIds::new(),
            queue: Queue::new(consumer.clone()),
            consumer,
            routes,
            label,
            url: common.url.clone(),
            message_bytes_max: spec.message_bytes_max(),
            context: context.clone(),
            runtime: Handle::current(),
            kept: Instant::now(),
            beginning,
        })
    }

    /// Reads until the context says stop.
    ///
    /// # Errors
    /// [`Error::Broker`]: something that a new start may heal.
    pub(super) fn run(&mut self) -> Result<()> {
        let outcome = self.read();
        // What was taken is stored, so that it need not be read again.
        let all: Vec<TopicPartition> =
            self.partitions.iter().map(|one| (one.topic.to_string(), one.number)).collect();
        self.release(&all);
        self.topic_ids.close(&self.runtime);
        self.consumer.context().close(&self.consumer);
        outcome
    }

    fn read(&mut self) -> Result<()> {
        while !self.context.stop.is_cancelled() {
            self.serve_group()?;
            let wait =
                if self.partitions.iter().any(Partition::is_writing) { LINGER / 5 } else { LINGER };
            self.take(wait)?;
            let progress = self.context.progress.clone();
            for partition in &mut self.partitions {
                if !partition.settle(&progress, &self.runtime) {
                    return self.unstored();
                }
                partition.write(&self.context, &self.runtime);
                if let Err(wrong) = partition.go_on(&self.consumer) {
                    return Err(broken(&self.url, wrong));
                }
            }
            if self.kept.elapsed() >= KEEP_EVERY {
                self.kept = Instant::now();
                self.keep();
                self.look_at_lag();
            }
            if let Some(topic) = self.topic_ids.look(&self.consumer, &self.runtime) {
                return Err(self.broken(format!("the topic {topic:?} was made anew")));
            }
        }
        Ok(())
    }

    /// Takes records until there are none left or a partition was full for a moment.
    fn take(&mut self, wait: Duration) -> Result<()> {
        let progress = self.context.progress.clone();
        let mut wait = wait;
        loop {
            let mut full = self.partitions.iter_mut().filter(|one| one.is_full());
            if let Some(full) = full.find(|one| !one.is_paused()) {
                match full.wait_a_while(&progress, &self.runtime) {
                    Waited::Stored => {
                        full.write(&self.context, &self.runtime);
                        return Ok(());
                    }
                    Waited::Failed => return self.unstored(),
                    // Others go on meanwhile, and librdkafka's own queue is bounded.
                    Waited::InVain => {
                        full.pause(&self.consumer).map_err(|wrong| broken(&self.url, wrong))?;
                        continue;
                    }
                }
            }
            let now_ns = self.partitions.first().map_or(0, Partition::now_ns);
            let Reader { queue, partitions, index, runtime, .. } = self;
            let records = queue.take(wait, RECORDS_MAX);
            if records.is_empty() {
                return Ok(());
            }
            for record in records.iter() {
                if let Some(code) = record.error() {
                    let reason = refusal(record);
                    if !heals_by_new_start(code) {
                        progress.failed(&reason);
                        continue;
                    }
                    let partition = index.of(record, partitions).map(|at| &partitions[at]);
                    if let Some(partition) = partition.filter(|_| record.is_truncation()) {
                        renew(&self.context, runtime, &partition.incarnation)?;
                    }
                    return Err(broken(&self.url, reason));
                }
                // A record of a partition that was revoked meanwhile is another member's.
                if let Some(at) = index.of(record, partitions) {
                    partitions[at].prepare(record, runtime)?;
                    partitions[at].add(record, now_ns, &progress);
                }
            }
            wait = Duration::ZERO;
        }
    }

    fn serve_group(&mut self) -> Result<()> {
        match self.consumer.poll(Duration::ZERO) {
            None => {}
            Some(Err(wrong)) => self.context.progress.kafka_failed(&wrong, ""),
            Some(Ok(_)) => return Err(self.broken("a record came past its queue")),
        }
        loop {
            let event = self.consumer.context().rebalances.lock().pop_front();
            match event {
                None => return Ok(()),
                Some(Rebalance::Assign(partitions)) => self.assign(partitions)?,
                Some(Rebalance::Revoke(partitions)) => self.revoke(&partitions)?,
            }
        }
    }

    fn assign(&mut self, partitions: Vec<TopicPartition>) -> Result<()> {
        let placing = Placing {
            consumer: &self.consumer,
            context: &self.context,
            runtime: &self.runtime,
            label: &self.label,
            beginning: &self.beginning,
            url: &self.url,
        };
        let begun = placing.begin(&partitions, &mut self.topic_ids)?;
        let mut list = TopicPartitionList::new();
        for begin in &begun {
            let at = offset_of(begin.at);
            let added = list.add_partition_offset(&begin.topic, begin.number, at);
            added.map_err(|wrong| self.broken(wrong))?;
            self.queue.lead(&begin.topic, begin.number);
        }
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            _ => self.consumer.assign(&list),
        };
        assigned.map_err(|wrong| self.broken(wrong))?;
        for begin in begun {
            if let Some(epoch) = begin.at.epoch {
                let (topic, number, offset) = (&begin.topic, begin.number, begin.at.offset);
                native::check(&*self.consumer, (topic, number), (offset, epoch), ANSWER_WAIT)
                    .map_err(|wrong| self.broken(wrong))?;
            }
            let (routes, bytes_max) = (self.routes.clone(), self.message_bytes_max);
            self.partitions.push(Partition::new(begin, routes, &self.context, bytes_max));
        }
        self.context.progress.enter(State::Running);
        Ok(())
    }

    fn revoke(&mut self, revoked: &[TopicPartition]) -> Result<()> {
        self.release(revoked);
        let mut list = TopicPartitionList::new();
        for (topic, number) in revoked {
            list.add_partition(topic, *number);
        }
        let unassigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&list),
            _ => self.consumer.unassign(),
        };
        unassigned.map_err(|wrong| self.broken(wrong))
    }

    /// Stores what was taken of some partitions, keeps their cursors, and lets them go.
    fn release(&mut self, released: &[TopicPartition]) {
        let progress = self.context.progress.clone();
        let mine = |one: &Partition| {
            released.iter().any(|(topic, number)| **topic == *one.topic && *number == one.number)
        };
        for partition in self.partitions.iter_mut().filter(|one| mine(one)) {
            partition.finish(&self.context, &progress, &self.runtime);
        }
        self.keep();
        self.partitions.retain(|one| !mine(one));
        self.index = PartitionIndex::default();
    }

    /// Keeps the cursors up to which all is stored: in the catalog, and for other tools at the
    /// broker.
    fn keep(&mut self) {
        let moved = || self.partitions.iter().filter(|one| one.done != one.kept);
        let cursors: BTreeMap<String, u64> =
            moved().flat_map(|one| one.done.cursors(&one.source)).collect();
        if cursors.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for one in moved() {
            let at = offset_of(one.done);
            // A cursor that cannot be put into the list is but a hint less.
            drop(list.add_partition_offset(&one.topic, one.number, at));
        }
        let saving = self.context.save_cursors(cursors);
        match self.runtime.block_on(saving) {
            Ok(()) => self.partitions.iter_mut().for_each(|one| one.kept = one.done),
            Err(wrong) => {
                // Reading would begin further back, and marks would leave out what is there.
                tracing::warn!(connector = %self.context.name, wrong, "cannot keep cursors");
            }
        }
        if let Err(wrong) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(connector = %self.context.name, %wrong, "cannot commit offsets");
        }
    }

    fn look_at_lag(&self) {
        let lag = |one: &Partition| {
            let (_, high) = native::watermarks(&*self.consumer, &one.topic, one.number);
            let (topic, offset) = (one.topic.to_string(), one.done.offset);
            let lag = u64::try_from(high).unwrap_or(0).saturating_sub(offset);
            PartitionLag { topic, partition: one.number, offset, lag }
        };
        self.context.progress.set_lags(self.partitions.iter().map(lag).collect());
    }

    fn unstored(&self) -> Result<()> {
        match self.context.stop.is_cancelled() {
            true => Ok(()),
            false => Err(self.broken("a batch could not be stored")),
        }
    }

    fn broken(&self, reason: impl std::fmt::Display) -> Error {
        broken(&self.url, reason)
    }
}

/// Where the partitions of records lie in the reader's list, by topic token and number; found by
/// name once for each topic handle.
#[derive(Default)]
struct PartitionIndex {
    known: HashMap<(usize, i32), usize>,
    /// That of the last record, which is mostly the next one's too.
    last: Option<((usize, i32), usize)>,
}

impl PartitionIndex {
    fn of(&mut self, record: Record<'_>, partitions: &[Partition]) -> Option<usize> {
        let key = (record.topic_token(), record.partition());
        let last = self.last.filter(|(last, _)| *last == key).map(|(_, at)| at);
        let at = last.or_else(|| self.known.get(&key).copied()).or_else(|| {
            let topic = record.topic();
            let mine = |one: &Partition| one.number == record.partition() && *one.topic == *topic;
            let at = partitions.iter().position(mine)?;
            self.known.insert(key, at);
            Some(at)
        })?;
        self.last = Some((key, at));
        Some(at)
    }
}

fn offset_of(position: Position) -> Offset {
    Offset::Offset(i64::try_from(position.offset).unwrap_or(i64::MAX))
}

/// What came instead of a record.
fn refusal(record: Record<'_>) -> String {
    let said = String::from_utf8_lossy(record.payload().unwrap_or_default());
    format!("{}, partition {}: {said}", record.topic(), record.partition())
}

/// Whether a new start finds an offset to go on from: the broker no longer has the one asked for.
fn heals_by_new_start(code: i32) -> bool {
    code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32
        || code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as i32
}
