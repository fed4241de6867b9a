//! What topics mean, remembered within a bound on their number and on their bytes. Where there is
//! no room, one that was not used lately is forgotten, as by CLOCK (Corbato 1968).

use crate::{
    Fault,
    digest::Digest,
    mapping::{BatchSlot, Route},
    points::KnownSeries,
};
use hashbrown::HashTable;
use std::sync::Arc;

/// Topics that are remembered.
const TOPICS_MAX: usize = 131_072;
/// What they and their routes hold, bytes.
const BYTES_MAX: usize = 32 << 20;
/// What a topic takes beside the copies of its name.
const TOPIC_BYTES: usize = 384;
/// The name itself, and its levels in the route as tags, table or field, and in the key of its series.
const COPIES: usize = 4;

/// A topic and what it means.
pub(super) struct Remembered {
    topic: Box<str>,
    digest: Digest,
    pub(super) route: Result<Arc<Route>, Fault>,
    /// The batch for which `slot` holds.
    pub(super) number: u64,
    pub(super) slot: BatchSlot,
    /// That of its rows where they are all of one, once it was met.
    pub(super) series: Option<KnownSeries>,
    /// Since the hand last came by.
    is_used: bool,
}

impl Remembered {
    fn bytes(&self) -> usize {
        TOPIC_BYTES + COPIES * self.topic.len()
    }
}

/// The topics that were seen lately.
#[derive(Default)]
pub(super) struct Topics {
    slots: Vec<Option<Remembered>>,
    /// Slots of topics by their names.
    places: HashTable<u32>,
    free: Vec<u32>,
    bytes: usize,
    /// The slot that is looked at next where room is wanted.
    hand: usize,
    /// The slot of the topic that came last, which is often the next one too.
    last: usize,
}

impl Topics {
    /// What a topic means; `route` says it where that is not remembered.
    #[inline]
    pub(super) fn get(
        &mut self,
        topic: &str,
        route: impl FnOnce() -> Result<Arc<Route>, Fault>,
    ) -> &mut Remembered {
        if let Some(guessed) = self.guess(topic) {
            self.last = guessed;
        } else {
            let digest = Digest::of(topic.as_bytes());
            self.last = self.find(digest).unwrap_or_else(|| {
                let slot = BatchSlot { table: 0, series: 0 };
                let (topic, route) = (topic.into(), route());
                self.insert(Remembered {
                    topic,
                    digest,
                    route,
                    number: 0,
                    slot,
                    series: None,
                    is_used: false,
                })
            });
        }
        self.slots[self.last].as_mut().expect("the slot was found or filled")
    }

    /// The slot of a topic that is the last one again or was met after it before: who publishes for
    /// many devices mostly does so in one order. It costs no hash, and no look at two far places.
    #[inline]
    fn guess(&mut self, topic: &str) -> Option<usize> {
        let is = |at: &usize| {
            let known = self.slots.get(*at).and_then(Option::as_ref);
            known.is_some_and(|known| *known.topic == *topic)
        };
        let guessed = [self.last, self.last + 1].into_iter().find(is)?;
        self.slots[guessed].as_mut()?.is_used = true;
        Some(guessed)
    }

    fn find(&mut self, digest: Digest) -> Option<usize> {
        let is = |at: &u32| {
            let known = self.slots[*at as usize].as_ref();
            known.is_some_and(|known| known.digest == digest)
        };
        let at = *self.places.find(digest.hash64(), is)? as usize;
        self.slots[at].as_mut()?.is_used = true;
        Some(at)
    }

    fn insert(&mut self, remembered: Remembered) -> usize {
        let (bytes, hash) = (remembered.bytes(), remembered.digest.hash64());
        while !self.places.is_empty()
            && (self.places.len() >= TOPICS_MAX || self.bytes + bytes > BYTES_MAX)
        {
            self.forget_one();
        }
        self.bytes += bytes;
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.slots[at as usize] = Some(remembered);
        let slots = &self.slots;
        let hash_of =
            |at: &u32| slots[*at as usize].as_ref().map_or(0, |known| known.digest.hash64());
        self.places.insert_unique(hash, at, hash_of);
        at as usize
    }

    /// Forgets the next topic that was not used since the hand was there before.
    fn forget_one(&mut self) {
        loop {
            self.hand = (self.hand + 1) % self.slots.len();
            let slot = &mut self.slots[self.hand];
            let Some(known) = slot else { continue };
            if std::mem::take(&mut known.is_used) {
                continue;
            }
            let hand = self.hand as u32;
            if let Ok(place) = self.places.find_entry(known.digest.hash64(), |at| *at == hand) {
                place.remove();
            }
            self.bytes -= known.bytes();
            *slot = None;
            return self.free.push(hand);
        }
    }

    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let known = self.slots.iter().flatten();
        assert_eq!(known.clone().count(), self.places.len());
        assert_eq!(known.clone().map(Remembered::bytes).sum::<usize>(), self.bytes);
        (self.places.len(), self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::RejectReason;

    fn get(topics: &mut Topics, topic: &str) -> bool {
        let mut is_new = false;
        topics.get(topic, || {
            is_new = true;
            Err(Fault::new(RejectReason::Limit, "for a test"))
        });
        is_new
    }

    #[test]
    fn long_topics_take_a_bounded_number_of_bytes() {
        let mut topics = Topics::default();
        for at in 0..5_000 {
            assert!(get(&mut topics, &format!("{at}/{}", "x".repeat(60_000))));
        }
        let (_, bytes) = topics.held();
        assert!(bytes <= BYTES_MAX, "{bytes}");
    }

    #[test]
    fn as_many_topics_in_turn_as_there_is_room_for_are_all_remembered() {
        let mut topics = Topics::default();
        for turn in 0..3 {
            for at in 0..70_000 {
                assert_eq!(get(&mut topics, &format!("plant/device{at}")), turn == 0);
            }
        }
    }

    #[test]
    fn topics_in_use_are_not_forgotten() {
        let mut topics = Topics::default();
        let mut forgotten = 0;
        for at in 0..200_000 {
            get(&mut topics, &format!("once/{at}"));
            if at % 1_000 == 0 {
                forgotten += u32::from(get(&mut topics, "often"));
            }
        }
        assert_eq!(forgotten, 1, "it was new once");
        assert!(topics.held().0 <= TOPICS_MAX);
        assert!(get(&mut topics, "once/0") && !get(&mut topics, "once/199999"));
    }
}
