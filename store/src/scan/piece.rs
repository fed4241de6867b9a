//! Rows of one series.

use arrow_buffer::ScalarBuffer;
use oribi_model::{ColumnValues, TimeRange};
use std::ops::Range;

/// Rows of one series, by strictly ascending time.
#[derive(Clone)]
pub(super) struct Piece {
    pub(super) times: ScalarBuffer<i64>,
    pub(super) columns: Vec<ColumnValues>,
}

impl Piece {
    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    pub(super) fn slice(&self, start: usize, rows: usize) -> Piece {
        Piece {
            times: self.times.slice(start, rows),
            columns: self.columns.iter().map(|column| column.slice(start, rows)).collect(),
        }
    }

    pub(super) fn trim(self, time: TimeRange) -> Piece {
        let inside = inside(&self.times, time);
        if inside == (0..self.rows()) { self } else { self.slice(inside.start, inside.len()) }
    }
}

/// The places in ascending `times` that are in `time`.
fn inside(times: &[i64], time: TimeRange) -> Range<usize> {
    if time == TimeRange::ALL {
        return 0..times.len();
    }
    let start = times.partition_point(|at| *at < time.start);
    start..times.partition_point(|at| *at < time.end).max(start)
}
