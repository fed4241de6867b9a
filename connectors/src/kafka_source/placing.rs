//! Where assigned partitions are read on, asked for all of them at once.

use super::{
    assignment::{self, Extent, Gap, Incarnation, MADE, Position},
    consumer::{ANSWER_WAIT, Consumer, TopicPartition},
    partition::Assigned,
    start::Beginning,
    topics::TopicIds,
};
use crate::{Error, Result, connector::RunContext};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::Consumer as _,
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::atomic::Ordering,
    time::{Duration, Instant},
};
use tokio::runtime::Handle;

/// How long a leader is given to be known.
const EARLY_PAUSE: Duration = Duration::from_millis(50);
/// Among the cursors kept of a connector: that it has had an assignment. What it finds later, and has
/// not read yet, is new at the broker too.
const BEGAN: &str = "began";

/// Who asks, and for whom.
pub(super) struct Placing<'a> {
    pub(super) consumer: &'a Consumer,
    pub(super) context: &'a RunContext,
    pub(super) runtime: &'a Handle,
    /// How the partitions' sources begin.
    pub(super) label: &'a str,
    pub(super) beginning: &'a Beginning,
    pub(super) url: &'a str,
}

type Offsets = HashMap<TopicPartition, u64>;

impl Placing<'_> {
    /// Where to read each partition on. Cursors of partitions that are read for the first time are
    /// kept, so that a new start begins there too.
    ///
    /// # Errors
    /// [`Error::Broker`], [`Error::Store`].
    pub(super) fn begin(
        &self,
        partitions: &[TopicPartition],
        ids: &mut TopicIds,
    ) -> Result<Vec<Assigned>> {
        let saved = self.context.parts.store.cursors(&self.context.name);
        let is_new = !saved.contains_key(BEGAN) && saved.contains_key(MADE);
        ids.learn(self.consumer, partitions).map_err(|wrong| self.broken(wrong))?;
        let incarnations: Vec<Incarnation> =
            partitions.iter().map(|partition| self.incarnation(partition, ids, &saved)).collect();
        let (low, high) = match partitions {
            [] => (Offsets::new(), Offsets::new()),
            _ => (
                self.offsets(partitions, Offset::Beginning)?,
                self.offsets(partitions, Offset::End)?,
            ),
        };
        let unread = partitions
            .iter()
            .zip(&incarnations)
            .filter(|(_, incarnation)| incarnation.position(&saved).is_none());
        let unread: Vec<TopicPartition> = unread.map(|(partition, _)| partition.clone()).collect();
        let first = self.first(&unread, is_new, &low, &high)?;
        let mut begun = Vec::new();
        let mut kept = BTreeMap::new();
        for (partition, incarnation) in partitions.iter().zip(incarnations) {
            let of = |offsets: &Offsets| offsets.get(partition).copied().unwrap_or(0);
            let position = incarnation.position(&saved);
            let cursor = position.map(|position| position.offset);
            let extent = Extent { cursor, low: of(&low), high: of(&high) };
            let begin = match first.get(partition) {
                Some(offset) => {
                    let at = Position { offset: *offset, epoch: None, more_rows: 0 };
                    kept.extend(at.cursors(&incarnation.source()));
                    Assigned {
                        topic: partition.0.as_str().into(),
                        number: partition.1,
                        incarnation,
                        at,
                    }
                }
                None => self.read_on(partition, incarnation, position, extent)?,
            };
            begun.push(begin);
        }
        if is_new {
            kept.insert(BEGAN.to_owned(), 1);
        }
        if !kept.is_empty() {
            let saving = self.context.save_cursors(kept);
            self.runtime.block_on(saving).map_err(Error::Store)?;
        }
        Ok(begun)
    }

    fn incarnation(
        &self,
        (topic, number): &TopicPartition,
        ids: &TopicIds,
        saved: &BTreeMap<String, u64>,
    ) -> Incarnation {
        let id = ids.get(topic).unwrap_or_default();
        Incarnation::of(format!("{}/{topic}/{id}/{number}", self.label), saved)
    }

    /// Where partitions begin that have not been read, unless with their first record.
    fn first(
        &self,
        unread: &[TopicPartition],
        is_new: bool,
        low: &Offsets,
        high: &Offsets,
    ) -> Result<Offsets> {
        if unread.is_empty() || *self.beginning == Beginning::Earliest {
            return Ok(Offsets::new());
        }
        let wanted = match self.beginning {
            _ if !is_new => self.committed(unread)?,
            Beginning::Earliest => Offsets::new(),
            Beginning::Latest => high.clone(),
            Beginning::At(ms) => self.offsets(unread, Offset::Offset(*ms))?,
            Beginning::Offsets(offsets) => {
                let named = |partition: &TopicPartition| {
                    Some((partition.clone(), *offsets.get(&partition.1)?))
                };
                unread.iter().filter_map(named).collect()
            }
        };
        let bounded = |partition: &TopicPartition| {
            let (low, high) = (low.get(partition)?, high.get(partition)?);
            Some((partition.clone(), (*wanted.get(partition)?).clamp(*low, *low.max(high))))
        };
        Ok(unread.iter().filter_map(bounded).collect())
    }

    /// Goes on where the partition was, or begins with its first record. What is gone is told.
    fn read_on(
        &self,
        (topic, number): &TopicPartition,
        mut incarnation: Incarnation,
        position: Option<Position>,
        extent: Extent,
    ) -> Result<Assigned> {
        let start = assignment::resume(extent);
        if let Some(gap) = start.gap {
            let progress = &self.context.progress;
            progress.gaps.fetch_add(gap.records(), Ordering::Relaxed);
            progress.failed(&format!("{topic}, partition {number}: {gap}"));
            let (connector, offset) = (&*self.context.name, start.offset);
            tracing::warn!(connector, topic, number, %gap, offset, "records are missing");
            if let Gap::Shortened(_) = gap {
                incarnation = renew(self.context, self.runtime, &incarnation)?;
            }
        }
        let epoch = position.filter(|_| start.gap.is_none()).and_then(|position| position.epoch);
        let more_rows = match start.gap {
            Some(Gap::Shortened(_)) => 0,
            _ => position.map_or(0, |position| position.more_rows),
        };
        let at = Position { offset: start.offset, epoch, more_rows };
        Ok(Assigned { topic: topic.as_str().into(), number: *number, incarnation, at })
    }

    /// The first offset, the one after the last, or that of the first record stamped at a moment
    /// (ms since the Unix epoch) or later, of each partition.
    fn offsets(&self, partitions: &[TopicPartition], of: Offset) -> Result<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in partitions {
            list.add_partition_offset(topic, *number, of).map_err(|wrong| self.broken(wrong))?;
        }
        let deadline = Instant::now() + ANSWER_WAIT;
        loop {
            let found = self.consumer.offsets_for_times(list.clone(), ANSWER_WAIT);
            match found.and_then(|found| read_offsets(&found)) {
                Ok(offsets) => return Ok(offsets),
                // A topic that was made just now has its leaders soon.
                Err(wrong) if is_early(&wrong) && Instant::now() < deadline => {
                    std::thread::sleep(EARLY_PAUSE);
                }
                Err(wrong) => return Err(self.broken(wrong)),
            }
            if self.context.stop.is_cancelled() {
                return Err(self.broken("the node stops"));
            }
        }
    }

    /// What the group has committed, where it has: another member has stored what lies before.
    fn committed(&self, partitions: &[TopicPartition]) -> Result<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in partitions {
            list.add_partition(topic, *number);
        }
        let found = self.consumer.committed_offsets(list, ANSWER_WAIT);
        let found = found.map_err(|wrong| self.broken(wrong))?;
        let found = found.elements().into_iter().filter_map(|one| match one.offset() {
            Offset::Offset(offset) => {
                let partition = (one.topic().to_owned(), one.partition());
                Some((partition, u64::try_from(offset).ok()?))
            }
            _ => None,
        });
        Ok(found.collect())
    }

    fn broken(&self, reason: impl std::fmt::Display) -> Error {
        broken(self.url, reason)
    }
}

fn read_offsets(list: &TopicPartitionList) -> KafkaResult<Offsets> {
    let mut offsets = Offsets::new();
    for one in list.elements() {
        one.error()?;
        let offset = match one.offset() {
            Offset::Offset(offset) => u64::try_from(offset).unwrap_or(0),
            // No record is so late.
            _ => u64::MAX,
        };
        offsets.insert((one.topic().to_owned(), one.partition()), offset);
    }
    Ok(offsets)
}

/// Whether the leader of a partition is not known yet.
fn is_early(wrong: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        LeaderNotAvailable, NotLeaderForPartition, UnknownPartition, UnknownTopic,
        UnknownTopicOrPartition,
    };
    matches!(
        wrong.rdkafka_error_code(),
        Some(
            LeaderNotAvailable
                | NotLeaderForPartition
                | UnknownPartition
                | UnknownTopic
                | UnknownTopicOrPartition
        )
    )
}

pub(super) fn broken(url: &str, reason: impl std::fmt::Display) -> Error {
    Error::Broker { action: "read from", target: url.to_owned(), reason: reason.to_string() }
}

/// Begins the incarnation of a partition whose offsets mean other records from now on.
pub(super) fn renew(
    context: &RunContext,
    runtime: &Handle,
    incarnation: &Incarnation,
) -> Result<Incarnation> {
    let next = incarnation.following();
    let saving = context.save_cursors(next.begun());
    runtime.block_on(saving).map_err(Error::Store)?;
    Ok(next)
}
