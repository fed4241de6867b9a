//! What is selected: functions of fields, as asked and as bound to a table.

mod grammar;

pub(crate) use grammar::{parse_names, parse_select};

use crate::{Error, Result};
use oribi_model::{Column, ColumnKind, ColumnType, Schema, name::TIME_COLUMN};

/// An aggregate function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Function {
    /// Number of values.
    Count,
    /// Their sum.
    Sum,
    /// Their mean.
    Mean,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// Sample standard deviation.
    Stddev,
    /// Percentile, 0 to 1, interpolated linearly.
    Percentile(f64),
    /// Increase a second.
    Rate,
    /// Last less first.
    Delta,
}

/// What a function is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Input {
    /// Rows: `count(*)`.
    Rows,
    /// The event time.
    Time,
    /// A field, by its place among the columns of the scan.
    Field {
        /// Place in the scan.
        place: usize,
        /// Type of the field.
        column_type: ColumnType,
    },
}

impl Input {
    /// The type of its values.
    pub(crate) fn column_type(self) -> ColumnType {
        match self {
            Input::Field { column_type, .. } => column_type,
            Input::Rows | Input::Time => ColumnType::Int,
        }
    }
}

/// What a function is asked of, whatever table there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Rows.
    Rows,
    /// The event time.
    Time,
    /// What has this name: a field, or else the event time if it is its name.
    Named(String),
}

/// One column of the answer as asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selected {
    /// Its name.
    pub(crate) name: String,
    /// The function.
    pub(crate) function: Function,
    /// What it is applied to.
    pub(crate) operand: Operand,
    /// Where the operand ends in the text of `select`, bytes; `None` where there was no text.
    pub(crate) at: Option<usize>,
}

/// One column of the answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    /// Its name.
    pub(crate) name: String,
    /// The function.
    pub(crate) function: Function,
    /// What it is applied to.
    pub(crate) input: Input,
}

impl Selected {
    /// The column over a table; fields go to `fields` in order of first use.
    ///
    /// # Errors
    /// [`Error::UnknownColumn`], and [`Error::Parameter`] for a column that the function cannot take.
    pub(crate) fn bind(&self, schema: &Schema, fields: &mut Vec<Column>) -> Result<Item> {
        let input = match &self.operand {
            Operand::Rows => Input::Rows,
            Operand::Time => self.time()?,
            Operand::Named(name) if name == TIME_COLUMN && schema.column(name).is_none() => {
                self.time()?
            }
            Operand::Named(name) => self.field(name, schema, fields)?,
        };
        Ok(Item { name: self.name.clone(), function: self.function, input })
    }

    fn refuse(&self, reason: String) -> Error {
        match self.at {
            Some(at) => Error::parameter_at("select", at, format!("at byte {at}: {reason}")),
            None => Error::parameter("select", reason),
        }
    }

    /// Checks that the function takes times.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub(crate) fn time(&self) -> Result<Input> {
        use Function::{Count, First, Last, Max, Min};
        if matches!(self.function, Min | Max | First | Last | Count) {
            return Ok(Input::Time);
        }
        Err(self.refuse("`time` is for min, max, first, last and count only".into()))
    }

    fn field(&self, name: &str, schema: &Schema, fields: &mut Vec<Column>) -> Result<Input> {
        let columns = || schema.fields().map(|column| column.name.to_string()).collect();
        let column = schema.column(name).ok_or_else(|| Error::UnknownColumn {
            parameter: "select".into(),
            column: name.into(),
            columns: columns(),
        })?;
        if column.kind == ColumnKind::Tag {
            return Err(self.refuse(format!("{name:?} is a tag; expected a field")));
        }
        use Function::{Count, First, Last, Max, Min};
        let numeric = matches!(column.column_type, ColumnType::Int | ColumnType::Float);
        if !numeric && !matches!(self.function, Count | First | Last | Min | Max) {
            return Err(self.refuse(format!(
                "{name:?} holds {} values; expected a number here (count, first, last, min and \
                 max take any type)",
                column.column_type
            )));
        }
        let place = fields.iter().position(|field| field.id == column.id).unwrap_or_else(|| {
            fields.push(column.clone());
            fields.len() - 1
        });
        Ok(Input::Field { place, column_type: column.column_type })
    }
}
