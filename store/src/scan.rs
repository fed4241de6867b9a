//! A scan: the rows of memtables and segments as one stream of blocks, the newest value winning.

mod cursor;
mod merge;

use crate::{
    Error, Result,
    manifest::Delete,
    memtable::MemoryView,
    page_cache::PageCache,
    segment::{PAGE_ROWS, Segment},
};
use cursor::{Cursor, MemoryCursor, SegmentCursor};
use merge::Merge;
use oribi_model::{
    BlockIter, ColumnId, ColumnRead, ColumnType, RowsWanted, ScanSpec, SeriesKey, TabletId,
    TimeRange,
};
use std::{collections::HashMap, sync::Arc};

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

/// One series and its place in each source that has it, the oldest source first.
pub(crate) struct PlanSeries {
    key: SeriesKey,
    places: Vec<(u32, u32)>,
    rows: u64,
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
    let plan = plan(sources, spec);
    let total: u64 = plan.iter().map(|series| series.rows).sum();
    let rows_min = total.div_ceil(parts_max.max(1) as u64).max(1);
    let mut parts: Vec<BlockIter> = Vec::new();
    let (mut part, mut rows) = (Vec::new(), 0);
    let mut cut = |part: Vec<PlanSeries>| {
        let cursors = sources.iter().enumerate().map(|(at, source)| {
            let rows = match &source.rows {
                Rows::Memory(view) => {
                    Cursor::Memory(MemoryCursor::new(view.clone(), spec, wanted_rows))
                }
                Rows::Segment(segment) => {
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

fn plan(sources: &[Source], spec: &ScanSpec) -> Vec<PlanSeries> {
    let mut found: Vec<(&SeriesKey, u32, u32, u64)> = Vec::new();
    for (at, source) in sources.iter().enumerate() {
        match &source.rows {
            Rows::Segment(segment) => {
                let keys = segment.series();
                let places = spec.series.places(keys.len(), |place| keys[place].0.as_bytes());
                for place in places.into_iter().flatten() {
                    let rows = segment.series_rows(place);
                    found.push((&keys[place].0, at as u32, place as u32, rows.end - rows.start));
                }
            }
            Rows::Memory(view) => {
                for (place, series) in view.series.iter().enumerate() {
                    found.push((&series.key, at as u32, place as u32, series.rows() as u64));
                }
            }
        }
    }
    // Each source is sorted already, which the stable sort takes advantage of.
    found.sort_by(|a, b| a.0.cmp(b.0));
    let same = found.chunk_by(|a, b| a.0 == b.0).filter(|same| spec.series.wants(same[0].0));
    let series = same.map(|same| PlanSeries {
        key: same[0].0.clone(),
        places: same.iter().map(|one| (one.1, one.2)).collect(),
        rows: same.iter().map(|one| one.3).sum(),
    });
    series.collect()
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
    let mut wanted = vec![false; segment.page_times().len()];
    let places = part.iter().flat_map(|series| &series.places);
    for (_, place) in places.filter(|(at, _)| *at == source) {
        let range = segment.series_rows(*place as usize);
        let pages = range.start as usize / PAGE_ROWS..(range.end as usize).div_ceil(PAGE_ROWS);
        match rows {
            RowsWanted::All => wanted[pages].fill(true),
            RowsWanted::Last => wanted[pages.end - 1] = true,
        }
    }
    for (wanted, (least, most)) in wanted.iter_mut().zip(segment.page_times()) {
        *wanted &= time == TimeRange::ALL || (*least < time.end && *most >= time.start);
    }
    wanted
}
