//! The last row of each series of a segment. It lies on as many pages as there are series and
//! columns, so what was found is kept as if it were a page of its own.

use super::{
    piece::Piece,
    plan::{Place, PlanSeries},
    window::Window,
};
use crate::{
    Result,
    gather::{Picks, concat, gather},
    page_cache::{Cells, Numbers, Page, PageCache},
    segment::Segment,
};
use oribi_model::{Block, Run, ScanSpec, SeriesFilter, TimeRange};
use std::{iter, sync::Arc};

/// Cells of a segment that are found and kept at once, at most.
const CELLS_MAX: usize = 1 << 16;
/// A segment with fewer rows a series has them on few pages as it is.
const ROWS_A_SERIES_MIN: u64 = 4;

/// The last row of each series, by their numbers.
#[derive(Clone)]
pub(super) struct LastRows(Arc<Window>);

impl LastRows {
    /// Those of all series of a segment, from the cache or from the pages, where that is worth it.
    /// What cannot be read says so when its page is read.
    pub(super) fn of(segment: &Segment, cache: &PageCache, spec: &ScanSpec) -> Option<LastRows> {
        let (series, stored) = (segment.series_count(), segment.columns());
        let few_cells = series.saturating_mul(spec.columns.len() + 1) <= CELLS_MAX;
        let long_series = segment.rows() >= ROWS_A_SERIES_MIN * series as u64;
        if !few_cells || !long_series || !matches!(spec.series, SeriesFilter::All) {
            return None;
        }
        let mut rows = None;
        let Page::Times(times) = last_of(segment, cache, None, &mut rows)? else { return None };
        let mut columns = Vec::with_capacity(spec.columns.len());
        for read in &spec.columns {
            let place = stored.iter().position(|(id, _)| *id == read.id);
            let cells = match place.map(|place| last_of(segment, cache, Some(place), &mut rows)) {
                Some(Some(Page::Cells(cells))) => Some(cells),
                Some(_) => return None,
                None => None,
            };
            columns.push((cells, read.column_type));
        }
        Some(LastRows(Arc::new(Window::Kept(times, columns))))
    }

    /// The rows in `time` of planned series, which are all in this segment and in no other place.
    pub(super) fn block(&self, plan: Vec<PlanSeries>, spec: &ScanSpec) -> Option<Block> {
        let Piece { times, columns } = self.0.cut(0..self.0.rows(), TimeRange::ALL);
        let inside = |series: &PlanSeries| spec.time.contains(times[series.places[0].series]);
        let plan: Vec<PlanSeries> = plan.into_iter().filter(inside).collect();
        if plan.is_empty() {
            return None;
        }
        let cells = plan.iter().map(|series| (0, series.places[0].series as u32)).collect();
        let runs = plan.into_iter().map(|series| Run { series: series.key, rows: 1 }).collect();
        let picks = Picks { cells, ends: None };
        if picks.rows() == times.len() {
            return Some(Block { runs, times, columns });
        }
        let picked = picks.cells.iter().map(|(_, at)| times[*at as usize]).collect::<Vec<_>>();
        let columns = iter::zip(&spec.columns, columns);
        let columns = columns.map(|(read, cells)| gather(read.column_type, &[Some(cells)], &picks));
        Some(Block { runs, times: picked.into(), columns: columns.collect() })
    }

    pub(super) fn cursor(&self, time: TimeRange) -> LastCursor {
        LastCursor { rows: self.clone(), time, next: None }
    }
}

/// The last row of one series after another.
pub(super) struct LastCursor {
    rows: LastRows,
    time: TimeRange,
    next: Option<usize>,
}

impl LastCursor {
    pub(super) fn open(&mut self, place: &Place) {
        self.next = Some(place.series);
    }

    pub(super) fn next(&mut self) -> Option<Piece> {
        let at = self.next.take()?;
        let piece = self.rows.0.cut(at..at + 1, self.time);
        (piece.rows() > 0).then_some(piece)
    }
}

/// The last cells of a column, or the last times; `rows` are the last row of each series once they
/// were looked for.
fn last_of(
    segment: &Segment,
    cache: &PageCache,
    column: Option<usize>,
    rows: &mut Option<Vec<u64>>,
) -> Option<Page> {
    let key = segment.key_of_last(column);
    if let Some(page) = cache.get(key) {
        return Some(page);
    }
    if rows.is_none() {
        let mut last = Vec::with_capacity(segment.series_count());
        let each = |_: &[u8], _, rows: std::ops::Range<u64>| last.push(rows.end - 1);
        segment.find_series(&SeriesFilter::All, Some(cache), each).ok()?;
        *rows = Some(last);
    }
    let page = read_last(segment, cache, column, rows.as_deref()?).ok()?;
    cache.put([(key, page.clone())]);
    Some(page)
}

fn read_last(
    segment: &Segment,
    cache: &PageCache,
    column: Option<usize>,
    rows: &[u64],
) -> Result<Page> {
    let (mut times, mut cells) = (Vec::new(), Vec::new());
    for same in rows.chunk_by(|a, b| segment.page_of(*a) == segment.page_of(*b)) {
        let page = segment.page_of(same[0]);
        let first = segment.page_rows(page).start;
        let places = same.iter().map(|row| (row - first) as usize);
        match (column, cache.get(segment.key(column, page))) {
            (None, Some(Page::Times(kept))) => {
                times.extend(places.flat_map(|at| kept.slice(at..at + 1)));
            }
            (None, _) => {
                let page = segment.read_times(page..page + 1)?;
                times.extend(places.map(|at| page[at]));
            }
            (Some(_), Some(Page::Cells(kept))) => {
                cells.extend(places.map(|at| kept.slice(at..at + 1)));
            }
            (Some(column), _) => {
                let page = segment.read_column(column, page..page + 1)?;
                cells.extend(places.map(|at| page.slice(at, 1)));
            }
        }
    }
    Ok(match column {
        None => Page::Times(Numbers::of(&times)),
        Some(column) => Page::Cells(Cells::of(&concat(segment.columns()[column].1, &cells))),
    })
}
