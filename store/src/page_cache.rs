//! Decoded pages that were written or read lately, within a bound of bytes. Pages of immutable
//! files never change, so there is nothing to invalidate.

mod page;

pub(crate) use page::{Cells, Numbers};

use hashbrown::HashMap;
use oribi_model::SeriesDigests;
use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// A page of one column of one open segment, the last cells of its series, a block of these, or
/// their digests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    /// The open segment; a number that is given once in the life of the process.
    segment: u64,
    part: Part,
    page: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    Series,
    Times,
    /// Place of the column in the segment.
    Column(u32),
    LastTimes,
    LastOf(u32),
    Digests,
}

impl PageKey {
    pub(crate) fn new(segment: u64, column: Option<usize>, page: usize) -> PageKey {
        let part = column.map_or(Part::Times, |column| Part::Column(column as u32));
        PageKey { segment, part, page: page as u32 }
    }

    /// Of a column, `None` for the times, the last cell of each series.
    pub(crate) fn last(segment: u64, column: Option<usize>) -> PageKey {
        let part = column.map_or(Part::LastTimes, |column| Part::LastOf(column as u32));
        PageKey { segment, part, page: 0 }
    }

    /// A block of a segment's series.
    pub(crate) fn series(segment: u64, block: usize) -> PageKey {
        PageKey { segment, part: Part::Series, page: block as u32 }
    }

    /// Which series a segment has.
    pub(crate) fn digests(segment: u64) -> PageKey {
        PageKey { segment, part: Part::Digests, page: 0 }
    }
}

/// What a page holds once decoded. Clones share memory.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Times(Numbers),
    Cells(Cells),
    /// As it is stored.
    Series(Arc<[u8]>),
    Digests(SeriesDigests),
}

/// Decoded pages of all tablets of a node. Pages that were asked for again since they came in or
/// were last looked at stay; of the others the oldest go first (the CLOCK algorithm).
pub struct PageCache {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pages: HashMap<PageKey, Entry, std::hash::BuildHasherDefault<xxhash_rust::xxh3::Xxh3>>,
    clock: VecDeque<PageKey>,
    bytes: usize,
}

struct Entry {
    page: Page,
    bytes: usize,
    used: bool,
}

impl PageCache {
    /// An empty cache of at most so many bytes; 0 keeps nothing.
    pub fn new(bytes_max: usize) -> PageCache {
        PageCache { bytes_max, state: Mutex::default() }
    }

    /// A number for a segment, which none other of this process has or had.
    pub(crate) fn segment_number() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether so many cells, as they are on average, fit into a part of the cache that leaves
    /// room for others.
    pub(crate) fn has_room_for(&self, cells: u64) -> bool {
        const CELL_BYTES: u64 = 2;
        cells.saturating_mul(CELL_BYTES) <= self.bytes_max as u64 / 2
    }

    /// Bytes of the pages held.
    pub fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(crate) fn get(&self, key: PageKey) -> Option<Page> {
        let mut state = self.state.lock();
        let entry = state.pages.get_mut(&key)?;
        entry.used = true;
        Some(entry.page.clone())
    }

    /// Keeps pages; one that is larger than a quarter of the bound is not kept.
    pub(crate) fn put(&self, pages: impl IntoIterator<Item = (PageKey, Page)>) {
        let mut state = self.state.lock();
        for (key, page) in pages {
            let bytes = page.bytes();
            if bytes > self.bytes_max / 4 || state.pages.contains_key(&key) {
                continue;
            }
            while state.bytes + bytes > self.bytes_max && state.evict() {}
            state.bytes += bytes;
            state.pages.insert(key, Entry { page, bytes, used: false });
            state.clock.push_back(key);
        }
    }

    /// Drops pages that nobody will ask for again.
    pub(crate) fn forget(&self, keys: impl Iterator<Item = PageKey>) {
        let mut state = self.state.lock();
        for key in keys {
            if let Some(entry) = state.pages.remove(&key) {
                state.bytes -= entry.bytes;
            }
        }
        let State { pages, clock, .. } = &mut *state;
        clock.retain(|key| pages.contains_key(key));
    }
}

impl State {
    /// Gives each page that was used since a second chance, and drops the first that was not.
    fn evict(&mut self) -> bool {
        while let Some(key) = self.clock.pop_front() {
            let Some(entry) = self.pages.get_mut(&key) else { continue };
            if std::mem::take(&mut entry.used) {
                self.clock.push_back(key);
                continue;
            }
            self.bytes -= entry.bytes;
            self.pages.remove(&key);
            return true;
        }
        false
    }
}

impl Page {
    fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 192;
        let cells = match self {
            Page::Times(times) => times.bytes(),
            Page::Cells(cells) => cells.bytes(),
            Page::Series(block) => block.len(),
            Page::Digests(digests) => digests.len() * size_of::<u128>(),
        };
        cells + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(page: u32) -> PageKey {
        PageKey { segment: 1, part: Part::Times, page }
    }

    fn page(value: i64) -> Page {
        let odd = |at: i64| (at % 2) * (i64::MAX / 2) + value + at;
        Page::Times(Numbers::of(&(0..100).map(odd).collect::<Vec<_>>()))
    }

    #[test]
    fn what_is_used_stays_and_the_bound_holds() {
        let cache = PageCache::new(5_000);
        cache.put((0..5).map(|at| (key(at), page(i64::from(at)))));
        assert!(cache.get(key(0)).is_some());
        cache.put([(key(5), page(5))]);
        assert!(cache.bytes() <= 5_000);
        assert!(cache.get(key(0)).is_some() && cache.get(key(5)).is_some());
        assert!(cache.get(key(1)).is_none(), "the oldest unused page goes");
        let huge = Page::Times(Numbers::of(&(0..10_000).collect::<Vec<_>>()));
        cache.put([(key(9), huge)]);
        assert!(cache.get(key(9)).is_none() && cache.bytes() > 0);
        cache.forget((0..9).map(key));
        assert_eq!(cache.bytes(), 0);
    }
}
