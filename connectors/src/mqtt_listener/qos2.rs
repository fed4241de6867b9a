//! QoS 2 packet ids that were received and not yet released: 8 KiB at most, however many they are.

use std::collections::HashMap;

const WORDS: usize = 65_536 / 64;
/// Up to so many ids stand in a list; more take no more room as a bit each.
const LISTED_MAX: usize = WORDS * 4;
/// Ids of batches under way that are kept before those of stored ones are looked for.
const RECENT_MIN: usize = 1_024;

#[derive(Debug)]
enum Ids {
    /// Ascending.
    Listed(Vec<u16>),
    /// A bit for each.
    Marked(Box<[u64; WORDS]>),
}

/// The ids of one session.
#[derive(Debug)]
pub(super) struct Qos2Ids {
    ids: Ids,
    /// The batches of those that may not be stored yet.
    recent: HashMap<u16, u64>,
    /// How many of them there may be before some are forgotten.
    recent_max: usize,
    /// No other id is taken for stored before this batch is.
    earlier: u64,
}

/// What is known of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    New,
    /// Its message is in a batch that is not stored yet.
    Waiting,
    Stored,
}

impl Default for Qos2Ids {
    fn default() -> Qos2Ids {
        let ids = Ids::Listed(Vec::new());
        Qos2Ids { ids, recent: HashMap::new(), recent_max: RECENT_MIN, earlier: 0 }
    }
}

impl Qos2Ids {
    /// What is known of an id when all batches up to `acked` are stored.
    pub(super) fn look_up(&self, id: u16, acked: u64) -> Known {
        if !self.has(id) {
            Known::New
        } else if *self.recent.get(&id).unwrap_or(&self.earlier) > acked {
            Known::Waiting
        } else {
            Known::Stored
        }
    }

    fn has(&self, id: u16) -> bool {
        match &self.ids {
            Ids::Listed(ids) => ids.binary_search(&id).is_ok(),
            Ids::Marked(words) => words[usize::from(id) / 64] >> (id % 64) & 1 == 1,
        }
    }

    /// Notes an id whose message is in `batch`, when all up to `acked` are stored.
    pub(super) fn insert(&mut self, id: u16, batch: u64, acked: u64) {
        if let Ids::Listed(ids) = &mut self.ids {
            match ids.binary_search(&id) {
                Err(at) if ids.len() < LISTED_MAX => ids.insert(at, id),
                Err(_) => self.ids = Ids::Marked(marked(ids)),
                Ok(_) => {}
            }
        }
        if let Ids::Marked(words) = &mut self.ids {
            words[usize::from(id) / 64] |= 1 << (id % 64);
        }
        self.recent.insert(id, batch);
        if self.recent.len() > self.recent_max {
            self.forget_stored(acked);
            self.recent_max = RECENT_MIN.max(2 * self.recent.len());
        }
    }

    /// Releases an id; whether it was there.
    pub(super) fn remove(&mut self, id: u16) -> bool {
        self.recent.remove(&id);
        match &mut self.ids {
            Ids::Listed(ids) => match ids.binary_search(&id) {
                Ok(at) => {
                    ids.remove(at);
                    true
                }
                Err(_) => false,
            },
            Ids::Marked(words) => {
                let word = &mut words[usize::from(id) / 64];
                let was_there = *word >> (id % 64) & 1 == 1;
                *word &= !(1 << (id % 64));
                was_there
            }
        }
    }

    /// Gives back what is not needed for ids whose batches are up to `acked`.
    fn forget_stored(&mut self, acked: u64) {
        self.recent.retain(|_, batch| *batch > acked);
        self.recent.shrink_to_fit();
    }

    /// Makes it as small as it can be while the client is away: from now on all ids wait for the last
    /// batch that any of them is in.
    pub(super) fn put_away(&mut self) {
        let last = self.recent.values().max();
        self.earlier = self.earlier.max(last.copied().unwrap_or(0));
        self.recent = HashMap::new();
        self.recent_max = RECENT_MIN;
        if let Ids::Listed(ids) = &mut self.ids {
            ids.shrink_to_fit();
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        const RECENT_BYTES: usize = 24;
        let ids = match &self.ids {
            Ids::Listed(ids) => ids.capacity() * size_of::<u16>(),
            Ids::Marked(_) => WORDS * size_of::<u64>(),
        };
        ids + self.recent.capacity() * RECENT_BYTES
    }
}

fn marked(ids: &[u16]) -> Box<[u64; WORDS]> {
    let mut words = Box::new([0; WORDS]);
    for id in ids {
        words[usize::from(*id) / 64] |= 1 << (id % 64);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[test]
    fn all_ids_of_a_session_take_8_kib() {
        let mut ids = Qos2Ids::default();
        (1..=u16::MAX).for_each(|id| ids.insert(id, u64::from(id), u64::from(id) - 1));
        assert!((1..u16::MAX).all(|id| ids.look_up(id, 65_534) == Known::Stored));
        assert_eq!(ids.look_up(u16::MAX, 65_534), Known::Waiting);
        assert_eq!(ids.look_up(0, 65_534), Known::New);
        ids.put_away();
        assert_eq!(ids.bytes(), 8_192);
        assert_eq!(ids.look_up(u16::MAX, 65_534), Known::Waiting);
        assert_eq!(ids.look_up(u16::MAX, 65_535), Known::Stored);
        assert!((1..=u16::MAX).all(|id| ids.remove(id)));
        assert!(!ids.remove(1));
    }

    proptest! {
        #[test]
        fn they_are_a_map(ops in prop::collection::vec((any::<bool>(), 0u16..3_000), 0..6_000)) {
            let (mut ids, mut model) = (Qos2Ids::default(), BTreeMap::new());
            for (batch, (adds, id)) in (1u64..).zip(ops) {
                let acked = batch / 2;
                let known = match model.get(&id) {
                    None => Known::New,
                    Some(batch) if *batch > acked => Known::Waiting,
                    Some(_) => Known::Stored,
                };
                prop_assert_eq!(ids.look_up(id, acked), known);
                if adds && known == Known::New {
                    ids.insert(id, batch, acked);
                    model.insert(id, batch);
                } else if !adds {
                    prop_assert_eq!(ids.remove(id), model.remove(&id).is_some());
                }
            }
        }
    }
}
