//! Memtables into segments, and the edit of the manifest that makes them count.

use super::{OpenSegment, State, Tablet, memory_source, open::segment_path};
use crate::{
    Error, Result,
    manifest::{Manifest, SegmentEntry},
    page_cache::PageCache,
    scan::{self, Rows, Source},
    segment::{Kept, Segment, SegmentWriter},
};
use oribi_model::{LogIndex, RowsWanted, ScanSpec, SeriesFilter, TimeRange};
use std::sync::Arc;

impl Tablet {
    /// Writes what was sealed into a segment and makes it durable, together with the deletes and
    /// the caller's state. Gives the index flushed, or `None` where nothing was sealed. Never
    /// blocks [`Tablet::apply`] or [`Tablet::scan`].
    ///
    /// # Errors
    /// [`Error::Io`] once, [`Error::Poisoned`] from then on.
    pub fn flush(&self) -> Result<Option<LogIndex>> {
        let _one = self.flushing.lock();
        self.alive()?;
        let outcome = self.flush_sealed();
        self.poison_on_failure(outcome)
    }

    fn flush_sealed(&self) -> Result<Option<LogIndex>> {
        let (flushed, memtables, deletes) = {
            let state = self.state.read();
            let Some((flushed, count)) = state.seal.clone() else { return Ok(None) };
            (flushed, state.sealed[..count].to_vec(), state.deletes.clone())
        };
        let bounds = memtables.iter().filter_map(|memtable| memtable.index());
        let bounds = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let all = SeriesFilter::All;
        let source = |memtable| memory_source(memtable, &deletes, TimeRange::ALL, &all);
        let sources: Vec<Source> =
            memtables.iter().filter_map(|memtable| source(memtable)).collect();
        let cleaned = deletes.iter().map(|delete| delete.index).max().unwrap_or_default();
        let segment = match bounds {
            Some(bounds) => self.write_segment(&sources, bounds, cleaned)?,
            None => None,
        };
        let index = flushed.index;
        self.edit(move |state| {
            state.segments.extend(segment.clone());
            state.sealed.drain(..memtables.len());
            state.flushed = Some(flushed.clone());
            state.seal = state.seal.take().filter(|(seal, _)| seal.index > index);
            if let Some((_, count)) = &mut state.seal {
                *count -= memtables.len();
            }
        })?;
        Ok(Some(index))
    }

    /// Merges `sources` into a new segment whose name is not durable yet; `None` without rows.
    pub(super) fn write_segment(
        &self,
        sources: &[Source],
        (first, last): (LogIndex, LogIndex),
        cleaned: LogIndex,
    ) -> Result<Option<OpenSegment>> {
        let columns = scan::columns_of(sources);
        let stored = columns.iter().map(|read| (read.id, read.column_type)).collect();
        let spec = ScanSpec {
            columns,
            time: TimeRange::ALL,
            series: SeriesFilter::All,
            rows: RowsWanted::All,
        };
        let mut blocks =
            scan::parts(self.spec.id, sources, &spec, 1, None)?.into_iter().flatten().peekable();
        if blocks.peek().is_none() {
            return Ok(None);
        }
        let number = {
            let mut next = self.manifest.lock();
            *next += 1;
            *next - 1
        };
        let path = segment_path(&self.dir, number);
        let kept_as = PageCache::segment_number();
        let cells = rows_of(sources).saturating_mul(spec.columns.len() as u64 + 1);
        let kept = self.options.pages.has_room_for(cells).then(|| {
            let cache = self.options.pages.clone();
            Kept { cache, number: kept_as }
        });
        let mut writer = SegmentWriter::create(&*self.disk, &path, &self.spec, stored, kept)?;
        for block in blocks {
            let block = block.map_err(|error| {
                let (path, reason) = (path.clone(), error.to_string());
                Error::Source { path, reason }
            })?;
            writer.push(block)?;
        }
        let bytes = writer.finish()?;
        let segment = Arc::new(Segment::open(&*self.disk, &path, &self.spec, kept_as)?);
        let times = segment.page_times().iter().copied();
        let time = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let (rows, series) = (segment.rows(), segment.series().len() as u64);
        let entry = SegmentEntry { number, first, last, cleaned, rows, bytes, time, series };
        Ok(Some(OpenSegment { entry, segment }))
    }

    /// Changes the version: first in the manifest, then in memory.
    pub(super) fn edit(&self, change: impl Fn(&mut State)) -> Result<()> {
        let _one = self.manifest.lock();
        let mut planned = self.state.read().planned();
        change(&mut planned);
        planned.forget_deletes();
        let flushed = planned.flushed.as_ref().map(|flushed| flushed.index);
        let durable = planned.deletes.iter().filter(|delete| Some(delete.index) <= flushed);
        let manifest = Manifest {
            tablet: self.spec.id,
            flushed: planned.flushed.clone(),
            segments: planned.segments.iter().map(|open| open.entry.clone()).collect(),
            deletes: durable.cloned().collect(),
        };
        self.disk.sync_dir(&self.dir).map_err(Error::io("sync", &self.dir))?;
        manifest.write(&*self.disk, &self.dir)?;
        let mut state = self.state.write();
        change(&mut state);
        state.forget_deletes();
        Ok(())
    }
}

/// How many rows the sources hold, keys that stand in several counted several times.
fn rows_of(sources: &[Source]) -> u64 {
    let rows = |source: &Source| match &source.rows {
        Rows::Memory(view) => view.rows(),
        Rows::Segment(segment) => segment.rows(),
    };
    sources.iter().map(rows).sum()
}

impl State {
    fn planned(&self) -> State {
        State {
            segments: self.segments.clone(),
            sealed: self.sealed.clone(),
            active: self.active.clone(),
            deletes: self.deletes.clone(),
            flushed: self.flushed.clone(),
            applied: self.applied,
            marks: self.marks.clone(),
            seal: self.seal.clone(),
        }
    }
}
