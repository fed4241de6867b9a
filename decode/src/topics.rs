//! What topics mean, remembered within a bound on their number and on their bytes; those that were
//! used least lately are forgotten.

use crate::{
    Fault,
    mapping::{BatchSlot, Route},
};
use hashbrown::HashTable;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Topics that are remembered, in two halves.
const TOPICS_MAX: usize = 65_536;
/// What they and their routes hold, in two halves, bytes.
const BYTES_MAX: usize = 16 << 20;
/// What a topic takes beside the copies of its name.
const TOPIC_BYTES: usize = 256;
/// The name itself, and in the route its levels as tags, table or field.
const COPIES: usize = 3;

/// A topic and what it means.
pub(super) struct Remembered {
    topic: Box<str>,
    pub(super) route: Result<Arc<Route>, Fault>,
    /// The batch for which `slot` holds.
    pub(super) number: u64,
    pub(super) slot: BatchSlot,
}

impl Remembered {
    fn bytes(&self) -> usize {
        TOPIC_BYTES + COPIES * self.topic.len()
    }
}

#[derive(Default)]
struct Half {
    /// Emptied where a topic went to the other half.
    entries: Vec<Option<Remembered>>,
    /// Places in `entries`.
    places: HashTable<usize>,
    bytes: usize,
}

impl Half {
    fn find(&self, topic: &str, hash: u64) -> Option<usize> {
        let is = |at: &usize| self.entries[*at].as_ref().is_some_and(|one| *one.topic == *topic);
        self.places.find(hash, is).copied()
    }

    fn push(&mut self, hash: u64, remembered: Remembered) -> usize {
        let at = self.entries.len();
        self.bytes += remembered.bytes();
        self.entries.push(Some(remembered));
        let entries = &self.entries;
        let hash_of =
            |at: &usize| entries[*at].as_ref().map_or(0, |one| xxh3_64(one.topic.as_bytes()));
        self.places.insert_unique(hash, at, hash_of);
        at
    }
}

/// Topics seen lately, and those before them.
#[derive(Default)]
pub(super) struct Topics {
    young: Half,
    old: Half,
    /// The place of the topic that came last, which is often the next one too.
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
        let last = self.young.entries.get(self.last).and_then(Option::as_ref);
        if last.is_none_or(|known| *known.topic != *topic) {
            let hash = xxh3_64(topic.as_bytes());
            self.last = match self.young.find(topic, hash) {
                Some(at) => at,
                None => self.make_young(topic, hash, route),
            };
        }
        self.young.entries[self.last].as_mut().expect("a young topic stays where it is")
    }

    fn make_young(
        &mut self,
        topic: &str,
        hash: u64,
        route: impl FnOnce() -> Result<Arc<Route>, Fault>,
    ) -> usize {
        let known = self.old.find(topic, hash).and_then(|at| self.old.entries[at].take());
        let remembered = known.unwrap_or_else(|| {
            let slot = BatchSlot { table: 0, series: 0 };
            Remembered { topic: topic.into(), route: route(), number: 0, slot }
        });
        let bytes = self.young.bytes + remembered.bytes();
        if self.young.entries.len() >= TOPICS_MAX / 2 || bytes > BYTES_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.push(hash, remembered)
    }

    #[cfg(test)]
    fn held(&self) -> (usize, usize) {
        let of = |half: &Half| (half.entries.iter().flatten().count(), half.bytes);
        let ((young, young_bytes), (old, old_bytes)) = (of(&self.young), of(&self.old));
        (young + old, young_bytes + old_bytes)
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
