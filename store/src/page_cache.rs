//! Decoded pages that were read lately, within a bound of bytes. Pages of immutable files never
//! change, so there is nothing to invalidate.

use arrow_buffer::ScalarBuffer;
use hashbrown::HashMap;
use oribi_model::ColumnValues;
use parking_lot::Mutex;
use std::collections::VecDeque;

/// A page of one column of one open segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct PageKey {
    /// The open segment; a number that is given once in the life of the process.
    pub(crate) segment: u64,
    /// Place of the column in the segment; `None` is the times.
    pub(crate) column: Option<u32>,
    pub(crate) page: u32,
}

/// What a page holds once decoded. Clones share memory.
#[derive(Debug, Clone)]
pub(crate) enum Page {
    Times(ScalarBuffer<i64>),
    Cells(ColumnValues),
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
    /// Bytes that the page's own cells take; a slice counts as its share of the buffer.
    fn bytes(&self) -> usize {
        const ENTRY_BYTES: usize = 160;
        let cells = match self {
            Page::Times(times) => size_of_val(&times[..]),
            Page::Cells(values) => match values {
                ColumnValues::Text(texts) => {
                    let offsets = texts.offsets();
                    (offsets[offsets.len() - 1] - offsets[0]) as usize + 4 * offsets.len()
                }
                ColumnValues::Bool(flags) => flags.values().len() / 8,
                numbers => 8 * numbers.len(),
            },
        };
        cells + ENTRY_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(page: u32) -> PageKey {
        PageKey { segment: 1, column: None, page }
    }

    fn page(value: i64) -> Page {
        Page::Times(vec![value; 100].into())
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
        let huge = Page::Times(vec![0; 10_000].into());
        cache.put([(key(9), huge)]);
        assert!(cache.get(key(9)).is_none() && cache.bytes() > 0);
    }
}
