//! Values of one column of an answer.

use crate::{
    Error, Result,
    select::{Input, Item},
};
use oribi_model::{ColumnType, Value};

/// One value, or none, for each of some slots.
pub(crate) enum Values {
    /// Numbers of values or rows; there is always one.
    Count(Vec<i64>),
    /// Integers.
    Int(Vec<Option<i64>>),
    /// Floats.
    Float(Vec<Option<f64>>),
    /// Booleans.
    Bool(Vec<Option<bool>>),
    /// Texts.
    Text(Vec<Option<String>>),
    /// Times, ns since the Unix epoch.
    Time(Vec<Option<i64>>),
}

/// Which values are wanted.
pub(crate) struct Wanted<'a> {
    /// Of which item.
    pub(crate) item: &'a Item,
    /// Of which slots; `None` where the input has no value in it.
    pub(crate) slots: &'a [Option<usize>],
    /// How many values the input has there.
    pub(crate) counts: &'a [i64],
}

impl Wanted<'_> {
    /// What `of` makes of each slot.
    pub(super) fn each<T>(&self, mut of: impl FnMut(usize) -> Option<T>) -> Vec<Option<T>> {
        self.slots.iter().map(|slot| slot.and_then(&mut of)).collect()
    }

    /// The means of sums.
    pub(super) fn means(&self, sum: impl Fn(usize) -> f64) -> Values {
        let mean = |(slot, count): (&Option<usize>, &i64)| slot.map(|at| sum(at) / *count as f64);
        Values::Float(self.slots.iter().zip(self.counts).map(mean).collect())
    }

    /// Whole numbers, all of which must fit.
    pub(super) fn whole(&self, of: impl Fn(usize) -> Option<i128>) -> Result<Values> {
        let overflow = |_| Error::Overflow { column: self.item.name.clone() };
        let fit = |slot: &Option<usize>| {
            slot.and_then(&of).map(|sum| i64::try_from(sum).map_err(overflow)).transpose()
        };
        self.slots.iter().map(fit).collect::<Result<_>>().map(Values::Int)
    }

    /// Values of the input's own type.
    pub(super) fn typed<'v>(&self, of: impl Fn(usize) -> Option<&'v Value>) -> Values {
        macro_rules! gather {
            ($of:ident) => {
                self.each(|slot| match of(slot) {
                    Some(Value::$of(value)) => Some(value.clone()),
                    _ => None,
                })
            };
        }
        match self.item.input.column_type() {
            ColumnType::Int => Values::Int(gather!(Int)),
            ColumnType::Float => Values::Float(gather!(Float)),
            ColumnType::Bool => Values::Bool(gather!(Bool)),
            ColumnType::Text => Values::Text(gather!(Text)),
        }
    }
}

impl Values {
    /// Integers as what they are where the input is the event time.
    pub(crate) fn of_input(self, input: Input) -> Values {
        match (input, self) {
            (Input::Time, Values::Int(times)) => Values::Time(times),
            (_, values) => values,
        }
    }
}
