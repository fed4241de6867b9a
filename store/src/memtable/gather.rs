//! Columns made of rows that lie in the blocks of a memtable.

use super::{
    block::Block,
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
use oribi_model::{ColumnId, ColumnRead, ColumnType, ColumnValues};
use std::sync::Arc;

/// Gathers columns of picked rows, (block, row) each.
pub(crate) struct Gather<'a> {
    blocks: &'a [Arc<Block>],
    picks: &'a Picks,
    /// The newest cell of each row: its row in the block, and the row of the result.
    newest: Vec<(u32, u32)>,
    /// Blocks, and where their part of `newest` ends.
    runs: Vec<(u32, u32)>,
}

impl<'a> Gather<'a> {
    /// Brings the picks of each block together, so that a block is looked at once for a column.
    pub(crate) fn new(blocks: &'a [Arc<Block>], picks: &'a Picks) -> Gather<'a> {
        let (mut newest, mut runs) = (vec![(0, 0); picks.rows()], Vec::new());
        let firsts = || (0..).zip(picks.of_rows().map(|cells| cells[0]));
        if picks.rows() < blocks.len() {
            // Not worth a look at every block.
            for (to, (block, row)) in firsts() {
                newest[to as usize] = (row, to);
                match runs.last_mut() {
                    Some((last, end)) if *last == block => *end = to + 1,
                    _ => runs.push((block, to + 1)),
                }
            }
            return Gather { blocks, picks, newest, runs };
        }
        let mut ends = vec![0; blocks.len()];
        firsts().for_each(|(_, (block, _))| ends[block as usize] += 1);
        let mut start = 0;
        for end in &mut ends {
            (start, *end) = (start + *end, start);
        }
        for (to, (block, row)) in firsts() {
            let end: &mut u32 = &mut ends[block as usize];
            newest[*end as usize] = (row, to);
            *end += 1;
        }
        runs.extend((0..).zip(ends));
        Gather { blocks, picks, newest, runs }
    }

    /// The picked cells as one column: of each row the newest cell that is not null.
    pub(crate) fn column(&self, read: ColumnRead) -> ColumnValues {
        count::cells(self.picks.cells.len());
        let mut column = Column { blocks: self.blocks, id: read.id, at: 0 };
        match read.column_type {
            ColumnType::Int => {
                ColumnValues::Int(self.numbers::<Int64Type>(column, Cells::plain_ints, Cells::int))
            }
            ColumnType::Float => {
                let (plain, cell) = (Cells::plain_floats, Cells::float);
                ColumnValues::Float(self.numbers::<Float64Type>(column, plain, cell))
            }
            ColumnType::Bool => {
                let mut out = BooleanBuilder::with_capacity(self.picks.rows());
                column.each(self.picks, Cells::bool, |value| out.append_option(value));
                ColumnValues::Bool(out.finish())
            }
            ColumnType::Text => {
                let mut bytes = 0;
                column.each(self.picks, Cells::text, |text| bytes += text.map_or(0, str::len));
                let mut out = StringBuilder::with_capacity(self.picks.rows(), bytes);
                column.each(self.picks, Cells::text, |text| out.append_option(text));
                ColumnValues::Text(out.finish())
            }
        }
    }

    fn numbers<T: ArrowPrimitiveType>(
        &self,
        mut column: Column<'a>,
        plain: impl Fn(&Cells) -> Option<Plain<'_, T::Native>>,
        cell: impl Fn(&Cells, u32) -> Option<T::Native>,
    ) -> PrimitiveArray<T> {
        let mut numbers = Numbers::of(self.picks.rows());
        for (block, newest) in self.runs() {
            let Some(cells) = column.of(block) else {
                newest.iter().for_each(|(_, to)| numbers.put(*to, None));
                continue;
            };
            let covers = |plain: &Plain<'_, _>| newest.iter().all(|(row, _)| plain.has(*row));
            match plain(cells).filter(covers) {
                Some(Plain { first, values, nulls: None }) => {
                    for (row, to) in newest {
                        numbers.values[*to as usize] = values[(row - first) as usize];
                    }
                }
                Some(plain) => {
                    newest.iter().for_each(|(row, to)| numbers.put(*to, plain.get(*row)));
                }
                None => newest.iter().for_each(|(row, to)| numbers.put(*to, cell(cells, *row))),
            }
        }
        if self.picks.ends.is_some() && numbers.has_nulls() {
            for (at, same) in self.picks.of_rows().enumerate() {
                if let [_, older @ ..] = same
                    && !older.is_empty()
                    && numbers.is_null(at)
                {
                    let older = older.iter();
                    let mut found = older.filter_map(|(block, row)| cell(column.of(*block)?, *row));
                    found.next().into_iter().for_each(|value| numbers.mend(at, value));
                }
            }
        }
        numbers.finish()
    }

    fn runs(&self) -> impl Iterator<Item = (u32, &[(u32, u32)])> {
        let mut start = 0;
        let runs = self.runs.iter().map(move |(block, end)| {
            let newest = &self.newest[start..*end as usize];
            start = *end as usize;
            (*block, newest)
        });
        runs.filter(|(_, newest)| !newest.is_empty())
    }
}

/// Numbers under construction, in any order.
struct Numbers<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// One bit a row, once one is null.
    valid: Option<BooleanBufferBuilder>,
}

impl<T: ArrowPrimitiveType> Numbers<T> {
    fn of(rows: usize) -> Numbers<T> {
        Numbers { values: vec![T::Native::default(); rows], valid: None }
    }

    #[inline]
    fn put(&mut self, at: u32, value: Option<T::Native>) {
        match value {
            Some(value) => self.values[at as usize] = value,
            None => {
                let rows = self.values.len();
                let all = || {
                    let mut valid = BooleanBufferBuilder::new(rows);
                    valid.append_n(rows, true);
                    valid
                };
                self.valid.get_or_insert_with(all).set_bit(at as usize, false);
            }
        }
    }

    fn has_nulls(&self) -> bool {
        self.valid.is_some()
    }

    fn is_null(&self, at: usize) -> bool {
        self.valid.as_ref().is_some_and(|valid| !valid.get_bit(at))
    }

    fn mend(&mut self, at: usize, value: T::Native) {
        self.values[at] = value;
        if let Some(valid) = &mut self.valid {
            valid.set_bit(at, true);
        }
    }

    fn finish(self) -> PrimitiveArray<T> {
        let nulls = self.valid.map(|mut valid| NullBuffer::new(valid.finish()));
        let nulls = nulls.filter(|nulls| nulls.null_count() > 0);
        PrimitiveArray::new(self.values.into(), nulls)
    }
}

/// How many of the picked rows, from the first on, have at most `bytes_max` bytes of text in these
/// columns together, at least one; and how many bytes these have.
pub(crate) fn rows_within(
    blocks: &[Arc<Block>],
    columns: &[ColumnRead],
    picks: &Picks,
    bytes_max: usize,
) -> (usize, usize) {
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
    if bytes.is_empty() {
        return (picks.rows(), 0);
    }
    let mut left = bytes_max;
    let fits = |bytes: &&usize| left.checked_sub(**bytes).inspect(|rest| left = *rest).is_some();
    let fit = bytes.iter().take_while(fits).count().max(1);
    (fit, bytes[..fit].iter().sum())
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
