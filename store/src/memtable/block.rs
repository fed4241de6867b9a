//! Rows of a memtable that lie together, column by column.

use super::{
    cells::{Cells, Plain},
    count,
};
use crate::gather::Picks;
use arrow_array::{
    ArrowPrimitiveType, PrimitiveArray,
    builder::{BooleanBuilder, StringBuilder},
    types::{Float64Type, Int64Type},
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use oribi_model::{ColumnId, ColumnRead, ColumnType, ColumnValues, RowBatch};
use std::sync::Arc;

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
    columns: Vec<(ColumnId, Cells)>,
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

/// How many of the picked rows, from the first on, have at most `bytes_max` bytes of text in these
/// columns together; at least one.
pub(crate) fn rows_within(
    blocks: &[Arc<Block>],
    columns: &[ColumnRead],
    picks: &Picks,
    bytes_max: usize,
) -> usize {
    let mut bytes: Vec<usize> = Vec::new();
    for read in columns.iter().filter(|read| read.column_type == ColumnType::Text) {
        bytes.resize(picks.rows(), 0);
        let mut sums = bytes.iter_mut();
        Column { blocks, id: read.id, at: 0 }.each(picks, Cells::text, |text| {
            if let Some(sum) = sums.next() {
                *sum += text.map_or(0, str::len);
            }
        });
    }
    let mut left = bytes_max;
    let fits = |bytes: &&usize| left.checked_sub(**bytes).inspect(|rest| left = *rest).is_some();
    match bytes.iter().take_while(fits).count() {
        fit if fit == bytes.len() => picks.rows(),
        fit => fit.max(1),
    }
}

/// The picked cells, of (block, row), as one column.
pub(crate) fn gather(blocks: &[Arc<Block>], read: ColumnRead, picks: &Picks) -> ColumnValues {
    count::cells(picks.cells.len());
    let mut column = Column { blocks, id: read.id, at: 0 };
    match read.column_type {
        ColumnType::Int => {
            ColumnValues::Int(numbers::<Int64Type>(column, picks, Cells::plain_ints, Cells::int))
        }
        ColumnType::Float => ColumnValues::Float(numbers::<Float64Type>(
            column,
            picks,
            Cells::plain_floats,
            Cells::float,
        )),
        ColumnType::Bool => {
            let mut out = BooleanBuilder::with_capacity(picks.rows());
            column.each(picks, Cells::bool, |value| out.append_option(value));
            ColumnValues::Bool(out.finish())
        }
        ColumnType::Text => {
            let mut bytes = 0;
            column.each(picks, Cells::text, |text| bytes += text.map_or(0, str::len));
            let mut out = StringBuilder::with_capacity(picks.rows(), bytes);
            column.each(picks, Cells::text, |text| out.append_option(text));
            ColumnValues::Text(out.finish())
        }
    }
}

/// One column of all blocks.
struct Column<'a> {
    blocks: &'a [Arc<Block>],
    id: ColumnId,
    /// Where it stood in the block before, and mostly stands in the next.
    at: usize,
}

impl<'a> Column<'a> {
    fn of(&mut self, block: u32) -> Option<&'a Cells> {
        let columns = &self.blocks[block as usize].columns;
        if columns.get(self.at).is_none_or(|(id, _)| *id != self.id) {
            self.at = columns.binary_search_by_key(&self.id, |(id, _)| *id).ok()?;
        }
        Some(&columns[self.at].1)
    }

    /// Calls `emit` for each row with its newest cell that is not null.
    fn each<T>(
        &mut self,
        picks: &Picks,
        cell: impl Fn(&'a Cells, u32) -> Option<T>,
        mut emit: impl FnMut(Option<T>),
    ) {
        for same in picks.of_rows() {
            emit(same.iter().find_map(|(block, row)| cell(self.of(*block)?, *row)));
        }
    }
}

fn numbers<T: ArrowPrimitiveType>(
    mut column: Column<'_>,
    picks: &Picks,
    plain: impl Fn(&Cells) -> Option<Plain<'_, T::Native>>,
    cell: impl Fn(&Cells, u32) -> Option<T::Native>,
) -> PrimitiveArray<T> {
    let mut values: Vec<T::Native> = Vec::with_capacity(picks.rows());
    let mut valid = BooleanBufferBuilder::new(0);
    let mut put = |values: &mut Vec<T::Native>, value: Option<T::Native>| {
        if value.is_none() {
            valid.append_n(values.len() - valid.len(), true);
            valid.append(false);
        }
        values.push(value.unwrap_or_default());
    };
    if picks.ends.is_some() {
        column.each(picks, &cell, |value| put(&mut values, value));
    } else {
        for run in picks.cells.chunk_by(|a, b| a.0 == b.0) {
            let Some(cells) = column.of(run[0].0) else {
                run.iter().for_each(|_| put(&mut values, None));
                continue;
            };
            let covers = |plain: &Plain<'_, _>| run.iter().all(|(_, row)| plain.has(*row));
            match plain(cells).filter(covers) {
                Some(Plain { first, values: all, nulls: None }) => {
                    values.extend(run.iter().map(|(_, row)| all[(row - first) as usize]));
                }
                Some(plain) => {
                    run.iter().for_each(|(_, row)| put(&mut values, plain.get(*row)));
                }
                None => run.iter().for_each(|(_, row)| put(&mut values, cell(cells, *row))),
            }
        }
    }
    if valid.is_empty() {
        return PrimitiveArray::new(values.into(), None);
    }
    valid.append_n(values.len() - valid.len(), true);
    PrimitiveArray::new(values.into(), Some(NullBuffer::new(valid.finish())))
}
