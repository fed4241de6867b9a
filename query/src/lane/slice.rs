//! What a lane takes in.

use super::moments::Moments;
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
    pub(super) fn dense(&self, mut each: impl FnMut(Range<usize>)) {
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

    /// Takes rows without nulls into the figures of a deviation.
    pub(super) fn spread(&self, cell: &mut Moments, rows: Range<usize>) -> usize {
        match self.column {
            Some(ColumnValues::Float(array)) => cell.add_floats(&array.values()[rows]),
            _ => cell.add_ints(&self.ints()[rows]),
        }
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
