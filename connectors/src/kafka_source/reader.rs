//! The reading thread: polls the group, takes records, and keeps places.

use super::{
    assignment::{self, Gap, Known, Life, Reached},
    consumer::{Consumer, Events, Place, Rebalance},
    partition::{Begin, Partition},
    subscription,
};
use crate::{
    Error, Result,
    connector::{ConnectorSpec, RunContext, State},
    kafka::native::{self, Queue, Record},
    mapping::Routes,
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{CommitMode, Consumer as _, RebalanceProtocol},
    types::RDKafkaRespErr,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// Records taken at once: enough to make a call cheap, few enough to stay in the caches.
const RECORDS_MAX: usize = 1_000;
/// How long records are waited for before a small batch is written.
const LINGER: Duration = Duration::from_millis(10);
/// How often places are kept and lag is looked at.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How often topics are looked at for whether they were made anew.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the broker may take to answer a question.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// A consumer with its partitions.
pub(super) struct Reader {
    partitions: Vec<Partition>,
    places: Places,
    topic_ids: HashMap<String, String>,
    queue: Queue,
    consumer: Arc<Consumer>,
    routes: Arc<Routes>,
    /// How the partitions' sources begin.
    label: String,
    url: String,
    message_bytes_max: usize,
    context: RunContext,
    runtime: Handle,
    kept: Instant,
    looked: Instant,
}

impl Reader {
    /// Joins the group.
    ///
    /// # Errors
    /// [`Error::Config`]: options that librdkafka refuses together.
    pub(super) fn open(
        config: &ClientConfig,
        spec: &ConnectorSpec,
        context: &RunContext,
        routes: Arc<Routes>,
        label: String,
        runtime: Handle,
    ) -> Result<Reader> {
        let events = Events::new(context.progress.clone());
        let refused =
            |wrong: rdkafka::error::KafkaError| Error::config("options", wrong.to_string());
        let consumer: Consumer = config.create_with_context(events).map_err(refused)?;
        let topics = subscription::topics(spec);
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(refused)?;
        let consumer = Arc::new(consumer);
        let now = Instant::now();
        Ok(Reader {
            partitions: Vec::new(),
            places: Places::default(),
            topic_ids: HashMap::new(),
            queue: Queue::new(consumer.clone()),
            consumer,
            routes,
            label,
            url: spec.url.clone(),
            message_bytes_max: spec.message_bytes_max(),
            context: context.clone(),
            runtime,
            kept: now,
            looked: now,
        })
    }

    /// Reads until the context says stop.
    ///
    /// # Errors
    /// [`Error::Broker`]: something that a new start may heal.
    pub(super) fn run(&mut self) -> Result<()> {
        let outcome = self.read();
        // What was taken is stored, so that it need not be read again.
        let all: Vec<Place> =
            self.partitions.iter().map(|one| (one.topic.to_string(), one.number)).collect();
        self.release(&all);
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
            }
            if self.kept.elapsed() >= KEEP_EVERY {
                self.kept = Instant::now();
                self.keep();
                self.look_at_lag();
            }
            if self.looked.elapsed() >= LOOK_EVERY {
                self.looked = Instant::now();
                self.look_at_topics()?;
            }
        }
        Ok(())
    }

    /// Takes records until there are none left or a partition is full.
    fn take(&mut self, wait: Duration) -> Result<()> {
        let progress = self.context.progress.clone();
        let mut wait = wait;
        loop {
            if let Some(full) = self.partitions.iter_mut().find(|one| one.is_full()) {
                // Reading waits for the write under way, and librdkafka's own queue is bounded.
                if !full.wait(&progress, &self.runtime) {
                    return self.unstored();
                }
                full.write(&self.context, &self.runtime);
                return Ok(());
            }
            let now_ns = self.partitions.first().map_or(0, Partition::now_ns);
            let Reader { queue, partitions, places, runtime, .. } = self;
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
                    let partition = places.of(record, partitions).map(|at| &partitions[at]);
                    if let Some(partition) = partition.filter(|_| record.is_truncation()) {
                        renew(&self.context, runtime, &partition.life)?;
                    }
                    return Err(broken(&self.url, reason));
                }
                // A record of a partition that was revoked meanwhile is another member's.
                if let Some(at) = places.of(record, partitions) {
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
                Some(Rebalance::Assign(places)) => self.assign(places)?,
                Some(Rebalance::Revoke(places)) => self.revoke(&places)?,
            }
        }
    }

    fn assign(&mut self, places: Vec<Place>) -> Result<()> {
        let saved = self.context.parts.store.cursors(&self.context.name);
        let mut list = TopicPartitionList::new();
        let mut begun = Vec::new();
        for (topic, number) in places {
            let begin = self.begin(&topic, number, &saved)?;
            let at = offset_of(begin.at);
            list.add_partition_offset(&topic, number, at).map_err(|wrong| self.broken(wrong))?;
            self.queue.lead(&topic, number);
            begun.push(begin);
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

    fn begin(&mut self, topic: &str, number: i32, saved: &BTreeMap<String, u64>) -> Result<Begin> {
        let id = self.topic_id(topic)?;
        let mut life = Life::of(format!("{}/{topic}/{id}/{number}", self.label), saved);
        let marks = self.consumer.fetch_watermarks(topic, number, ANSWER_WAIT);
        let (low, high) = marks.map_err(|wrong| self.broken(wrong))?;
        let offset = |mark: i64| u64::try_from(mark).unwrap_or(0);
        let reached = life.reached(saved);
        let cursor = reached.map(|reached| reached.offset);
        let start = assignment::start(Known { cursor, low: offset(low), high: offset(high) });
        if let Some(gap) = start.gap {
            let progress = &self.context.progress;
            progress.gaps.fetch_add(gap.records(), Ordering::Relaxed);
            progress.failed(&format!("{topic}, partition {number}: {gap}"));
            let (connector, offset) = (&*self.context.name, start.offset);
            tracing::warn!(connector, topic, number, %gap, offset, "records are missing");
            if let Gap::Shortened(_) = gap {
                life = renew(&self.context, &self.runtime, &life)?;
            }
        }
        let epoch = reached.filter(|_| start.gap.is_none()).and_then(|reached| reached.epoch);
        let more_rows = match start.gap {
            Some(Gap::Shortened(_)) => 0,
            _ => reached.map_or(0, |reached| reached.more_rows),
        };
        let at = Reached { offset: start.offset, epoch, more_rows };
        Ok(Begin { topic: topic.into(), number, life, at })
    }

    fn revoke(&mut self, places: &[Place]) -> Result<()> {
        self.release(places);
        let mut list = TopicPartitionList::new();
        for (topic, number) in places {
            list.add_partition(topic, *number);
        }
        let unassigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_unassign(&list),
            _ => self.consumer.unassign(),
        };
        unassigned.map_err(|wrong| self.broken(wrong))
    }

    /// Stores what was taken of some partitions, keeps their places, and lets them go.
    fn release(&mut self, places: &[Place]) {
        let progress = self.context.progress.clone();
        let mine = |one: &Partition| {
            places.iter().any(|(topic, number)| **topic == *one.topic && *number == one.number)
        };
        for partition in self.partitions.iter_mut().filter(|one| mine(one)) {
            partition.finish(&self.context, &progress, &self.runtime);
        }
        self.keep();
        self.partitions.retain(|one| !mine(one));
        self.places = Places::default();
    }

    /// Keeps the places up to which all is stored: in the catalog, and for other tools at the
    /// broker.
    fn keep(&mut self) {
        let moved = || self.partitions.iter().filter(|one| one.done != one.kept);
        let cursors: BTreeMap<String, u64> =
            moved().flat_map(|one| one.done.places(&one.source)).collect();
        if cursors.is_empty() {
            return;
        }
        let mut list = TopicPartitionList::new();
        for one in moved() {
            let at = offset_of(one.done);
            // A place that cannot be put into the list is but a hint less.
            drop(list.add_partition_offset(&one.topic, one.number, at));
        }
        let saving = self.context.parts.store.save_cursors(&self.context.name, cursors);
        match self.runtime.block_on(saving) {
            Ok(()) => self.partitions.iter_mut().for_each(|one| one.kept = one.done),
            Err(wrong) => {
                // Reading would begin further back, and marks would leave out what is there.
                tracing::warn!(connector = %self.context.name, wrong, "cannot keep places");
            }
        }
        if let Err(wrong) = self.consumer.commit(&list, CommitMode::Async) {
            tracing::debug!(connector = %self.context.name, %wrong, "cannot commit offsets");
        }
    }

    fn look_at_lag(&self) {
        let lag = |one: &Partition| {
            let (_, high) = native::watermarks(&*self.consumer, &one.topic, one.number);
            u64::try_from(high).unwrap_or(0).saturating_sub(one.done.offset)
        };
        self.context.progress.set_lag(self.partitions.iter().map(lag).sum());
    }

    /// A topic that was deleted and made anew has another id, and its offsets mean other records.
    fn look_at_topics(&mut self) -> Result<()> {
        for (topic, known) in &self.topic_ids {
            match native::topic_id(&*self.consumer, topic, ANSWER_WAIT) {
                Ok(id) if id != *known => {
                    return Err(self.broken(format!("the topic {topic:?} was made anew")));
                }
                // A topic that is gone may come back.
                Ok(_) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn topic_id(&mut self, topic: &str) -> Result<String> {
        if let Some(id) = self.topic_ids.get(topic) {
            return Ok(id.clone());
        }
        let id = native::topic_id(&*self.consumer, topic, ANSWER_WAIT);
        let id = id.map_err(|wrong| self.broken(format!("the topic {topic:?}: {wrong}")))?;
        self.topic_ids.insert(topic.to_owned(), id.clone());
        Ok(id)
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

fn broken(url: &str, reason: impl std::fmt::Display) -> Error {
    Error::Broker { action: "read from", target: url.to_owned(), reason: reason.to_string() }
}

/// Where the partitions of records lie in the reader's list, by topic token and number; found by
/// name once for each topic handle.
#[derive(Default)]
struct Places {
    known: HashMap<(usize, i32), usize>,
    /// That of the last record, which is mostly the next one's too.
    last: Option<((usize, i32), usize)>,
}

impl Places {
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

fn offset_of(place: Reached) -> Offset {
    Offset::Offset(i64::try_from(place.offset).unwrap_or(i64::MAX))
}

/// Begins the life of a partition whose offsets mean other records from now on.
fn renew(context: &RunContext, runtime: &Handle, life: &Life) -> Result<Life> {
    let next = life.following();
    let saving = context.parts.store.save_cursors(&context.name, next.begun());
    runtime.block_on(saving).map_err(Error::Store)?;
    Ok(next)
}

/// What came instead of a record.
fn refusal(record: Record<'_>) -> String {
    let said = String::from_utf8_lossy(record.payload().unwrap_or_default());
    format!("{}, partition {}: {said}", record.topic(), record.partition())
}

/// Whether a new start finds a place to go on from: the broker no longer has the one asked for.
fn heals_by_new_start(code: i32) -> bool {
    code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET as i32
        || code == RDKafkaRespErr::RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE as i32
}
