//! The rows of a memtable by series, and by time within one.

use super::{
    bounds::{BLOCK_BYTES, BLOCK_ROWS_MAX, CELL_BYTES, WHOLE_ROWS_MIN, WINDOW_BYTES},
    piece::Piece,
    plan::PlanSeries,
};
use crate::{
    gather::Picks,
    memtable::{Gather, MemoryView, rows_within},
};
use oribi_model::{
    Block, ColumnRead, ColumnValues, RowsWanted, Run, ScanSpec, SeriesKey, TimeRange,
};
use std::{ops::Range, sync::Arc};

/// Rows of one series at a time. A longer one is always cut there, whatever else is asked for, since
/// sums of floats depend on how rows are cut.
const PIECE_ROWS: usize = 8_192;

/// The rows of one series after the other, to be merged with those of other sources.
pub(super) struct MemoryCursor {
    view: Arc<MemoryView>,
    columns: Vec<ColumnRead>,
    time: TimeRange,
    rows_wanted: RowsWanted,
    times: Vec<i64>,
    cells: Vec<(u32, u32)>,
    ends: Option<Vec<u32>>,
    next: usize,
}

/// Rows that were found and not gathered yet.
struct Found {
    times: Vec<i64>,
    picks: Picks,
    text_bytes: usize,
}

impl MemoryCursor {
    pub(super) fn new(
        view: Arc<MemoryView>,
        spec: &ScanSpec,
        rows_wanted: RowsWanted,
    ) -> MemoryCursor {
        let (columns, time) = (spec.columns.clone(), spec.time);
        let (times, cells, ends, next) = (Vec::new(), Vec::new(), None, 0);
        MemoryCursor { view, columns, time, rows_wanted, times, cells, ends, next }
    }

    pub(super) fn open(&mut self, place: usize) {
        let series = &self.view.series[place];
        self.times.clear();
        self.cells.clear();
        self.next = 0;
        self.ends = None;
        let inside = |at: i64| self.time == TimeRange::ALL || self.time.contains(at);
        if series.in_order {
            // From the newest row back, so that none before the range is looked at.
            self.view.walk(series, |block, row, at| {
                if inside(at) {
                    self.times.push(at);
                    self.cells.push((block, row));
                }
                at > self.time.start
                    && (self.rows_wanted == RowsWanted::All || self.times.is_empty())
            });
            self.times.reverse();
            self.cells.reverse();
            return;
        }
        let mut rows = Vec::with_capacity(series.rows());
        self.view.walk(series, |block, row, at| {
            if inside(at) {
                rows.push((at, (block, row)));
            }
            true
        });
        // Stable, so that of rows with one time the newest stays first.
        rows.sort_by_key(|(at, _)| *at);
        let mut ends = Vec::new();
        for same in rows.chunk_by(|a, b| a.0 == b.0) {
            self.times.push(same[0].0);
            self.cells.extend(same.iter().map(|(_, cell)| *cell));
            ends.push(self.cells.len() as u32);
        }
        // Rows that only came late are one cell each, as others are.
        self.ends = (self.cells.len() > self.times.len()).then_some(ends);
    }

    pub(super) fn next(&mut self) -> Option<Piece> {
        let Found { times, picks, .. } = self.find()?;
        Some(Piece { columns: self.gather(&picks), times: times.into() })
    }

    /// The next rows of the series.
    fn find(&mut self) -> Option<Found> {
        let end = self.times.len().min(self.next + PIECE_ROWS);
        if self.next == end {
            return None;
        }
        let mut picks = self.picks(self.next..end);
        let (fit, text_bytes) = rows_within(&self.view.blocks, &self.columns, &picks, WINDOW_BYTES);
        if fit < picks.rows() {
            picks = self.picks(self.next..self.next + fit);
        }
        let times = self.times[self.next..self.next + fit].to_vec();
        self.next += fit;
        Some(Found { times, picks, text_bytes })
    }

    fn gather(&self, picks: &Picks) -> Vec<ColumnValues> {
        let gather = Gather::new(&self.view.blocks, picks);
        self.columns.iter().map(|read| gather.column(*read)).collect()
    }

    fn picks(&self, rows: Range<usize>) -> Picks {
        let Some(ends) = &self.ends else {
            return Picks { cells: self.cells[rows].to_vec(), ends: None };
        };
        let first = if rows.start == 0 { 0 } else { ends[rows.start - 1] };
        let cells = self.cells[first as usize..ends[rows.end - 1] as usize].to_vec();
        let ends = ends[rows].iter().map(|end| end - first).collect();
        Picks { cells, ends: Some(ends) }
    }
}

/// The rows of a memtable that is the only source: of many series at once, since what a series
/// has in each block is little.
pub(super) struct MemoryRows {
    cursor: MemoryCursor,
    plan: std::vec::IntoIter<PlanSeries>,
    series: Option<SeriesKey>,
    /// Rows of a block, at most.
    rows_max: usize,
}

impl MemoryRows {
    pub(super) fn new(cursor: MemoryCursor, plan: Vec<PlanSeries>) -> MemoryRows {
        let row_bytes = CELL_BYTES * (cursor.columns.len() + 1);
        let rows_max = (BLOCK_BYTES / row_bytes).clamp(PIECE_ROWS, BLOCK_ROWS_MAX);
        MemoryRows { cursor, plan: plan.into_iter(), series: None, rows_max }
    }
}

impl Iterator for MemoryRows {
    type Item = oribi_model::Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut runs: Vec<Run> = Vec::new();
        let picks = Picks { cells: Vec::new(), ends: None };
        let mut all = Found { times: Vec::new(), picks, text_bytes: 0 };
        while all.times.len() + PIECE_ROWS <= self.rows_max && all.text_bytes < WINDOW_BYTES {
            let Some(series) = &self.series else {
                let Some(next) = self.plan.next() else { break };
                next.places.iter().for_each(|place| self.cursor.open(place.series));
                self.series = Some(next.key);
                continue;
            };
            let Some(found) = self.cursor.find() else {
                self.series = None;
                continue;
            };
            let rows = found.times.len();
            match runs.last_mut() {
                Some(run) if run.series == *series => run.rows += rows,
                _ => runs.push(Run { series: series.clone(), rows }),
            }
            all.times.extend(found.times);
            all.picks.append(found.picks);
            all.text_bytes += found.text_bytes;
            if rows >= WHOLE_ROWS_MIN {
                break;
            }
        }
        if runs.is_empty() {
            return None;
        }
        let columns = self.cursor.gather(&all.picks);
        Some(Ok(Block { runs, times: all.times.into(), columns }))
    }
}
