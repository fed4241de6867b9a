//! Rows that are in the log but not yet in a segment.
//!
//! Rows lie in blocks of columns: batches of many rows as they came, the rows of small ones
//! together. Every row has a number, and leads to the row before it of its series, so that a
//! series is a chain from its newest row back, and what a reader sees stays as it was.

mod block;
mod cells;
mod gather;
#[cfg(test)]
mod tests;

use block::Block;
pub(crate) use gather::{Gather, rows_within};

use hashbrown::HashTable;
use oribi_model::{ColumnId, ColumnType, LogIndex, RowBatch, SeriesFilter, SeriesKey, TimeRange};
use parking_lot::RwLock;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Batches of fewer rows are copied into a block of many.
const WHOLE_ROWS_MIN: usize = 512;
/// Keys that are looked up one by one rather than found by a walk over all series.
const LOOKUPS_MAX: usize = 256;
/// What stands at the end of a chain.
const NO_ROW: u32 = u32::MAX;

#[derive(Default)]
pub(crate) struct Memtable(RwLock<Rows>);

#[derive(Default)]
struct Rows {
    /// By ascending number of the first row.
    blocks: Vec<Arc<Block>>,
    /// Takes the rows of small batches; a reader that holds it makes the next batch copy it.
    open: Option<Arc<Block>>,
    /// Number of the next row that begins a block.
    next: u32,
    places: HashTable<u32>,
    series: Vec<SeriesRows>,
    /// The tags that some series has, by ascending id.
    tags: Vec<ColumnId>,
    /// By ascending id; float where any rows hold floats.
    columns: Arc<Vec<(ColumnId, ColumnType)>>,
    rows: usize,
    key_bytes: usize,
    sealed_bytes: usize,
    time: Option<(i64, i64)>,
    index: Option<(LogIndex, LogIndex)>,
}

/// The rows of one series.
#[derive(Clone)]
pub(crate) struct SeriesRows {
    pub(crate) key: SeriesKey,
    /// Number of the newest row.
    last: u32,
    rows: u32,
    last_time: i64,
    /// Whether times ascend strictly in the order of arrival.
    pub(crate) in_order: bool,
}

impl SeriesRows {
    pub(crate) fn rows(&self) -> usize {
        self.rows as usize
    }
}

/// What a memtable held at one moment; series by ascending key.
pub(crate) struct MemoryView {
    pub(crate) blocks: Vec<Arc<Block>>,
    pub(crate) series: Vec<SeriesRows>,
    pub(crate) columns: Arc<Vec<(ColumnId, ColumnType)>>,
}

impl Memtable {
    pub(crate) fn apply(&self, index: LogIndex, batch: Arc<RowBatch>) {
        let mut rows = self.0.write();
        let first = rows.index.map_or(index, |(first, _)| first);
        rows.index = Some((first, index));
        if batch.rows() > 0 {
            rows.apply(&batch);
        }
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.read().rows
    }

    /// Bytes of memory held, the room that vectors have in reserve included.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.0.read();
        rows.sealed_bytes
            + rows.open.as_ref().map_or(0, |open| open.bytes())
            + rows.blocks.capacity() * size_of::<Arc<Block>>()
            + rows.series.capacity() * size_of::<SeriesRows>()
            + rows.places.allocation_size()
            + rows.key_bytes
    }

    /// Smallest and largest time.
    pub(crate) fn time(&self) -> Option<(i64, i64)> {
        self.0.read().time
    }

    /// First and last log index applied.
    pub(crate) fn index(&self) -> Option<(LogIndex, LogIndex)> {
        self.0.read().index
    }

    /// The rows of the wanted series as of now; `None` where no row can be in `time`.
    pub(crate) fn view(&self, time: TimeRange, wanted: &SeriesFilter) -> Option<MemoryView> {
        let rows = self.0.read();
        let (least, most) = rows.time?;
        if time != TimeRange::ALL && (least >= time.end || most < time.start) {
            return None;
        }
        let mut series = rows.candidates(wanted);
        let mut blocks = rows.blocks.clone();
        if let Some(open) = &rows.open {
            blocks.insert(blocks.partition_point(|block| block.first < open.first), open.clone());
        }
        let columns = rows.columns.clone();
        drop(rows);
        // What a condition costs is its own affair, so no writer waits for it.
        series.retain(|series| wanted.wants(&series.key));
        series.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Some(MemoryView { blocks, series, columns })
    }
}

impl Rows {
    fn apply(&mut self, batch: &RowBatch) {
        self.note_columns(batch);
        if batch.rows() >= WHOLE_ROWS_MIN && !block::is_sparse(batch) {
            let first = self.next;
            let before = self.chain(batch, first);
            self.advance(batch.rows());
            self.keep(Block::whole(first, batch, before));
            return;
        }
        if let Some(open) = &self.open
            && !open.has_room_for(batch)
        {
            self.seal_open();
        }
        let mut open = self.open.take().unwrap_or_else(|| {
            let first = self.next;
            self.advance(block::ROWS_MAX.max(batch.rows()));
            Arc::new(Block::starting_at(first))
        });
        let before = self.chain(batch, open.first + open.rows() as u32);
        Arc::make_mut(&mut open).append(batch, &before);
        self.open = Some(open);
    }

    fn advance(&mut self, rows: usize) {
        let next = u32::try_from(rows).ok().and_then(|rows| self.next.checked_add(rows));
        self.next = next.expect("a memtable is flushed long before it has 2^32 rows");
    }

    fn seal_open(&mut self) {
        if let Some(mut open) = self.open.take() {
            // A reader's copy is as good as one that fits exactly.
            if let Some(block) = Arc::get_mut(&mut open) {
                block.shrink();
            }
            self.sealed_bytes += open.bytes();
            self.blocks.insert(self.blocks.partition_point(|b| b.first < open.first), open);
        }
    }

    fn keep(&mut self, block: Block) {
        self.sealed_bytes += block.bytes();
        self.blocks.push(Arc::new(block));
    }

    /// Adds the batch's rows, numbered from `first` on, to the chains of their series; gives for
    /// each the row before it.
    fn chain(&mut self, batch: &RowBatch, first: u32) -> Vec<u32> {
        let mut guess = Guess::default();
        let places: Vec<u32> =
            batch.series.iter().map(|key| self.guessed_place(key, &mut guess)).collect();
        let (mut least, mut most) = self.time.unwrap_or((i64::MAX, i64::MIN));
        let rows = (first..).zip(batch.row_series.iter().zip(&batch.times));
        let before = rows.map(|(row, (series, time))| {
            let series = &mut self.series[places[*series as usize] as usize];
            series.in_order &= series.rows == 0 || *time > series.last_time;
            series.last_time = *time;
            series.rows += 1;
            least = least.min(*time);
            most = most.max(*time);
            std::mem::replace(&mut series.last, row)
        });
        let before = before.collect();
        self.time = Some((least, most));
        self.rows += batch.rows();
        before
    }

    fn guessed_place(&mut self, key: &[u8], guess: &mut Guess) -> u32 {
        let guessed = guess.place().filter(|place| {
            let series = self.series.get(*place as usize);
            series.is_some_and(|series| series.key.as_bytes() == key)
        });
        let place = guessed.unwrap_or_else(|| self.place(key));
        guess.note(place);
        place
    }

    fn place(&mut self, key: &[u8]) -> u32 {
        count::series(1);
        let hash = xxh3_64(key);
        if let Some(place) = self.find(hash, key) {
            return place;
        }
        let place = self.series.len() as u32;
        let owned = SeriesKey::from_bytes(key).expect("a batch holds only well-formed keys");
        for (tag, _) in owned.tags() {
            if let Err(at) = self.tags.binary_search(&tag) {
                self.tags.insert(at, tag);
            }
        }
        /// Counts of an [`Arc`].
        const ARC_BYTES: usize = 2 * size_of::<usize>();
        self.key_bytes += key.len() + ARC_BYTES;
        let (last, last_time) = (NO_ROW, i64::MIN);
        self.series.push(SeriesRows { key: owned, last, rows: 0, last_time, in_order: true });
        let series = &self.series;
        self.places.insert_unique(hash, place, |p| xxh3_64(series[*p as usize].key.as_bytes()));
        place
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |place: &u32| self.series[*place as usize].key.as_bytes() == key;
        self.places.find(hash, same).copied()
    }

    /// The series that may be wanted.
    fn candidates(&self, wanted: &SeriesFilter) -> Vec<SeriesRows> {
        if let Some(keys) = wanted.keys(&self.tags, LOOKUPS_MAX) {
            let places = keys.iter().filter_map(|key| self.find(key.hash64(), key.as_bytes()));
            let found = places.inspect(|_| count::series(1));
            return found.map(|place| self.series[place as usize].clone()).collect();
        }
        count::series(self.series.len());
        match wanted {
            SeriesFilter::Tags(_) | SeriesFilter::Except(_) => {
                let named = self.series.iter().filter(|one| wanted.may_want(one.key.as_bytes()));
                named.cloned().collect()
            }
            SeriesFilter::All | SeriesFilter::Where(_) => self.series.clone(),
        }
    }

    fn note_columns(&mut self, batch: &RowBatch) {
        for (id, values) in &batch.columns {
            let (known, stored) = (&self.columns, values.column_type());
            match known.binary_search_by_key(id, |(id, _)| *id) {
                Ok(at) if known[at].1 == stored || stored != ColumnType::Float => {}
                Ok(at) => Arc::make_mut(&mut self.columns)[at].1 = stored,
                Err(at) => Arc::make_mut(&mut self.columns).insert(at, (*id, stored)),
            }
        }
    }
}

/// Where the next series of a batch may be: devices that are read in turn come in the same order again and again.
#[derive(Default)]
struct Guess {
    next: u32,
    /// In a row.
    misses: u32,
}

impl Guess {
    /// After so many misses in a row the series of a batch are in another order.
    const MISSES_MAX: u32 = 4;

    fn place(&self) -> Option<u32> {
        (self.misses < Guess::MISSES_MAX).then_some(self.next)
    }

    fn note(&mut self, place: u32) {
        self.misses = if place == self.next { 0 } else { self.misses + 1 };
        self.next = place.wrapping_add(1);
    }
}

impl MemoryView {
    /// How many rows there are of the wanted series.
    pub(crate) fn rows(&self) -> u64 {
        self.series.iter().map(|series| u64::from(series.rows)).sum()
    }

    /// Calls `each` with the block, the row in it and the time of the rows of a series, the newest
    /// first, until it says that this is enough.
    pub(crate) fn walk(&self, series: &SeriesRows, mut each: impl FnMut(u32, u32, i64) -> bool) {
        let (mut number, mut at) = (series.last, usize::MAX);
        for _ in 0..series.rows {
            let inside = |at: usize| self.blocks.get(at).is_some_and(|block| block.has(number));
            if !inside(at) {
                at = match at.checked_sub(1).filter(|before| inside(*before)) {
                    Some(before) => before,
                    None => self.blocks.partition_point(|block| block.first <= number) - 1,
                };
            }
            let block = &self.blocks[at];
            let row = number - block.first;
            if !each(at as u32, row, block.times[row as usize]) {
                return;
            }
            number = block.before[row as usize];
        }
    }
}

/// Work done, so that a test can tell what costs.
pub(crate) mod count {
    #[cfg(test)]
    thread_local! {
        /// Series looked at, and cells.
        pub(crate) static DONE: std::cell::Cell<(usize, usize)> = const { std::cell::Cell::new((0, 0)) };
    }

    pub(super) fn series(_more: usize) {
        #[cfg(test)]
        DONE.set((DONE.get().0 + _more, DONE.get().1));
    }

    pub(super) fn cells(_more: usize) {
        #[cfg(test)]
        DONE.set((DONE.get().0, DONE.get().1 + _more));
    }
}
