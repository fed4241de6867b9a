//! Rows that fit a table's schema: what is logged, held in memtables and replicated.

use crate::{ColumnId, ColumnValues, SeriesKeys, TableId, TimeRange};

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

    /// Bytes of memory that the batch holds.
    pub fn bytes(&self) -> usize {
        self.series.bytes_held()
            + self.row_series.capacity() * size_of::<u32>()
            + self.times.capacity() * size_of::<i64>()
            + self.columns.iter().map(|(_, values)| values.bytes()).sum::<usize>()
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
        Ok(())
    }
}
