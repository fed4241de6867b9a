//! The rows of one series in one source, piece by piece in order of time.

use super::{
    bounds::{CELL_BYTES, WINDOW_BYTES},
    last::LastCursor,
    memory::MemoryCursor,
    piece::Piece,
    plan::Place,
    window::Window,
};
use crate::{
    Result,
    page_cache::{Cells, Numbers, Page, PageCache},
    segment::{PAGE_ROWS, Segment},
};
use oribi_model::{ColumnRead, ColumnType, ColumnValues, RowsWanted, ScanSpec, TimeRange};
use std::{ops::Range, sync::Arc};

/// Pages that are read and decoded at once, at most.
const WINDOW_PAGES: usize = 8;

pub(super) enum Cursor {
    Segment(SegmentCursor),
    Last(LastCursor),
    Memory(MemoryCursor),
}

impl Cursor {
    /// Goes to a series.
    pub(super) fn open(&mut self, place: &Place) {
        match self {
            Cursor::Segment(cursor) => cursor.open(place),
            Cursor::Last(cursor) => cursor.open(place),
            Cursor::Memory(cursor) => cursor.open(place.series),
        }
    }

    /// The next rows; never empty.
    pub(super) fn next(&mut self) -> Result<Option<Piece>> {
        match self {
            Cursor::Segment(cursor) => cursor.next(),
            Cursor::Last(cursor) => Ok(cursor.next()),
            Cursor::Memory(cursor) => Ok(cursor.next()),
        }
    }
}

pub(super) struct SegmentCursor {
    segment: Arc<Segment>,
    cache: Option<Arc<PageCache>>,
    columns: Vec<(Option<usize>, ColumnRead)>,
    window_pages: usize,
    time: TimeRange,
    /// Pages to read.
    wanted: Vec<bool>,
    rows_wanted: RowsWanted,
    rows: Range<u64>,
    window: Option<(u64, Window)>,
}

impl SegmentCursor {
    pub(super) fn new(
        segment: Arc<Segment>,
        cache: Option<Arc<PageCache>>,
        spec: &ScanSpec,
        (wanted, rows_wanted): (Vec<bool>, RowsWanted),
    ) -> SegmentCursor {
        let stored = segment.columns();
        let place = |read: &ColumnRead| stored.iter().position(|(id, _)| *id == read.id);
        let columns: Vec<_> = spec.columns.iter().map(|read| (place(read), *read)).collect();
        let window_pages = window_pages(&segment, &columns);
        SegmentCursor {
            segment,
            cache,
            columns,
            window_pages,
            time: spec.time,
            wanted,
            rows_wanted,
            rows: 0..0,
            window: None,
        }
    }

    fn open(&mut self, place: &Place) {
        self.rows = place.at..place.at + place.rows;
        if self.rows_wanted == RowsWanted::Last {
            self.rows.start = self.rows.end - 1;
        }
    }

    fn next(&mut self) -> Result<Option<Piece>> {
        while self.rows.start < self.rows.end {
            let page = self.segment.page_of(self.rows.start);
            let page_rows = self.segment.page_rows(page);
            if !self.wanted[page] {
                self.rows.start = self.rows.end.min(page_rows.end);
                continue;
            }
            let (start, window) = match self.window.take() {
                Some((start, window))
                    if (start..start + window.rows() as u64).contains(&self.rows.start) =>
                {
                    (start, window)
                }
                _ => (page_rows.start, self.load(page)?),
            };
            let from = (self.rows.start - start) as usize;
            // Page by page, whether they were kept or are read now: sums of floats depend on how
            // rows are cut.
            let to = (self.rows.end.min(page_rows.end) - start) as usize;
            let piece = window.cut(from..to, self.time);
            self.rows.start = start + to as u64;
            self.window = Some((start, window));
            if piece.rows() > 0 {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    /// The page from the cache, or the wanted pages that follow without a gap and are not there.
    fn load(&self, page: usize) -> Result<Window> {
        if let Some(kept) = self.kept(page) {
            return Ok(kept);
        }
        let last = self.segment.rest_of_chunk(page).end.min(page + self.window_pages);
        let stops = |next: &usize| !self.wanted[*next] || self.kept(*next).is_some();
        let end = (page + 1..last).find(stops).unwrap_or(last);
        let times = self.segment.read_times(page..end)?;
        self.keep(None, page..end, |rows| Page::Times(Numbers::of(&times[rows])));
        let column = |(place, read): &(Option<usize>, ColumnRead)| match place {
            Some(place) => {
                let cells = self.segment.read_column(*place, page..end)?;
                self.keep(Some(*place), page..end, |rows| {
                    Page::Cells(Cells::of(&cells.slice(rows.start, rows.len())))
                });
                Ok(cells.read_as(read.column_type))
            }
            None => Ok(ColumnValues::nulls(read.column_type, times.len())),
        };
        let columns = self.columns.iter().map(column).collect::<Result<_>>()?;
        Ok(Window::Decoded(Piece { times, columns }))
    }

    /// The page, if the cache has every column of it.
    fn kept(&self, page: usize) -> Option<Window> {
        let cache = self.cache.as_ref()?;
        let Page::Times(times) = cache.get(self.segment.key(None, page))? else { return None };
        let column = |(place, read): &(Option<usize>, ColumnRead)| match place {
            Some(place) => match cache.get(self.segment.key(Some(*place), page))? {
                Page::Cells(cells) => Some((Some(cells), read.column_type)),
                Page::Times(_) | Page::Series(_) | Page::Digests(_) => None,
            },
            None => Some((None, read.column_type)),
        };
        let columns = self.columns.iter().map(column).collect::<Option<_>>()?;
        Some(Window::Kept(times, columns))
    }

    /// Keeps the pages of a column; `part` gives the cells of a page by their rows.
    fn keep(
        &self,
        column: Option<usize>,
        pages: Range<usize>,
        part: impl Fn(Range<usize>) -> Page,
    ) {
        let Some(cache) = &self.cache else { return };
        let first = self.segment.page_rows(pages.start).start;
        cache.put(pages.map(|page| {
            let rows = self.segment.page_rows(page);
            let rows = (rows.start - first) as usize..(rows.end - first) as usize;
            (self.segment.key(column, page), part(rows))
        }));
    }
}

/// How many pages of these columns may be decoded at once.
fn window_pages(segment: &Segment, columns: &[(Option<usize>, ColumnRead)]) -> usize {
    let is_text = |(_, read): &(_, ColumnRead)| read.column_type == ColumnType::Text;
    if !segment.bounds_text() && columns.iter().any(is_text) {
        return 1;
    }
    let page_bytes = PAGE_ROWS * CELL_BYTES * (columns.len() + 1);
    (WINDOW_BYTES / page_bytes).clamp(1, WINDOW_PAGES)
}
