//! The cells of one column in one block.

use arrow_array::{Array, ArrowPrimitiveType, PrimitiveArray};
use arrow_buffer::{ArrowNativeType, NullBuffer};
use oribi_model::{ColumnType, ColumnValues};

/// A column of a block.
#[derive(Clone)]
pub(super) enum Cells {
    /// As it came: a cell for each row.
    Array(ColumnValues),
    /// The cells that are not null, by ascending row.
    Present(Rows, Values),
}

/// The rows that cells belong to.
#[derive(Clone)]
pub(super) enum Rows {
    /// Consecutive ones from this one on.
    From(u32),
    Each(Vec<u16>),
}

#[derive(Clone)]
pub(super) enum Values {
    Int(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text { bytes: String, ends: Vec<u32> },
}

/// Numbers of consecutive rows as they lie in memory.
pub(super) struct Plain<'a, T> {
    /// The row of the first value.
    pub(super) first: u32,
    pub(super) values: &'a [T],
    /// Which of them are null, where some are.
    pub(super) nulls: Option<&'a NullBuffer>,
}

impl<'a, T: ArrowNativeType> Plain<'a, T> {
    fn of<A: ArrowPrimitiveType<Native = T>>(array: &'a PrimitiveArray<A>) -> Plain<'a, T> {
        let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
        Plain { first: 0, values: array.values(), nulls }
    }

    /// Whether a row is one of these.
    pub(super) fn has(&self, row: u32) -> bool {
        row.checked_sub(self.first).is_some_and(|at| (at as usize) < self.values.len())
    }

    /// The number of a row that is one of these.
    pub(super) fn get(&self, row: u32) -> Option<T> {
        let at = (row - self.first) as usize;
        self.nulls.is_none_or(|nulls| nulls.is_valid(at)).then(|| self.values[at])
    }
}

impl Cells {
    pub(super) fn new(column_type: ColumnType, row: u32) -> Cells {
        let values = match column_type {
            ColumnType::Int => Values::Int(Vec::new()),
            ColumnType::Float => Values::Float(Vec::new()),
            ColumnType::Bool => Values::Bool(Vec::new()),
            ColumnType::Text => Values::Text { bytes: String::new(), ends: Vec::new() },
        };
        Cells::Present(Rows::From(row), values)
    }

    /// Appends the cells of `array` that are not null; its first row is row `first`.
    ///
    /// # Panics
    /// If the types differ in any other way than by widening, which the catalog rules out.
    pub(super) fn append(&mut self, array: &ColumnValues, first: u32) {
        let Cells::Present(rows, values) = self else {
            unreachable!("only a block of small batches grows")
        };
        if let (Values::Int(ints), ColumnType::Float) = (&*values, array.column_type()) {
            *values = Values::Float(ints.iter().map(|value| *value as f64).collect());
        }
        rows.append(values.len(), array, first);
        values.append(array);
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Cells::Array(values) => values.bytes() + ARRAY_BYTES,
            Cells::Present(rows, values) => rows.bytes() + values.bytes(),
        }
    }

    pub(super) fn shrink(&mut self) {
        let Cells::Present(rows, values) = self else { return };
        if let Rows::Each(each) = rows {
            each.shrink_to_fit();
        }
        match values {
            Values::Int(values) => values.shrink_to_fit(),
            Values::Float(values) => values.shrink_to_fit(),
            Values::Bool(values) => values.shrink_to_fit(),
            Values::Text { bytes, ends } => {
                bytes.shrink_to_fit();
                ends.shrink_to_fit();
            }
        }
    }

    /// Integers of rows that follow one another.
    pub(super) fn plain_ints(&self) -> Option<Plain<'_, i64>> {
        match self {
            Cells::Array(ColumnValues::Int(array)) => Some(Plain::of(array)),
            Cells::Present(Rows::From(first), Values::Int(values)) => {
                Some(Plain { first: *first, values, nulls: None })
            }
            _ => None,
        }
    }

    /// As [`Cells::plain_ints`], for floats.
    pub(super) fn plain_floats(&self) -> Option<Plain<'_, f64>> {
        match self {
            Cells::Array(ColumnValues::Float(array)) => Some(Plain::of(array)),
            Cells::Present(Rows::From(first), Values::Float(values)) => {
                Some(Plain { first: *first, values, nulls: None })
            }
            _ => None,
        }
    }

    pub(super) fn int(&self, row: u32) -> Option<i64> {
        match (self, self.place(row)?) {
            (Cells::Array(ColumnValues::Int(array)), at) => Some(array.value(at)),
            (Cells::Present(_, Values::Int(values)), at) => Some(values[at]),
            _ => self.other(ColumnType::Int),
        }
    }

    pub(super) fn float(&self, row: u32) -> Option<f64> {
        match (self, self.place(row)?) {
            (Cells::Array(ColumnValues::Float(array)), at) => Some(array.value(at)),
            (Cells::Array(ColumnValues::Int(array)), at) => Some(array.value(at) as f64),
            (Cells::Present(_, Values::Float(values)), at) => Some(values[at]),
            (Cells::Present(_, Values::Int(values)), at) => Some(values[at] as f64),
            _ => self.other(ColumnType::Float),
        }
    }

    pub(super) fn bool(&self, row: u32) -> Option<bool> {
        match (self, self.place(row)?) {
            (Cells::Array(ColumnValues::Bool(array)), at) => Some(array.value(at)),
            (Cells::Present(_, Values::Bool(values)), at) => Some(values[at]),
            _ => self.other(ColumnType::Bool),
        }
    }

    pub(super) fn text(&self, row: u32) -> Option<&str> {
        match (self, self.place(row)?) {
            (Cells::Array(ColumnValues::Text(array)), at) => Some(array.value(at)),
            (Cells::Present(_, Values::Text { bytes, ends }), at) => {
                let start = if at == 0 { 0 } else { ends[at - 1] };
                Some(&bytes[start as usize..ends[at] as usize])
            }
            _ => self.other(ColumnType::Text),
        }
    }

    fn other<T>(&self, asked: ColumnType) -> T {
        panic!("a column changes type only by widening, but {asked} cells were asked for");
    }

    /// Where the cell of `row` stands among those that are there; `None` is null.
    fn place(&self, row: u32) -> Option<usize> {
        match self {
            Cells::Array(values) => (!values.is_null(row as usize)).then_some(row as usize),
            Cells::Present(rows, values) => match rows {
                Rows::From(first) => {
                    row.checked_sub(*first).map(|at| at as usize).filter(|at| *at < values.len())
                }
                Rows::Each(rows) => rows.binary_search(&(row as u16)).ok(),
            },
        }
    }
}

/// About what an Arrow array costs beside its cells: its head and that of each buffer.
const ARRAY_BYTES: usize = 160;

impl Rows {
    /// Adds the rows of cells that are not null; `known` is how many there are so far.
    fn append(&mut self, known: usize, array: &ColumnValues, first: u32) {
        if let Rows::From(start) = *self {
            let goes_on = known == 0 || start + known as u32 == first;
            if goes_on && array.null_count() == 0 {
                *self = Rows::From(if known == 0 { first } else { start });
                return;
            }
            *self = Rows::Each((start..).take(known).map(|row| row as u16).collect());
        }
        let Rows::Each(rows) = self else { return };
        match array.as_array().nulls() {
            Some(nulls) => {
                rows.extend(nulls.valid_indices().map(|at| (first as usize + at) as u16))
            }
            None => rows.extend((first..).take(array.len()).map(|row| row as u16)),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Rows::From(_) => 0,
            Rows::Each(rows) => rows.capacity() * size_of::<u16>(),
        }
    }
}

impl Values {
    fn len(&self) -> usize {
        match self {
            Values::Int(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Text { ends, .. } => ends.len(),
        }
    }

    fn append(&mut self, array: &ColumnValues) {
        let whole = array.null_count() == 0;
        match (self, array) {
            (Values::Int(values), ColumnValues::Int(array)) if whole => {
                values.extend_from_slice(array.values());
            }
            (Values::Float(values), ColumnValues::Float(array)) if whole => {
                values.extend_from_slice(array.values());
            }
            (Values::Int(values), ColumnValues::Int(array)) => {
                values.extend(array.iter().flatten())
            }
            (Values::Float(values), ColumnValues::Float(array)) => {
                values.extend(array.iter().flatten());
            }
            (Values::Float(values), ColumnValues::Int(array)) => {
                values.extend(array.iter().flatten().map(|value| value as f64));
            }
            (Values::Bool(values), ColumnValues::Bool(array)) => {
                values.extend(array.iter().flatten());
            }
            (Values::Text { bytes, ends }, ColumnValues::Text(array)) => {
                for text in array.iter().flatten() {
                    bytes.push_str(text);
                    ends.push(u32::try_from(bytes.len()).expect("a batch's texts fit into 2 GiB"));
                }
            }
            _ => panic!("a column changes type only by widening"),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Values::Int(values) => values.capacity() * size_of::<i64>(),
            Values::Float(values) => values.capacity() * size_of::<f64>(),
            Values::Bool(values) => values.capacity(),
            Values::Text { bytes, ends } => bytes.capacity() + ends.capacity() * size_of::<u32>(),
        }
    }
}
