//! A scan: the rows of memtables and segments as one stream of blocks, the newest value winning.

mod bounds;
mod cursor;
mod last;
mod memory;
mod merge;
mod piece;
mod plan;
mod window;

use crate::{
    Error, Result, manifest::Delete, memtable::MemoryView, page_cache::PageCache, segment::Segment,
};
use cursor::{Cursor, SegmentCursor};
use last::LastRows;
use memory::{MemoryCursor, MemoryRows};
use merge::Merge;
use oribi_model::{
    BlockIter, ColumnId, ColumnRead, ColumnType, RowsWanted, ScanSpec, TabletId, TimeRange,
};
use plan::{PlanSeries, plan};
use std::{collections::HashMap, iter, sync::Arc};

/// Where rows come from.
#[derive(Clone)]
pub(crate) enum Rows {
    Segment(Arc<Segment>),
    Memory(Arc<MemoryView>),
}

/// Rows and the deletes that hide some of them.
#[derive(Clone)]
pub(crate) struct Source {
    pub(crate) rows: Rows,
    pub(crate) deletes: Vec<Delete>,
}

/// The columns of all sources with a type that holds every value of theirs.
pub(crate) fn columns_of(sources: &[Source]) -> Vec<ColumnRead> {
    let mut types = std::collections::BTreeMap::new();
    for (id, column_type) in sources.iter().flat_map(source_columns).copied() {
        let known = types.entry(id).or_insert(column_type);
        if column_type == ColumnType::Float {
            *known = column_type;
        }
    }
    types.into_iter().map(|(id, column_type)| ColumnRead { id, column_type }).collect()
}

fn source_columns(source: &Source) -> &[(ColumnId, ColumnType)] {
    match &source.rows {
        Rows::Segment(segment) => segment.columns(),
        Rows::Memory(view) => &view.columns,
    }
}

/// Cuts a scan of `sources`, the oldest first, into at most `parts_max` parts. Pages come from
/// `cache` and go there, if there is one.
pub(crate) fn parts(
    tablet: TabletId,
    sources: &[Source],
    spec: &ScanSpec,
    parts_max: usize,
    cache: Option<&Arc<PageCache>>,
) -> Result<Vec<BlockIter>> {
    let asked: HashMap<ColumnId, ColumnType> =
        spec.columns.iter().map(|read| (read.id, read.column_type)).collect();
    for (id, stored) in sources.iter().flat_map(source_columns).copied() {
        let asked = asked.get(&id).copied().unwrap_or(stored);
        if asked != stored && (stored, asked) != (ColumnType::Int, ColumnType::Float) {
            return Err(Error::StaleSchema { column: id, stored, asked });
        }
    }
    let wanted_rows = rows_of(sources, spec);
    let plan = plan(sources, spec, cache.map(|cache| &**cache))?;
    let last: Vec<Option<LastRows>> =
        sources.iter().map(|source| last_of(source, spec, wanted_rows, cache)).collect();
    if let [Some(last)] = &last[..] {
        let block = last.block(plan, spec).map(Ok);
        return Ok(block
            .into_iter()
            .map(|block| Box::new(iter::once(block)) as BlockIter)
            .collect());
    }
    let total: u64 = plan.iter().map(|series| series.rows).sum();
    let rows_min = total.div_ceil(parts_max.max(1) as u64).max(1);
    let mut parts: Vec<BlockIter> = Vec::new();
    let (mut part, mut rows) = (Vec::new(), 0);
    let mut cut = |part: Vec<PlanSeries>| {
        if let [Source { rows: Rows::Memory(view), deletes }] = sources
            && deletes.is_empty()
        {
            let cursor = MemoryCursor::new(view.clone(), spec, wanted_rows);
            parts.push(Box::new(MemoryRows::new(cursor, part)));
            return;
        }
        let cursors = sources.iter().enumerate().map(|(at, source)| {
            let rows = match (&source.rows, &last[at]) {
                (Rows::Memory(view), _) => {
                    Cursor::Memory(MemoryCursor::new(view.clone(), spec, wanted_rows))
                }
                (Rows::Segment(_), Some(last)) => Cursor::Last(last.cursor(spec.time)),
                (Rows::Segment(segment), None) => {
                    let wanted = wanted_pages(segment, at as u32, &part, (spec.time, wanted_rows));
                    let (segment, cache) = (segment.clone(), cache.cloned());
                    let wanted = (wanted, wanted_rows);
                    Cursor::Segment(SegmentCursor::new(segment, cache, spec, wanted))
                }
            };
            (rows, source.deletes.clone())
        });
        let cursors = cursors.collect();
        parts.push(Box::new(Merge::new(tablet, cursors, part, spec.columns.clone())));
    };
    for series in plan {
        rows += series.rows;
        part.push(series);
        if rows >= rows_min {
            cut(std::mem::take(&mut part));
            rows = 0;
        }
    }
    if !part.is_empty() {
        cut(part);
    }
    Ok(parts)
}

/// The last rows of a source, where no others are wanted and they may be had at once.
fn last_of(
    source: &Source,
    spec: &ScanSpec,
    wanted: RowsWanted,
    cache: Option<&Arc<PageCache>>,
) -> Option<LastRows> {
    match (&source.rows, wanted) {
        (Rows::Segment(segment), RowsWanted::Last) => LastRows::of(segment, cache?, spec),
        _ => None,
    }
}

/// Whether the last row of each series is enough, and lies on the last page that the series has:
/// nothing may hide it, and it must not lie behind the range.
fn rows_of(sources: &[Source], spec: &ScanSpec) -> RowsWanted {
    let ends_inside = |source: &Source| match &source.rows {
        Rows::Segment(segment) => {
            segment.page_times().iter().all(|(_, most)| *most < spec.time.end)
        }
        Rows::Memory(_) => true,
    };
    let plain = |source: &Source| source.deletes.is_empty() && ends_inside(source);
    if sources.iter().all(plain) { spec.rows } else { RowsWanted::All }
}

/// For each page of a segment whether the scan has to read it.
fn wanted_pages(
    segment: &Segment,
    source: u32,
    part: &[PlanSeries],
    (time, rows): (TimeRange, RowsWanted),
) -> Vec<bool> {
    let mut wanted = vec![false; segment.pages()];
    let places = part.iter().flat_map(|series| &series.places);
    for place in places.filter(|place| place.source == source) {
        let last = segment.page_of(place.at + place.rows - 1);
        match rows {
            RowsWanted::All => wanted[segment.page_of(place.at)..=last].fill(true),
            RowsWanted::Last => wanted[last] = true,
        }
    }
    for (wanted, (least, most)) in wanted.iter_mut().zip(segment.page_times()) {
        *wanted &= time == TimeRange::ALL || (*least < time.end && *most >= time.start);
    }
    wanted
}
