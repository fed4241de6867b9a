//! What a lane takes in.

use oribi_model::{ColumnValues, SeriesKey, Value};
use std::ops::Range;

/// Consecutive rows of one series in one window.
pub(crate) struct Slice<'a> {
    /// The column; `None` stands for rows and times.
    pub(crate) column: Option<&'a ColumnValues>,
    /// Times of the block.
    pub(crate) times: &'a [i64],
    /// Rows of the block.
    pub(crate) rows: Range<usize>,
    /// Whose rows.
    pub(crate) series: &'a SeriesKey,
    /// The part of the scan that they come from, within which no row of the series is left out.
    pub(crate) part: u32,
}

impl Slice<'_> {
    /// Calls `each` with maximal ranges of rows that are not null.
    pub(crate) fn dense(&self, mut each: impl FnMut(Range<usize>)) {
        let nulls = self.column.and_then(|column| column.as_array().nulls());
        match nulls {
            Some(nulls) if nulls.null_count() > 0 => {
                let part = nulls.slice(self.rows.start, self.rows.len());
                for (start, end) in part.valid_slices() {
                    each(self.rows.start + start..self.rows.start + end);
                }
            }
            _ => each(self.rows.clone()),
        }
    }

    pub(super) fn ints(&self) -> &[i64] {
        match self.column {
            Some(ColumnValues::Int(array)) => array.values(),
            _ => self.times,
        }
    }

    pub(super) fn floats(&self) -> &[f64] {
        match self.column {
            Some(ColumnValues::Float(array)) => array.values(),
            _ => &[],
        }
    }

    pub(super) fn value(&self, row: usize) -> Option<Value> {
        match self.column {
            Some(column) => column.get(row),
            None => Some(Value::Int(self.times[row])),
        }
    }

    /// Whether the column holds floats.
    pub(super) fn is_float(&self) -> bool {
        matches!(self.column, Some(ColumnValues::Float(_)))
    }

    /// The value as a float, of numeric columns.
    pub(super) fn number(&self, row: usize) -> f64 {
        match self.column {
            Some(ColumnValues::Float(array)) => array.value(row),
            Some(ColumnValues::Int(array)) => array.value(row) as f64,
            _ => self.times[row] as f64,
        }
    }
}
