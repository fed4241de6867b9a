//! Rows that fit a table's schema: what is logged, held in memtables and replicated.

use crate::{ColumnId, ColumnValues, Cursor, SeriesKeys, TableId, TimeRange};
use arrow_array::{
    Array, UInt32Array,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_select::take::take;

/// Rows of one table and one tablet, by column id, with the types as written.
///
/// Rows stand in the order of their arrival: of two rows with one key the later one wins, column
/// by column (a null leaves the older value).
#[derive(Debug, Clone, PartialEq)]
pub struct RowBatch {
    /// The table.
    pub table: TableId,
    /// The schema version that the rows were checked against.
    pub schema_version: u32,
    /// The distinct series of the rows.
    pub series: SeriesKeys,
    /// For each row, the place of its series in `series`.
    pub row_series: Vec<u32>,
    /// For each row, its event time in ns since the Unix epoch.
    pub times: Vec<i64>,
    /// Field columns by ascending id, each as long as `times`.
    pub columns: Vec<(ColumnId, ColumnValues)>,
    /// Where the rows came from, if the source can be read again.
    pub cursor: Option<Cursor>,
}

impl RowBatch {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }

    /// The column with this id, if some row of the batch has it.
    pub fn column(&self, id: ColumnId) -> Option<&ColumnValues> {
        self.columns.binary_search_by_key(&id, |(id, _)| *id).ok().map(|at| &self.columns[at].1)
    }

    /// The smallest range that holds all times; `None` without rows.
    pub fn time_range(&self) -> Option<TimeRange> {
        let start = *self.times.iter().min()?;
        let last = *self.times.iter().max()?;
        Some(TimeRange::new(start, last.saturating_add(1)))
    }

    /// Bytes of memory that the batch holds, what its arrays take apart from their cells included:
    /// of a batch of one row that is nearly all.
    pub fn bytes(&self) -> usize {
        /// The batch itself, its lists and what the allocator adds.
        const BATCH_BYTES: usize = 512;
        /// An array, its shared buffers and their counts.
        const COLUMN_BYTES: usize = 256;
        BATCH_BYTES
            + self.columns.len() * COLUMN_BYTES
            + self.series.bytes_held()
            + self.row_series.capacity() * size_of::<u32>()
            + self.times.capacity() * size_of::<i64>()
            + self.columns.iter().map(|(_, values)| values.bytes()).sum::<usize>()
            + self.cursor.as_ref().map_or(0, |cursor| cursor.offsets.capacity() * size_of::<u64>())
    }

    /// The rows at these places, in this order, with the series and columns that they have.
    pub fn take(&self, rows: Vec<u32>) -> RowBatch {
        let at = |row: &u32| *row as usize;
        let (series, row_series) = taken_series(&self.series, &self.row_series, &rows);
        let times = rows.iter().map(|row| self.times[at(row)]).collect();
        let cursor = self.cursor.as_ref().map(|cursor| Cursor {
            source: cursor.source.clone(),
            offsets: rows.iter().map(|row| cursor.offsets[at(row)]).collect(),
        });
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().filter_map(|(id, values)| {
            let values = taken_values(values, &rows);
            (values.null_count() < values.len()).then_some((*id, values))
        });
        RowBatch {
            table: self.table,
            schema_version: self.schema_version,
            series,
            row_series,
            times,
            columns: columns.collect(),
            cursor,
        }
    }

    /// Checks what every reader of a batch relies on.
    ///
    /// # Errors
    /// Says which rule a decoded batch breaks.
    pub fn check(&self) -> Result<(), &'static str> {
        let rows = self.rows();
        if self.row_series.len() != rows {
            return Err("the series column is not as long as the time column");
        }
        if self.columns.iter().any(|(_, values)| values.len() != rows) {
            return Err("a field column is not as long as the time column");
        }
        if self.columns.windows(2).any(|pair| pair[0].0 >= pair[1].0) {
            return Err("field columns are not in ascending order of id");
        }
        if self.row_series.iter().any(|series| *series as usize >= self.series.len()) {
            return Err("a row names a series that the batch does not have");
        }
        if let Some(cursor) = &self.cursor {
            if cursor.offsets.len() != rows {
                return Err("the cursor is not as long as the time column");
            }
            if !cursor.offsets.is_sorted() {
                return Err("the offsets of a cursor do not ascend");
            }
        }
        Ok(())
    }
}

/// The series that some rows have, and for each of these rows its place among them.
pub(crate) fn taken_series(
    series: &SeriesKeys,
    row_series: &[u32],
    rows: &[u32],
) -> (SeriesKeys, Vec<u32>) {
    let mut numbers = vec![u32::MAX; series.len()];
    let mut taken = SeriesKeys::default();
    let places = rows.iter().map(|row| {
        let old = row_series[*row as usize] as usize;
        if numbers[old] == u32::MAX {
            let key = series.get(old);
            numbers[old] = taken.push_with(|bytes| bytes.extend_from_slice(key)) as u32;
        }
        numbers[old]
    });
    let places = places.collect();
    (taken, places)
}

/// The cells of these rows.
pub(crate) fn taken_values(values: &ColumnValues, rows: &UInt32Array) -> ColumnValues {
    let taken = take(values.as_array(), rows, None).expect("rows are those of the batch");
    like(values, &*taken)
}

fn like(values: &ColumnValues, array: &dyn Array) -> ColumnValues {
    match values {
        ColumnValues::Int(_) => ColumnValues::Int(array.as_primitive::<Int64Type>().clone()),
        ColumnValues::Float(_) => ColumnValues::Float(array.as_primitive::<Float64Type>().clone()),
        ColumnValues::Bool(_) => ColumnValues::Bool(array.as_boolean().clone()),
        ColumnValues::Text(_) => ColumnValues::Text(array.as_string::<i32>().clone()),
    }
}
