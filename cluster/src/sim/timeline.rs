//! Time and chance.

use std::{cmp::Reverse, collections::BinaryHeap};

/// SplitMix64.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn within(&mut self, (low, high): (u64, u64)) -> u64 {
        low + self.below(high - low + 1)
    }

    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// What happens when. Of two things at one time chance says which is first.
pub(super) struct Timeline<E> {
    now_us: u64,
    random: Random,
    count: u64,
    waiting: BinaryHeap<Reverse<(u64, u64, u64)>>,
    events: std::collections::BTreeMap<u64, E>,
}

impl<E> Timeline<E> {
    pub(super) fn new(seed: u64) -> Timeline<E> {
        let random = Random::new(seed ^ 0x7469_6d65);
        Timeline {
            now_us: 0,
            random,
            count: 0,
            waiting: BinaryHeap::new(),
            events: std::collections::BTreeMap::new(),
        }
    }

    /// Since the start, µs.
    pub(super) fn now_us(&self) -> u64 {
        self.now_us
    }

    pub(super) fn at(&mut self, at_us: u64, event: E) {
        self.count += 1;
        let place = (at_us.max(self.now_us), self.random.next(), self.count);
        self.waiting.push(Reverse(place));
        self.events.insert(self.count, event);
    }

    /// Goes on to what happens next.
    pub(super) fn next(&mut self) -> Option<E> {
        let Reverse((at_us, _, count)) = self.waiting.pop()?;
        self.now_us = at_us;
        self.events.remove(&count)
    }
}
