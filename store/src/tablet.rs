//! One tablet on one disk: apply, delete, flush, compact, scan.

mod compact;
mod feed;
mod flush;
mod install;
mod new_file;
mod open;
mod pick;
mod pin;
mod recalled;
mod repair;
mod staging;
#[cfg(test)]
mod tests;

pub use crate::manifest::Flushed;
pub use feed::SegmentRows;
pub use pin::{FileSum, Pin};
pub use recalled::Recalled;
pub use repair::{Consent, Lost, Repair, Repaired};
pub use staging::{Gap, Staging};

use crate::{
    Error, Result,
    disk::Disk,
    manifest::{Delete, SegmentEntry},
    memtable::Memtable,
    open_files::OpenFiles,
    page_cache::PageCache,
    scan::{self, Rows, Source},
    segment::Segment,
    trash::Trash,
};
use oribi_model::{
    BlockIter, Fresh, LogIndex, Marks, RowBatch, ScanSpec, SeriesFilter, TabletSpec, TagPredicate,
    TimeRange,
};
use parking_lot::{Mutex, RwLock};
use std::{path::PathBuf, sync::Arc};

/// What may be set for a tablet.
#[derive(Clone)]
pub struct TabletOptions {
    /// Segments whose bytes add up to more are not merged by [`Tablet::compact`].
    pub compact_bytes_max: u64,
    /// Bytes of the disk that a merge leaves free.
    pub reserve_bytes: u64,
    /// Decoded pages, shared by the tablets of a node.
    pub pages: Arc<PageCache>,
    /// Open files, shared by the tablets of a node.
    pub files: Arc<OpenFiles>,
    /// Where files go that are no longer needed or that nobody knows.
    pub trash: Arc<Trash>,
}

impl TabletOptions {
    /// Small caches and no reserve.
    pub fn new(trash: Arc<Trash>) -> TabletOptions {
        TabletOptions {
            compact_bytes_max: 1 << 30,
            reserve_bytes: 0,
            pages: Arc::new(PageCache::new(1 << 20)),
            files: Arc::new(OpenFiles::new(512)),
            trash,
        }
    }
}

/// How much a tablet holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TabletStats {
    /// Rows in segments and memtables; a key written several times may count several times.
    pub rows: u64,
    /// Rows in memtables alone.
    pub memtable_rows: u64,
    /// Bytes of the segments.
    pub bytes: u64,
    /// Number of segments.
    pub segments: usize,
    /// Segments in which a read met damage; they are not merged.
    pub damaged_segments: usize,
    /// Memtables that log entries went into; each delete and each seal begins another.
    pub memtables: usize,
    /// Range of event times; `None` without rows.
    pub time: Option<TimeRange>,
}

/// One replica's rows of one tablet. All methods may be called from several threads.
pub struct Tablet {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    spec: TabletSpec,
    options: TabletOptions,
    state: RwLock<State>,
    /// Serialises flushes; taken before `manifest`.
    flushing: Mutex<()>,
    /// Serialises compactions; taken before `manifest`.
    compacting: Mutex<()>,
    /// Held while the manifest is replaced; guards the next file number.
    manifest: Mutex<u64>,
    stopped: Mutex<Option<Stopped>>,
}

/// Why nothing is written any more.
enum Stopped {
    Poisoned(String),
    Dropped,
}

struct State {
    segments: Vec<OpenSegment>,
    sealed: Vec<Arc<Memtable>>,
    active: Arc<Memtable>,
    deletes: Vec<Delete>,
    flushed: Option<Flushed>,
    applied: Option<LogIndex>,
    /// What was seen of sources that can be read again, up to the newest entry applied.
    marks: Marks,
    /// What the next flush covers: the first so many sealed memtables.
    seal: Option<(Flushed, usize)>,
}

#[derive(Clone)]
struct OpenSegment {
    entry: SegmentEntry,
    segment: Arc<Segment>,
}

impl Tablet {
    /// The tablet's bounds.
    pub fn spec(&self) -> &TabletSpec {
        &self.spec
    }

    /// What the newest flush made durable.
    pub fn flushed(&self) -> Option<Flushed> {
        self.state.read().flushed.clone()
    }

    /// The newest entry applied or flushed.
    pub fn applied(&self) -> Option<LogIndex> {
        self.state.read().applied
    }

    /// Makes rows visible. Indexes ascend; entries that are flushed already are ignored, and so are
    /// rows of records that were seen already.
    pub fn apply(&self, index: LogIndex, batch: Arc<RowBatch>) {
        let mut state = self.state.write();
        if state.flushed.as_ref().is_some_and(|flushed| index <= flushed.index) {
            return;
        }
        let fresh = batch.cursor.as_ref().map_or(Fresh::All, |cursor| state.marks.see(cursor));
        match fresh {
            Fresh::All => state.active.apply(index, batch),
            Fresh::From(first) => {
                let rows = (first as u32..batch.rows() as u32).collect();
                state.active.apply(index, Arc::new(batch.take(rows)));
            }
            Fresh::None => {}
        }
        state.applied = state.applied.max(Some(index));
    }

    /// The first record of a source that no row of this tablet came from, as far as is known.
    pub fn next_of(&self, source: &str) -> u64 {
        self.state.read().marks.next(source)
    }

    /// Hides the matching rows of lower index at once. The next flush makes the delete durable.
    pub fn delete(&self, index: LogIndex, time: TimeRange, tags: TagPredicate) {
        let mut state = self.state.write();
        if state.flushed.as_ref().is_some_and(|flushed| index <= flushed.index) {
            return;
        }
        state.freeze();
        state.deletes.push(Delete { index, time, tags });
        state.applied = state.applied.max(Some(index));
        state.forget_deletes();
    }

    /// Bytes of memory held by rows that are not flushed.
    pub fn memtable_bytes(&self) -> usize {
        self.state.read().memtables().map(|memtable| memtable.bytes()).sum()
    }

    /// Freezes the memtable: everything applied so far, which must be all entries up to `index`,
    /// is covered by the next flush, and `raft_state` is stored with it.
    pub fn seal(&self, index: LogIndex, raft_state: Vec<u8>) {
        let mut state = self.state.write();
        if state.flushed.as_ref().is_some_and(|flushed| index < flushed.index) {
            return;
        }
        state.freeze();
        let count = state.sealed.len();
        state.applied = state.applied.max(Some(index));
        let marks = state.marks.clone();
        state.seal = Some((Flushed { index, raft_state, marks }, count));
    }

    /// Opens a scan of the rows as they stand now, in at most `parts_max` parts with disjoint
    /// series. Later writes, flushes and compactions do not change it.
    ///
    /// # Errors
    /// [`Error::StaleSchema`] where the reader's types are older than the rows;
    /// [`Error::Dropped`].
    pub fn scan(&self, spec: &ScanSpec, parts_max: usize) -> Result<Vec<BlockIter>> {
        if spec.time.is_empty() {
            return Ok(Vec::new());
        }
        let state = self.state.read();
        self.may_read()?;
        let mut sources: Vec<Source> = state
            .segments
            .iter()
            .filter(|open| overlaps(open.entry.time, spec.time))
            .map(|open| open.source(&state.deletes))
            .collect();
        for memtable in state.memtables() {
            sources.extend(memory_source(memtable, &state.deletes, spec.time, &spec.series));
        }
        drop(state);
        scan::parts(self.spec.id, &sources, spec, parts_max, Some(&self.options.pages))
    }

    /// How much there is.
    pub fn stats(&self) -> TabletStats {
        let state = self.state.read();
        let memtable_rows = state.memtables().map(|memtable| memtable.rows() as u64).sum();
        let segment_rows: u64 = state.segments.iter().map(|open| open.entry.rows).sum();
        let times = state.segments.iter().map(|open| open.entry.time);
        let times = times.chain(state.memtables().filter_map(|memtable| memtable.time()));
        let time = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        TabletStats {
            rows: memtable_rows + segment_rows,
            memtable_rows,
            bytes: state.segments.iter().map(|open| open.entry.bytes).sum(),
            segments: state.segments.len(),
            damaged_segments: state.segments.iter().filter(|s| s.segment.is_damaged()).count(),
            memtables: state.memtables().filter(|one| one.index().is_some()).count(),
            time: time.map(|(least, most)| TimeRange::new(least, most.saturating_add(1))),
        }
    }

    /// Whether a read has met damage in a segment.
    pub fn is_damaged(&self) -> bool {
        self.state.read().segments.iter().any(|open| open.segment.is_damaged())
    }

    /// Reads every block of every segment and checks it.
    ///
    /// # Errors
    /// [`Error::Corrupt`] at the first block that is not what was written.
    pub fn verify(&self) -> Result<()> {
        let segments: Vec<OpenSegment> = self.state.read().segments.clone();
        segments.iter().try_for_each(|open| open.segment.verify())
    }

    /// Reads every block of every segment and compares its checksum. `pace` is told how many bytes
    /// were read, may take its time, and says whether to go on. A segment that is as it should be
    /// counts as damaged no more.
    ///
    /// # Errors
    /// Of the first segment that is not what was written [`Error::Corrupt`], or [`Error::Io`]; the
    /// others are read all the same.
    pub fn scrub(&self, mut pace: impl FnMut(usize) -> bool) -> Result<()> {
        let segments: Vec<OpenSegment> = self.state.read().segments.clone();
        let mut outcome = Ok(());
        for open in segments {
            match open.segment.scrub(&mut pace) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    /// Why the tablet takes no flushes any more, if a failed one left unknown what is on disk.
    pub fn failure(&self) -> Option<String> {
        match &*self.stopped.lock() {
            Some(Stopped::Poisoned(reason)) => Some(reason.clone()),
            Some(Stopped::Dropped) | None => None,
        }
    }

    fn may_write(&self) -> Result<()> {
        match &*self.stopped.lock() {
            Some(Stopped::Poisoned(reason)) => Err(Error::Poisoned(reason.clone())),
            Some(Stopped::Dropped) => Err(Error::Dropped(self.spec.id)),
            None => Ok(()),
        }
    }

    fn may_read(&self) -> Result<()> {
        match &*self.stopped.lock() {
            Some(Stopped::Dropped) => Err(Error::Dropped(self.spec.id)),
            Some(Stopped::Poisoned(_)) | None => Ok(()),
        }
    }

    /// Ends all writing where `outcome` leaves unknown what is on disk.
    fn or_poison<T>(&self, outcome: Result<T>) -> Result<T> {
        outcome.map_err(|error| {
            let reason = error.to_string();
            self.stopped.lock().get_or_insert_with(|| Stopped::Poisoned(reason.clone()));
            Error::Poisoned(reason)
        })
    }
}

impl State {
    /// The oldest first.
    fn memtables(&self) -> impl Iterator<Item = &Arc<Memtable>> {
        self.sealed.iter().chain(std::iter::once(&self.active))
    }

    fn freeze(&mut self) {
        if self.active.index().is_some() {
            self.sealed.push(std::mem::take(&mut self.active));
        }
    }

    /// Drops the deletes that no source is old enough for.
    fn forget_deletes(&mut self) {
        let State { segments, sealed, deletes, .. } = self;
        deletes.retain(|delete| {
            let old = |open: &OpenSegment| delete.concerns(open.entry.last, open.entry.cleaned);
            let waiting = |memtable: &Arc<Memtable>| {
                memtable.index().is_some_and(|(_, last)| last < delete.index)
            };
            segments.iter().any(old) || sealed.iter().any(waiting)
        });
    }
}

impl OpenSegment {
    fn source(&self, deletes: &[Delete]) -> Source {
        let concerning = |delete: &&Delete| delete.concerns(self.entry.last, self.entry.cleaned);
        let deletes = deletes.iter().filter(concerning).cloned().collect();
        Source { rows: Rows::Segment(self.segment.clone()), deletes }
    }
}

fn memory_source(
    memtable: &Memtable,
    deletes: &[Delete],
    time: TimeRange,
    series: &SeriesFilter,
) -> Option<Source> {
    let (_, last) = memtable.index()?;
    let deletes = deletes.iter().filter(|delete| last < delete.index).cloned().collect();
    let view = memtable.view(time, series)?;
    Some(Source { rows: Rows::Memory(Arc::new(view)), deletes })
}

fn overlaps(times: (i64, i64), range: TimeRange) -> bool {
    range == TimeRange::ALL || (times.0 < range.end && times.1 >= range.start)
}
