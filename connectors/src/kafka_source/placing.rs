//! Where assigned partitions are read on, asked for all of them at once.

use super::{
    assignment::{self, Gap, Known, Life, MADE, Reached},
    consumer::{ANSWER_WAIT, Consumer, Place},
    partition::Begin,
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
/// Among the places kept of a connector: that it has had an assignment. What it finds later, and has
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

type Offsets = HashMap<Place, u64>;

impl Placing<'_> {
    /// Where to read each partition on. Places of partitions that are read for the first time are
    /// kept, so that a new start begins there too.
    ///
    /// # Errors
    /// [`Error::Broker`], [`Error::Store`].
    pub(super) fn begin(&self, places: &[Place], ids: &mut TopicIds) -> Result<Vec<Begin>> {
        let saved = self.context.parts.store.cursors(&self.context.name);
        let is_new = !saved.contains_key(BEGAN) && saved.contains_key(MADE);
        ids.learn(self.consumer, places).map_err(|wrong| self.broken(wrong))?;
        let lives: Vec<Life> = places.iter().map(|place| self.life(place, ids, &saved)).collect();
        let (low, high) = match places {
            [] => (Offsets::new(), Offsets::new()),
            _ => (self.offsets(places, Offset::Beginning)?, self.offsets(places, Offset::End)?),
        };
        let unread = places.iter().zip(&lives).filter(|(_, life)| life.reached(&saved).is_none());
        let unread: Vec<Place> = unread.map(|(place, _)| place.clone()).collect();
        let first = self.first(&unread, is_new, &low, &high)?;
        let mut begun = Vec::new();
        let mut kept = BTreeMap::new();
        for (place, life) in places.iter().zip(lives) {
            let of = |offsets: &Offsets| offsets.get(place).copied().unwrap_or(0);
            let reached = life.reached(&saved);
            let cursor = reached.map(|reached| reached.offset);
            let known = Known { cursor, low: of(&low), high: of(&high) };
            let begin = match first.get(place) {
                Some(offset) => {
                    let at = Reached { offset: *offset, epoch: None, more_rows: 0 };
                    kept.extend(at.places(&life.source()));
                    Begin { topic: place.0.as_str().into(), number: place.1, life, at }
                }
                None => self.read_on(place, life, reached, known)?,
            };
            begun.push(begin);
        }
        if is_new {
            kept.insert(BEGAN.to_owned(), 1);
        }
        if !kept.is_empty() {
            let saving = self.context.parts.store.save_cursors(&self.context.name, kept);
            self.runtime.block_on(saving).map_err(Error::Store)?;
        }
        Ok(begun)
    }

    fn life(&self, (topic, number): &Place, ids: &TopicIds, saved: &BTreeMap<String, u64>) -> Life {
        let id = ids.get(topic).unwrap_or_default();
        Life::of(format!("{}/{topic}/{id}/{number}", self.label), saved)
    }

    /// Where partitions begin that have not been read, unless with their first record.
    fn first(
        &self,
        unread: &[Place],
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
                let named = |place: &Place| Some((place.clone(), *offsets.get(&place.1)?));
                unread.iter().filter_map(named).collect()
            }
        };
        let bounded = |place: &Place| {
            let (low, high) = (low.get(place)?, high.get(place)?);
            Some((place.clone(), (*wanted.get(place)?).clamp(*low, *low.max(high))))
        };
        Ok(unread.iter().filter_map(bounded).collect())
    }

    /// Goes on where the partition was, or begins with its first record. What is gone is told.
    fn read_on(
        &self,
        (topic, number): &Place,
        mut life: Life,
        reached: Option<Reached>,
        known: Known,
    ) -> Result<Begin> {
        let start = assignment::start(known);
        if let Some(gap) = start.gap {
            let progress = &self.context.progress;
            progress.gaps.fetch_add(gap.records(), Ordering::Relaxed);
            progress.failed(&format!("{topic}, partition {number}: {gap}"));
            let (connector, offset) = (&*self.context.name, start.offset);
            tracing::warn!(connector, topic, number, %gap, offset, "records are missing");
            if let Gap::Shortened(_) = gap {
                life = renew(self.context, self.runtime, &life)?;
            }
        }
        let epoch = reached.filter(|_| start.gap.is_none()).and_then(|reached| reached.epoch);
        let more_rows = match start.gap {
            Some(Gap::Shortened(_)) => 0,
            _ => reached.map_or(0, |reached| reached.more_rows),
        };
        let at = Reached { offset: start.offset, epoch, more_rows };
        Ok(Begin { topic: topic.as_str().into(), number: *number, life, at })
    }

    /// The first offset, the one after the last, or that of the first record stamped at a moment
    /// (ms since the Unix epoch) or later, of each partition.
    fn offsets(&self, places: &[Place], of: Offset) -> Result<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in places {
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
    fn committed(&self, places: &[Place]) -> Result<Offsets> {
        let mut list = TopicPartitionList::new();
        for (topic, number) in places {
            list.add_partition(topic, *number);
        }
        let found = self.consumer.committed_offsets(list, ANSWER_WAIT);
        let found = found.map_err(|wrong| self.broken(wrong))?;
        let found = found.elements().into_iter().filter_map(|one| match one.offset() {
            Offset::Offset(offset) => {
                let place = (one.topic().to_owned(), one.partition());
                Some((place, u64::try_from(offset).ok()?))
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

/// Begins the life of a partition whose offsets mean other records from now on.
pub(super) fn renew(context: &RunContext, runtime: &Handle, life: &Life) -> Result<Life> {
    let next = life.following();
    let saving = context.parts.store.save_cursors(&context.name, next.begun());
    runtime.block_on(saving).map_err(Error::Store)?;
    Ok(next)
}
