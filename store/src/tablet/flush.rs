//! Memtables into segments, and the edit of the manifest that makes them count.

use super::{
    OpenSegment, State, Tablet, memory_source,
    new_file::NewFile,
    open::{open_segment, segment_path},
};
use crate::{
    Error, Result,
    manifest::{Manifest, SegmentEntry},
    page_cache::PageCache,
    scan::{self, Rows, Source},
    segment::{Kept, SegmentWriter},
};
use oribi_model::{LogIndex, RowsWanted, ScanSpec, SeriesFilter, TabletId, TimeRange};
use std::sync::Arc;

impl Tablet {
    /// Writes what was sealed into a segment and makes it durable, together with the deletes and
    /// the caller's state. Gives the index flushed, or `None` where nothing was sealed. Never
    /// blocks [`Tablet::apply`] or [`Tablet::scan`].
    ///
    /// # Errors
    /// [`Error::Io`], and then nothing of it is on disk and the call may be made again;
    /// [`Error::Poisoned`] where a sync or the replacement of the manifest failed, and
    /// [`Error::Dropped`], for good.
    pub fn flush(&self) -> Result<Option<LogIndex>> {
        let _one = self.flushing.lock();
        self.may_write()?;
        let (flushed, memtables, deletes) = {
            let state = self.state.read();
            let Some((flushed, count)) = state.seal.clone() else { return Ok(None) };
            (flushed, state.sealed[..count].to_vec(), state.deletes.clone())
        };
        self.make_folder()?;
        let bounds = memtables.iter().filter_map(|memtable| memtable.index());
        let bounds = bounds.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let all = SeriesFilter::All;
        let source = |memtable| memory_source(memtable, &deletes, TimeRange::ALL, &all);
        let sources: Vec<Source> =
            memtables.iter().filter_map(|memtable| source(memtable)).collect();
        let cleaned = deletes.iter().map(|delete| delete.index).max().unwrap_or_default();
        let new = match bounds {
            Some(bounds) => self.write_segment(sources, bounds, cleaned)?,
            None => None,
        };
        let index = flushed.index;
        self.edit(new, move |state, segment| {
            state.segments.extend(segment.cloned());
            state.sealed.drain(..memtables.len());
            state.flushed = Some(flushed.clone());
            state.seal = state.seal.take().filter(|(seal, _)| seal.index > index);
            if let Some((_, count)) = &mut state.seal {
                *count -= memtables.len();
            }
        })?;
        Ok(Some(index))
    }

    /// Merges `sources` into a new segment, durable but for its name; `None` without rows.
    pub(super) fn write_segment(
        &self,
        sources: Vec<Source>,
        (first, last): (LogIndex, LogIndex),
        cleaned: LogIndex,
    ) -> Result<Option<NewSegment<'_>>> {
        let columns = scan::columns_of(&sources);
        let stored = columns.iter().map(|read| (read.id, read.column_type)).collect();
        let spec = ScanSpec {
            columns,
            time: TimeRange::ALL,
            series: SeriesFilter::All,
            rows: RowsWanted::All,
        };
        let blocks = scan::parts(self.spec.id, &sources, &spec, 1, None)?;
        let mut blocks = blocks.into_iter().flatten().peekable();
        if blocks.peek().is_none() {
            return Ok(None);
        }
        let number = self.next_number();
        let path = segment_path(&self.dir, number);
        let kept_as = PageCache::segment_number();
        let cells = rows_of(&sources).saturating_mul(spec.columns.len() as u64 + 1);
        drop(sources);
        let kept = self.options.pages.has_room_for(cells).then(|| {
            let cache = self.options.pages.clone();
            Kept { cache, number: kept_as }
        });
        let (name, file) = NewFile::create(&*self.disk, path.clone())?;
        let mut writer = SegmentWriter::new(file, &path, &self.spec, stored, kept)?;
        for block in blocks {
            self.may_write()?;
            let block = block.map_err(|error| {
                let (path, reason) = (path.clone(), error.to_string());
                Error::Source { path, reason }
            })?;
            writer.push(block)?;
        }
        let (file, bytes) = writer.finish()?;
        self.or_poison(file.sync().map_err(Error::io("sync", &path)))?;
        drop(file);
        let segment =
            Arc::new(open_segment(&self.disk, &path, &self.spec, &self.options, kept_as)?);
        let times = segment.page_times().iter().copied();
        let time = times.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap_or_default();
        let (rows, series) = (segment.rows(), segment.series_count() as u64);
        let entry = SegmentEntry { number, first, last, cleaned, rows, bytes, time, series };
        Ok(Some(NewSegment { name, open: OpenSegment { entry, segment } }))
    }

    /// Changes the version, which may gain a segment: first in the manifest, then in memory.
    pub(super) fn edit(
        &self,
        new: Option<NewSegment<'_>>,
        change: impl Fn(&mut State, Option<&OpenSegment>),
    ) -> Result<()> {
        let (name, open) = new.map(|new| (new.name, new.open)).unzip();
        self.replace(name.into_iter().collect(), |state| change(state, open.as_ref()))
    }

    /// Changes the version, which may name new files: first in the manifest, then in memory.
    pub(super) fn replace(&self, new: Vec<NewFile<'_>>, change: impl Fn(&mut State)) -> Result<()> {
        let _one = self.manifest.lock();
        let mut planned = self.state.read().planned();
        change(&mut planned);
        planned.forget_deletes();
        let manifest = planned.manifest(self.spec.id);
        let folder = self.disk.open_dir(&self.dir).map_err(Error::io("open", &self.dir))?;
        self.or_poison(folder.sync().map_err(Error::io("sync", &self.dir)))?;
        let staged = manifest.stage(&*self.disk, &self.dir)?;
        // From here on a manifest may name them.
        new.into_iter().for_each(NewFile::keep);
        self.or_poison(staged.commit())?;
        let mut state = self.state.write();
        change(&mut state);
        state.forget_deletes();
        Ok(())
    }

    /// A number for a new file.
    pub(super) fn next_number(&self) -> u64 {
        let mut next = self.manifest.lock();
        *next += 1;
        *next - 1
    }
}

/// A segment that no manifest names yet.
pub(super) struct NewSegment<'a> {
    name: NewFile<'a>,
    open: OpenSegment,
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
    /// What a manifest says of it.
    pub(super) fn manifest(&self, tablet: TabletId) -> Manifest {
        let flushed = self.flushed.as_ref().map(|flushed| flushed.index);
        let durable = self.deletes.iter().filter(|delete| Some(delete.index) <= flushed);
        Manifest {
            tablet,
            flushed: self.flushed.clone(),
            segments: self.segments.iter().map(|open| open.entry.clone()).collect(),
            deletes: durable.cloned().collect(),
        }
    }

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
