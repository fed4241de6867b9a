//! What a scan yields: rows in series order, then in time order.

use crate::{ColumnValues, SeriesKey};
use arrow_buffer::ScalarBuffer;

/// Consecutive rows of one series within a [`Block`].
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The series.
    pub series: SeriesKey,
    /// How many rows.
    pub rows: usize,
}

/// Rows of one or several series. Each key occurs once in a scan; times of one series ascend
/// strictly within a block and from one block to the next.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// Whose rows these are, in the order of the rows; row counts add up to `times.len()`.
    pub runs: Vec<Run>,
    /// Event times, ns since the Unix epoch.
    pub times: ScalarBuffer<i64>,
    /// The columns that the scan asked for, in its order, each as long as `times`.
    pub columns: Vec<ColumnValues>,
}

impl Block {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// Each run with the half-open range of its rows.
    pub fn runs(&self) -> impl Iterator<Item = (&SeriesKey, std::ops::Range<usize>)> {
        let mut start = 0;
        self.runs.iter().map(move |run| {
            let rows = start..start + run.rows;
            start = rows.end;
            (&run.series, rows)
        })
    }
}
