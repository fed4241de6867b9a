//! Messages of one batch, their rows, and those of them that have none.

use crate::{
    births::Births,
    dead_letter::{Around, DeadLetter, DeadLetters},
};
use oribi_decode::{AHEAD_NS_MAX, Fault, Message, OpenRows, TOPIC_BYTES_MAX};
use oribi_model::{ArrivalClock, Points, Rejection};
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// Who sent a message, for its dead letter.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// An MQTT client, or the broker that passed it on.
    Mqtt { client_id: &'a Arc<str>, packet_id: u16 },
    /// A partition of a Kafka topic.
    Kafka { partition: i32, offset: i64 },
}

#[derive(Debug, Clone)]
enum KeptOrigin {
    Mqtt {
        client_id: Arc<str>,
        packet_id: u16,
    },
    /// The key lies with the payloads; headers, which are rare, do not.
    Kafka {
        partition: i32,
        offset: i64,
        key: Option<(usize, usize)>,
        headers: Option<Headers>,
    },
}

type Headers = Box<[(String, Vec<u8>)]>;

/// A message whose rows are in the batch.
struct Kept {
    topic: (usize, usize),
    payload: (usize, usize),
    /// Bytes of the whole payload, of which the head alone may be at hand.
    payload_bytes: u64,
    origin: KeptOrigin,
    time_ns: Option<i64>,
    first_row: u32,
}

/// Rows of several messages.
pub(crate) struct Batch {
    pub(super) rows: OpenRows,
    /// What Sparkplug's births said, to be kept with the rows.
    pub(super) births: Births,
    raw: Vec<u8>,
    kept: Vec<Kept>,
    /// Messages that could not be decoded, by ascending place in `kept`.
    faults: Vec<(usize, Fault)>,
    /// Origins of rows that are not to be stored, ascending.
    denied: Vec<Range<u32>>,
}

impl Batch {
    /// An empty batch; of one [`super::Intake`] each has another number, from 1.
    pub(crate) fn new(number: u64) -> Batch {
        Batch {
            rows: OpenRows::new(number),
            births: Births::default(),
            raw: Vec::new(),
            kept: Vec::new(),
            faults: Vec::new(),
            denied: Vec::new(),
        }
    }

    /// An empty batch whose rows begin with this origin.
    pub(crate) fn from(number: u64, next_origin: u32) -> Batch {
        let rows = OpenRows { next_origin, ..OpenRows::new(number) };
        Batch { rows, ..Batch::new(number) }
    }

    /// The origin of the next row.
    pub(crate) fn next_origin(&self) -> u32 {
        self.rows.next_origin
    }

    /// The next batch of the same intake, with room for as many messages as this one has.
    pub(crate) fn following(&self) -> Batch {
        Batch {
            raw: Vec::with_capacity(self.raw.len()),
            kept: Vec::with_capacity(self.kept.len()),
            ..Batch::new(self.number() + 1)
        }
    }

    /// Number of this batch.
    pub(crate) fn number(&self) -> u64 {
        self.rows.number
    }

    /// Messages, those without rows included.
    pub(crate) fn messages(&self) -> usize {
        self.kept.len()
    }

    /// Rows, a message without any counting as one.
    pub(crate) fn rows(&self) -> usize {
        self.rows.next_origin as usize - 1
    }

    /// Bytes of the messages.
    pub(crate) fn bytes(&self) -> usize {
        self.raw.len()
    }

    /// Whether its rows take so much memory that further messages belong into the next batch.
    pub(crate) fn holds_enough(&self) -> bool {
        self.rows.tables.hold_enough()
    }

    /// Remembers a message whose rows begin with `first_row`, as dead-lettering takes it.
    pub(super) fn keep(
        &mut self,
        message: &Message<'_>,
        payload_bytes: u64,
        origin: &Origin<'_>,
        first_row: u32,
    ) {
        let name = head_of(message.topic).as_bytes();
        let last = self.kept.last().map(|kept| kept.topic);
        let same = |topic: &(usize, usize)| self.raw[topic.0..topic.1] == *name;
        let topic = last.filter(same).unwrap_or_else(|| {
            self.raw.extend_from_slice(name);
            (self.raw.len() - name.len(), self.raw.len())
        });
        let start = self.raw.len();
        self.raw.extend_from_slice(message.payload);
        let payload = (start, self.raw.len());
        let origin = match *origin {
            Origin::Mqtt { client_id, packet_id } => {
                KeptOrigin::Mqtt { client_id: client_id.clone(), packet_id }
            }
            Origin::Kafka { partition, offset } => {
                let key = message.key.map(|key| {
                    self.raw.extend_from_slice(key);
                    (self.raw.len() - key.len(), self.raw.len())
                });
                let owned = |(name, value): &(&str, &[u8])| ((*name).to_owned(), value.to_vec());
                let headers = (!message.headers.is_empty())
                    .then(|| message.headers.iter().map(owned).collect());
                KeptOrigin::Kafka { partition, offset, key, headers }
            }
        };
        let time_ns = message.time_ns;
        self.kept.push(Kept { topic, payload, payload_bytes, origin, time_ns, first_row });
    }

    /// Marks the message kept last as one that cannot be decoded.
    pub(super) fn fail(&mut self, fault: Fault) {
        // A row of its own keeps the numbers of messages apart.
        self.rows.next_origin += 1;
        self.faults.push((self.kept.len() - 1, fault));
    }

    /// Takes a message that is known to be unreadable; of its payload the head may be enough.
    pub(crate) fn add_dead(
        &mut self,
        message: &Message<'_>,
        payload_bytes: u64,
        origin: &Origin<'_>,
        fault: Fault,
    ) {
        self.keep(message, payload_bytes, origin, self.rows.next_origin);
        self.fail(fault);
    }

    /// Forgets all rows since this origin.
    pub(super) fn deny(&mut self, first_row: u32) {
        // A row of its own keeps the numbers of messages apart.
        self.rows.next_origin += 1;
        self.denied.push(first_row..self.rows.next_origin);
    }

    /// Takes out the rows.
    pub(crate) fn take_points(&mut self) -> Vec<Points> {
        let mut points = std::mem::take(&mut self.rows.tables).finish();
        let denied = std::mem::take(&mut self.denied);
        if !denied.is_empty() {
            points = points.iter().map(|one| without(one, &denied)).collect();
            points.retain(|one| one.rows() > 0);
        }
        points.extend(std::mem::take(&mut self.births).finish());
        points
    }

    /// Takes out the messages that could not be decoded.
    pub(crate) fn take_faults(&mut self) -> Vec<(usize, Fault)> {
        std::mem::take(&mut self.faults)
    }

    /// For each message, whether its client is one of those that `is_meant` names; empty where none
    /// is.
    pub(super) fn messages_by(&self, is_meant: &impl Fn(&Arc<str>) -> bool) -> Vec<bool> {
        let mut last: Option<(&Arc<str>, bool)> = None;
        let meant = self.kept.iter().map(|kept| {
            let KeptOrigin::Mqtt { client_id, .. } = &kept.origin else { return false };
            match last {
                Some((known, is)) if Arc::ptr_eq(known, client_id) => is,
                _ => last.insert((client_id, is_meant(client_id))).1,
            }
        });
        let meant: Vec<bool> = meant.collect();
        if meant.contains(&true) { meant } else { Vec::new() }
    }

    /// The message of a row.
    pub(super) fn message_of(&self, origin: u32) -> Option<usize> {
        self.kept.partition_point(|kept| kept.first_row <= origin).checked_sub(1)
    }

    /// The client of a row's message, if it came over MQTT.
    pub(super) fn client_of(&self, origin: u32) -> Option<&Arc<str>> {
        match &self.kept.get(self.message_of(origin)?)?.origin {
            KeptOrigin::Mqtt { client_id, .. } => Some(client_id),
            KeptOrigin::Kafka { .. } => None,
        }
    }

    /// The messages of these rows, without the rows, as a batch of the same number.
    pub(super) fn messages_of(&self, points: &[Points]) -> Batch {
        let origins = points.iter().flat_map(|points| &points.origins);
        let found: BTreeSet<usize> =
            origins.filter_map(|origin| self.message_of(*origin)).collect();
        let mut part = Batch::new(self.number());
        for kept in found.into_iter().filter_map(|at| self.kept.get(at)) {
            let mut copy = |(start, end): (usize, usize)| {
                let begin = part.raw.len();
                part.raw.extend_from_slice(&self.raw[start..end]);
                (begin, part.raw.len())
            };
            let (topic, payload) = (copy(kept.topic), copy(kept.payload));
            part.kept.push(Kept { topic, payload, origin: kept.origin.clone(), ..*kept });
        }
        part
    }

    /// All messages as faults of one reason.
    pub(super) fn all_faults(&self, fault: &Fault) -> Vec<(usize, Fault)> {
        (0..self.kept.len()).map(|at| (at, fault.clone())).collect()
    }

    /// The messages whose rows the write path refused, each once.
    pub(crate) fn refused(&self, rejected: &[Rejection]) -> Vec<(usize, Fault)> {
        let mut faults: Vec<(usize, Fault)> = Vec::new();
        for rejection in rejected {
            let Some(at) = self.message_of(rejection.origin) else { continue };
            if faults.last().is_none_or(|(last, _)| *last != at) {
                let fault = Fault::new(rejection.reason, rejection.detail.clone());
                faults.push((at, fault));
            }
        }
        faults
    }

    /// For each row, by ascending origin, the place of its message in its source; 0 where it has
    /// none.
    pub(crate) fn offsets_of_rows(&self, origins: &[u32]) -> Vec<u64> {
        let mut at = 0;
        let offset = |origin: &u32| {
            while self.kept.get(at + 1).is_some_and(|next| next.first_row <= *origin) {
                at += 1;
            }
            self.offset_of(at)
        };
        origins.iter().map(offset).collect()
    }

    /// The place of message `at` in its source; 0 where it has none.
    pub(crate) fn offset_of(&self, at: usize) -> u64 {
        match self.kept.get(at).map(|kept| &kept.origin) {
            Some(KeptOrigin::Kafka { offset, .. }) => u64::try_from(*offset).unwrap_or(0),
            _ => 0,
        }
    }

    /// Dead letters of these messages, which came by `source`. Their origins are the places of the
    /// messages.
    pub(crate) fn bury(
        &self,
        source: &str,
        faults: &[(usize, Fault)],
        arrival: &ArrivalClock,
    ) -> Points {
        let mut dead = DeadLetters::new();
        for (at, fault) in faults {
            let kept = &self.kept[*at];
            let topic = &self.raw[kept.topic.0..kept.topic.1];
            let payload = &self.raw[kept.payload.0..kept.payload.1];
            let (client_id, packet_id, place, around) = match &kept.origin {
                KeptOrigin::Mqtt { client_id, packet_id } => {
                    (&**client_id, *packet_id, None, Around::default())
                }
                KeptOrigin::Kafka { partition, offset, key, headers } => {
                    let key = key.map(|(start, end)| self.raw[start..end].to_vec());
                    let headers = headers.as_deref().unwrap_or_default().to_vec();
                    ("", 0, Some((*partition, *offset)), Around { key, headers })
                }
            };
            let letter = DeadLetter {
                source,
                reason: fault.reason,
                detail: &fault.detail,
                topic: std::str::from_utf8(topic).unwrap_or_default(),
                payload,
                payload_bytes: kept.payload_bytes,
                client_id,
                packet_id,
                place,
                around: &around,
            };
            // A letter of a time to come would not be found among those of late.
            let latest_ns = arrival.now_ns().saturating_add(AHEAD_NS_MAX);
            let time_ns = kept.time_ns.filter(|time| *time <= latest_ns);
            // Were it replayed, its rows would come one ns later each; they are fewer than its bytes.
            let rows_max = u32::try_from(payload.len()).unwrap_or(u32::MAX);
            let time_ns = time_ns.unwrap_or_else(|| arrival.next_of_ns(rows_max));
            dead.push(&letter, time_ns, *at as u32);
        }
        dead.finish()
    }
}

/// The rows whose origins are not among these.
fn without(points: &Points, denied: &[Range<u32>]) -> Points {
    let is_denied = |origin: u32| {
        let at = denied.partition_point(|range| range.end <= origin);
        denied.get(at).is_some_and(|range| range.contains(&origin))
    };
    let rows = points.origins.iter().zip(0u32..);
    points.take(rows.filter(|(origin, _)| !is_denied(**origin)).map(|(_, row)| row).collect())
}

/// As much of a topic that is too long as shows that it is: replayed, it is refused again.
pub(crate) fn head_of(topic: &str) -> &str {
    let end = (TOPIC_BYTES_MAX + 1..topic.len()).find(|at| topic.is_char_boundary(*at));
    end.map_or(topic, |end| &topic[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_of_a_topic_stays_too_long() {
        let long = "é".repeat(TOPIC_BYTES_MAX);
        assert_eq!(head_of(&long).len(), TOPIC_BYTES_MAX + 2);
        for bytes in [1, TOPIC_BYTES_MAX, TOPIC_BYTES_MAX + 1] {
            assert_eq!(head_of(&"x".repeat(bytes)).len(), bytes);
        }
    }
}
