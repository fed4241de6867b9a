//! Building columns out of cells that lie in several arrays.

use arrow_array::{
    Array, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray,
    builder::{BooleanBuilder, StringBuilder},
    types::{Float64Type, Int64Type},
};
use arrow_buffer::{BooleanBufferBuilder, NullBuffer};
use oribi_model::{ColumnType, ColumnValues};

/// Which cells make up each row of the result.
pub(crate) struct Picks {
    /// (array, row) pairs; those of one result row stand together, the newest first.
    pub(crate) cells: Vec<(u32, u32)>,
    /// Where each result row ends in `cells`; `None`: one cell a row.
    pub(crate) ends: Option<Vec<u32>>,
}

impl Picks {
    pub(crate) fn rows(&self) -> usize {
        self.ends.as_ref().map_or(self.cells.len(), Vec::len)
    }

    /// Adds the rows of others.
    pub(crate) fn append(&mut self, others: Picks) {
        let known = self.cells.len() as u32;
        if self.ends.is_some() || others.ends.is_some() {
            let rows = others.cells.len() as u32;
            let ends = self.ends.get_or_insert_with(|| (1..=known).collect());
            match others.ends {
                Some(others) => ends.extend(others.iter().map(|end| known + end)),
                None => ends.extend(known + 1..=known + rows),
            }
        }
        self.cells.extend(others.cells);
    }

    /// The cells of each result row.
    pub(crate) fn of_rows(&self) -> impl Iterator<Item = &[(u32, u32)]> {
        let mut start = 0;
        (0..self.rows()).map(move |row| {
            let end = self.ends.as_ref().map_or(row + 1, |ends| ends[row] as usize);
            let cells = &self.cells[start..end];
            start = end;
            cells
        })
    }

    /// Calls `emit` for each result row with its newest cell that is not null.
    fn each<'a, A: Array>(
        &self,
        arrays: &[Option<&'a A>],
        mut emit: impl FnMut(Option<(&'a A, usize)>),
    ) {
        let cell = |(array, row): (u32, u32)| {
            let array = arrays[array as usize]?;
            array.is_valid(row as usize).then_some((array, row as usize))
        };
        match &self.ends {
            None => self.cells.iter().for_each(|pick| emit(cell(*pick))),
            Some(ends) => {
                let mut start = 0;
                for end in ends {
                    let picks = &self.cells[start..*end as usize];
                    emit(picks.iter().find_map(|pick| cell(*pick)));
                    start = *end as usize;
                }
            }
        }
    }
}

/// The picked cells as one column. Arrays that are `None` hold nulls only; the others are of
/// type `column_type`.
pub(crate) fn gather(
    column_type: ColumnType,
    arrays: &[Option<ColumnValues>],
    picks: &Picks,
) -> ColumnValues {
    macro_rules! typed {
        ($kind:ident) => {
            arrays
                .iter()
                .map(|array| match array {
                    Some(ColumnValues::$kind(array)) => Some(array),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
    }
    match column_type {
        ColumnType::Int => ColumnValues::Int(primitive::<Int64Type>(&typed!(Int), picks)),
        ColumnType::Float => ColumnValues::Float(primitive::<Float64Type>(&typed!(Float), picks)),
        ColumnType::Bool => {
            let mut out = BooleanBuilder::with_capacity(picks.rows());
            picks.each(&typed!(Bool), |cell: Option<(&BooleanArray, usize)>| {
                out.append_option(cell.map(|(array, row)| array.value(row)));
            });
            ColumnValues::Bool(out.finish())
        }
        ColumnType::Text => {
            let arrays = typed!(Text);
            let mut bytes = 0;
            picks.each(&arrays, |cell: Option<(&StringArray, usize)>| {
                bytes += cell.map_or(0, |(array, row)| array.value_length(row) as usize);
            });
            let mut out = StringBuilder::with_capacity(picks.rows(), bytes);
            picks.each(&arrays, |cell: Option<(&StringArray, usize)>| {
                out.append_option(cell.map(|(array, row)| array.value(row)));
            });
            ColumnValues::Text(out.finish())
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    arrays: &[Option<&PrimitiveArray<T>>],
    picks: &Picks,
) -> PrimitiveArray<T> {
    let full = |array: &Option<&PrimitiveArray<T>>| array.is_some_and(|a| a.null_count() == 0);
    if picks.ends.is_none() && arrays.iter().all(full) {
        let slices: Vec<&[T::Native]> = arrays.iter().flatten().map(|a| &a.values()[..]).collect();
        let values: Vec<T::Native> =
            picks.cells.iter().map(|(a, row)| slices[*a as usize][*row as usize]).collect();
        return PrimitiveArray::new(values.into(), None);
    }
    let mut values = Vec::with_capacity(picks.rows());
    let mut valid = BooleanBufferBuilder::new(picks.rows());
    picks.each(arrays, |cell| {
        values.push(cell.map(|(array, row)| array.value(row)).unwrap_or_default());
        valid.append(cell.is_some());
    });
    let nulls = NullBuffer::new(valid.finish());
    PrimitiveArray::new(values.into(), Some(nulls).filter(|nulls| nulls.null_count() > 0))
}

/// The columns one after the other; all are of type `column_type`.
pub(crate) fn concat(column_type: ColumnType, parts: &[ColumnValues]) -> ColumnValues {
    if let [one] = parts {
        return one.clone();
    }
    macro_rules! numbers {
        ($kind:ident, $array:ty) => {{
            let mut values = Vec::with_capacity(parts.iter().map(ColumnValues::len).sum());
            for part in parts {
                if let ColumnValues::$kind(array) = part {
                    values.extend_from_slice(array.values());
                }
            }
            return ColumnValues::$kind(<$array>::new(values.into(), nulls_of(parts)));
        }};
    }
    match column_type {
        ColumnType::Int => numbers!(Int, arrow_array::Int64Array),
        ColumnType::Float => numbers!(Float, arrow_array::Float64Array),
        ColumnType::Bool | ColumnType::Text => {}
    }
    let cells = parts.iter().enumerate();
    let cells =
        cells.flat_map(|(at, part)| (0..part.len() as u32).map(move |row| (at as u32, row)));
    let picks = Picks { cells: cells.collect(), ends: None };
    gather(column_type, &parts.iter().cloned().map(Some).collect::<Vec<_>>(), &picks)
}

/// The nulls of parts that follow one another.
fn nulls_of(parts: &[ColumnValues]) -> Option<NullBuffer> {
    if parts.iter().all(|part| part.null_count() == 0) {
        return None;
    }
    let mut valid = BooleanBufferBuilder::new(parts.iter().map(ColumnValues::len).sum());
    for part in parts {
        match part.as_array().nulls() {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(part.len(), true),
        }
    }
    Some(NullBuffer::new(valid.finish()))
}
