//! The cells of one field under construction.

use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use oribi_model::{ColumnType, ColumnValues, Value, points::FieldColumn};

/// Null rows are made room for with a part of what there is, so that sparse fields hold little more
/// than is counted of them.
const SLACK_PART: usize = 8;

/// Cells of one type under construction. Rows between two cells are null.
#[derive(Debug, Default)]
struct Cells<T> {
    values: Vec<T>,
    /// One bit a row; built only once a null shows up.
    present: Option<Vec<bool>>,
}

impl<T: Default + Clone> Cells<T> {
    /// Puts `value` at `row`, after nulls for the rows since the last cell. A second value for
    /// one row replaces the first.
    #[inline]
    fn set(&mut self, row: usize, value: T) {
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
        let present = self.present.get_or_insert_with(|| vec![true; filled]);
        make_room(present, rows);
        present.resize(rows, false);
        make_room(&mut self.values, rows);
        self.values.resize(rows, T::default());
    }

    fn clear_last(&mut self, rows: usize) {
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

/// Makes room for so many rows and one that follows them.
fn make_room<T>(cells: &mut Vec<T>, rows: usize) {
    if cells.capacity() <= rows {
        cells.reserve_exact(rows + 1 + rows / SLACK_PART - cells.len());
    }
}

#[derive(Debug)]
enum ColumnCells {
    Int(Cells<i64>),
    Float(Cells<f64>),
    Bool(Cells<bool>),
    Text(Texts),
}

#[derive(Debug, Default)]
struct Texts {
    /// Ends of the texts in `bytes`; 0 where a row has none.
    ends: Cells<u32>,
    bytes: Vec<u8>,
    /// Where the text that was set last begins.
    last_start: usize,
}

impl Texts {
    #[inline]
    fn set(&mut self, row: usize, value: &str) {
        self.last_start = self.bytes.len();
        self.bytes.extend_from_slice(value.as_bytes());
        self.ends.set(row, self.bytes.len() as u32);
    }

    fn forget(&mut self, rows: usize) {
        // A row sets a text once, so that there is at most one to forget.
        if self.ends.values.len() > rows {
            self.bytes.truncate(self.last_start);
        }
        self.ends.clear_last(rows);
    }

    fn finish(self, rows: usize) -> ColumnValues {
        let (ends, nulls) = self.ends.finish(rows);
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
        ColumnValues::Text(StringArray::new(offsets, Buffer::from_vec(self.bytes), nulls))
    }
}

/// A field under construction.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) name: Box<str>,
    /// The row that last set it.
    pub(super) stamp: u32,
    /// Whether the name is written as it is wherever a backslash escapes `,`, `=` and blanks.
    pub(super) is_plain: bool,
    cells: ColumnCells,
    /// Cells of another type than the first one.
    odd: Vec<(u32, Value)>,
}

impl Column {
    pub(super) fn new(name: &str, column_type: ColumnType) -> Column {
        let cells = match column_type {
            ColumnType::Int => ColumnCells::Int(Cells::default()),
            ColumnType::Float => ColumnCells::Float(Cells::default()),
            ColumnType::Bool => ColumnCells::Bool(Cells::default()),
            ColumnType::Text => ColumnCells::Text(Texts::default()),
        };
        let is_plain = !name.contains(['\\', ',', '=', ' ']);
        Column { name: name.into(), stamp: 0, is_plain, cells, odd: Vec::new() }
    }

    #[inline]
    pub(super) fn set_int(&mut self, row: usize, value: i64) {
        match &mut self.cells {
            ColumnCells::Int(cells) => cells.set(row, value),
            _ => self.odd.push((row as u32, Value::Int(value))),
        }
    }

    #[inline]
    pub(super) fn set_float(&mut self, row: usize, value: f64) {
        match &mut self.cells {
            ColumnCells::Float(cells) => cells.set(row, value),
            _ => self.odd.push((row as u32, Value::Float(value))),
        }
    }

    #[inline]
    pub(super) fn set_bool(&mut self, row: usize, value: bool) {
        match &mut self.cells {
            ColumnCells::Bool(cells) => cells.set(row, value),
            _ => self.odd.push((row as u32, Value::Bool(value))),
        }
    }

    #[inline]
    pub(super) fn set_text(&mut self, row: usize, value: &str) {
        match &mut self.cells {
            ColumnCells::Text(texts) => texts.set(row, value),
            _ => self.odd.push((row as u32, Value::Text(value.to_owned()))),
        }
    }

    /// Forgets what was set after the first `rows` rows.
    pub(super) fn forget(&mut self, rows: usize) {
        match &mut self.cells {
            ColumnCells::Int(cells) => cells.clear_last(rows),
            ColumnCells::Float(cells) => cells.clear_last(rows),
            ColumnCells::Bool(cells) => cells.clear_last(rows),
            ColumnCells::Text(texts) => texts.forget(rows),
        }
        while self.odd.last().is_some_and(|(row, _)| *row as usize >= rows) {
            self.odd.pop();
        }
    }

    /// The cells of so many rows.
    pub(super) fn finish(self, rows: usize) -> FieldColumn {
        let values = match self.cells {
            ColumnCells::Int(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Int(Int64Array::new(values.into(), nulls))
            }
            ColumnCells::Float(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Float(Float64Array::new(values.into(), nulls))
            }
            ColumnCells::Bool(cells) => {
                let (values, nulls) = cells.finish(rows);
                ColumnValues::Bool(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            ColumnCells::Text(texts) => texts.finish(rows),
        };
        FieldColumn { name: self.name.into_string(), values, odd: self.odd }
    }
}
