//! The cells of one field under construction.

use super::FieldColumn;
use crate::{ColumnValues, Value};
use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};

/// Cells of one type under construction. Rows between two cells are null.
#[derive(Debug, Default)]
pub(super) struct Cells<T> {
    pub(super) values: Vec<T>,
    /// One bit a row; built only once a null shows up.
    present: Option<Vec<bool>>,
}

impl<T: Default + Clone> Cells<T> {
    /// Puts `value` at `row`, after nulls for the rows since the last cell. A second value for
    /// one row replaces the first.
    pub(super) fn set(&mut self, row: usize, value: T) {
        if row < self.values.len() {
            self.values[row] = value;
            if let Some(present) = &mut self.present {
                present[row] = true;
            }
            return;
        }
        self.pad(row);
        self.values.push(value);
        if let Some(present) = &mut self.present {
            present.push(true);
        }
    }

    fn pad(&mut self, rows: usize) {
        if self.values.len() >= rows {
            return;
        }
        let filled = self.values.len();
        self.present.get_or_insert_with(|| vec![true; filled]).resize(rows, false);
        self.values.resize(rows, T::default());
    }

    pub(super) fn clear_last(&mut self, rows: usize) {
        self.values.truncate(rows);
        if let Some(present) = &mut self.present {
            present.truncate(rows);
        }
    }

    fn finish(mut self, rows: usize) -> (Vec<T>, Option<NullBuffer>) {
        self.pad(rows);
        (self.values, self.present.map(NullBuffer::from))
    }
}

#[derive(Debug)]
pub(super) enum FieldCells {
    Int(Cells<i64>),
    Float(Cells<f64>),
    Bool(Cells<bool>),
    /// Ends of the texts in the shared buffer.
    Text(Cells<u32>, Vec<u8>),
}

#[derive(Debug)]
pub(super) struct FieldBuilder {
    pub(super) name: String,
    pub(super) cells: FieldCells,
    pub(super) odd: Vec<(u32, Value)>,
}

impl FieldBuilder {
    pub(super) fn finish(self, rows: usize) -> FieldColumn {
        let values = match self.cells {
            FieldCells::Int(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Int(Int64Array::new(values.into(), nulls))
            }
            FieldCells::Float(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Float(Float64Array::new(values.into(), nulls))
            }
            FieldCells::Bool(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Bool(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            FieldCells::Text(cells, bytes) => finish_text(cells, bytes, rows),
        };
        FieldColumn { name: self.name, values, odd: self.odd }
    }
}

fn finish_text(cells: Cells<u32>, bytes: Vec<u8>, rows: usize) -> ColumnValues {
    let (ends, nulls) = cells.finish(rows);
    let mut offsets = Vec::with_capacity(rows + 1);
    offsets.push(0i32);
    let mut last = 0i32;
    for (row, end) in ends.iter().enumerate() {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            last = i32::try_from(*end).expect("a batch's texts fit into 2 GiB");
        }
        offsets.push(last);
    }
    let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
    ColumnValues::Text(StringArray::new(offsets, Buffer::from_vec(bytes), nulls))
}
