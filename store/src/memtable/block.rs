//! Rows of a memtable that lie together, column by column.

use super::cells::Cells;
use oribi_model::{ColumnId, RowBatch};

/// Rows of a block of small batches.
pub(super) const ROWS_MAX: usize = 16_384;
/// Bytes at which such a block is closed; bounds what a writer copies because of a reader.
const BYTES_MAX: usize = 512 << 10;

/// Some rows in the order of their arrival.
#[derive(Clone)]
pub(crate) struct Block {
    /// Number of its first row within the memtable.
    pub(super) first: u32,
    pub(super) times: Vec<i64>,
    /// For each row the number of the row before it of the same series.
    pub(super) before: Vec<u32>,
    /// By ascending id.
    pub(super) columns: Vec<(ColumnId, Cells)>,
    /// Bytes that the cells of all columns hold.
    cell_bytes: usize,
}

/// Whether most cells of a batch are null.
pub(super) fn is_sparse(batch: &RowBatch) -> bool {
    let nulls: usize = batch.columns.iter().map(|(_, values)| values.null_count()).sum();
    nulls > batch.rows() * batch.columns.len() / 2
}

impl Block {
    pub(super) fn starting_at(first: u32) -> Block {
        let (times, before, columns) = (Vec::new(), Vec::new(), Vec::new());
        Block { first, times, before, columns, cell_bytes: 0 }
    }

    /// A batch as it came.
    pub(super) fn whole(first: u32, batch: &RowBatch, before: Vec<u32>) -> Block {
        let columns = batch.columns.iter();
        let columns: Vec<_> =
            columns.map(|(id, values)| (*id, Cells::Array(values.clone()))).collect();
        let cell_bytes = columns.iter().map(|(_, cells)| cells.bytes()).sum();
        Block { first, times: batch.times.clone(), before, columns, cell_bytes }
    }

    pub(super) fn rows(&self) -> usize {
        self.times.len()
    }

    /// Whether the row of this number is one of the block's.
    pub(super) fn has(&self, number: u32) -> bool {
        number.checked_sub(self.first).is_some_and(|row| (row as usize) < self.rows())
    }

    pub(super) fn has_room_for(&self, batch: &RowBatch) -> bool {
        self.rows() + batch.rows() <= ROWS_MAX && self.bytes() < BYTES_MAX
    }

    pub(super) fn append(&mut self, batch: &RowBatch, before: &[u32]) {
        let row = self.rows() as u32;
        self.times.extend_from_slice(&batch.times);
        self.before.extend_from_slice(before);
        for (id, values) in &batch.columns {
            let at = match self.columns.binary_search_by_key(id, |(id, _)| *id) {
                Ok(at) => at,
                Err(at) => {
                    self.columns.insert(at, (*id, Cells::new(values.column_type(), row)));
                    at
                }
            };
            let cells = &mut self.columns[at].1;
            self.cell_bytes -= cells.bytes();
            cells.append(values, row);
            self.cell_bytes += cells.bytes();
        }
    }

    pub(super) fn shrink(&mut self) {
        self.times.shrink_to_fit();
        self.before.shrink_to_fit();
        self.columns.shrink_to_fit();
        self.columns.iter_mut().for_each(|(_, cells)| cells.shrink());
        self.cell_bytes = self.columns.iter().map(|(_, cells)| cells.bytes()).sum();
    }

    /// Bytes of memory held.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Block>()
            + self.times.capacity() * size_of::<i64>()
            + self.before.capacity() * size_of::<u32>()
            + self.columns.capacity() * size_of::<(ColumnId, Cells)>()
            + self.cell_bytes
    }
}
