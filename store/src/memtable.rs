//! Rows that are in the log but not yet in a segment: the applied batches as they came, and for
//! each series where its rows lie in them.

use hashbrown::HashTable;
use oribi_model::{LogIndex, RowBatch, SeriesFilter, SeriesKey, TimeRange};
use parking_lot::RwLock;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

#[derive(Default)]
pub(crate) struct Memtable(RwLock<Rows>);

#[derive(Default)]
struct Rows {
    batches: Vec<Arc<RowBatch>>,
    places: HashTable<u32>,
    series: Vec<SeriesRows>,
    rows: usize,
    bytes: usize,
    time: Option<(i64, i64)>,
    index: Option<(LogIndex, LogIndex)>,
}

/// The rows of one series, in the order of their arrival.
#[derive(Clone)]
pub(crate) struct SeriesRows {
    pub(crate) key: SeriesKey,
    /// (batch, row).
    pub(crate) rows: Vec<(u32, u32)>,
    last_time: i64,
    /// Whether times ascend strictly.
    pub(crate) in_order: bool,
}

/// What a memtable held at one moment; series by ascending key.
pub(crate) struct MemoryView {
    pub(crate) batches: Vec<Arc<RowBatch>>,
    pub(crate) series: Vec<SeriesRows>,
}

impl Memtable {
    pub(crate) fn apply(&self, index: LogIndex, batch: Arc<RowBatch>) {
        let mut guard = self.0.write();
        let rows = &mut *guard;
        let first = rows.index.map_or(index, |(first, _)| first);
        rows.index = Some((first, index));
        let number = rows.batches.len() as u32;
        let places: Vec<u32> = batch.series.iter().map(|key| rows.place(key)).collect();
        let (mut least, mut most) = rows.time.unwrap_or((i64::MAX, i64::MIN));
        for (row, (series, time)) in batch.row_series.iter().zip(&batch.times).enumerate() {
            let series = &mut rows.series[places[*series as usize] as usize];
            series.in_order &= series.rows.is_empty() || *time > series.last_time;
            series.last_time = *time;
            series.rows.push((number, row as u32));
            least = least.min(*time);
            most = most.max(*time);
        }
        if batch.rows() > 0 {
            rows.time = Some((least, most));
        }
        rows.rows += batch.rows();
        rows.bytes += batch.bytes() + batch.rows() * size_of::<(u32, u32)>();
        rows.batches.push(batch);
    }

    pub(crate) fn rows(&self) -> usize {
        self.0.read().rows
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.read().bytes
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
        let series = rows.series.iter().filter(|series| wanted.wants(&series.key));
        let mut series: Vec<SeriesRows> = series.cloned().collect();
        let batches = rows.batches.clone();
        drop(rows);
        series.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        Some(MemoryView { batches, series })
    }
}

impl Rows {
    fn place(&mut self, key: &[u8]) -> u32 {
        let (places, series) = (&mut self.places, &mut self.series);
        let hash = xxh3_64(key);
        let same = |place: &u32| series[*place as usize].key.as_bytes() == key;
        if let Some(place) = places.find(hash, same) {
            return *place;
        }
        let place = series.len() as u32;
        let owned = SeriesKey::from_bytes(key).expect("a batch holds only well-formed keys");
        let (rows, last_time) = (Vec::new(), i64::MIN);
        series.push(SeriesRows { key: owned, rows, last_time, in_order: true });
        self.bytes += key.len() + size_of::<SeriesRows>();
        places.insert_unique(hash, place, |p| xxh3_64(series[*p as usize].key.as_bytes()));
        place
    }
}
