//! A column of an answer, and what stands in its empty windows.

use crate::{plan::Fill, relation::time_type};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow_schema::DataType;
use std::sync::Arc;

/// Place at which there is no value.
pub(super) const NONE: u32 = u32::MAX;

/// Values of one column.
pub(super) struct Column {
    pub(super) values: Values,
    /// Counts stand at 0 in empty windows, whatever the fill.
    pub(super) counts: Counts,
}

#[derive(PartialEq)]
pub(super) enum Counts {
    Yes,
    No,
}

pub(super) enum Values {
    Int(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Bool(Vec<Option<bool>>),
    Text(Vec<Option<String>>),
    Time(Vec<Option<i64>>),
}

impl Column {
    /// Whether a cell has a value; a count of none is not one.
    pub(super) fn has_value(&self, at: usize) -> bool {
        match &self.values {
            Values::Int(values) if self.counts == Counts::Yes => {
                values[at].is_some_and(|count| count > 0)
            }
            Values::Int(values) | Values::Time(values) => values[at].is_some(),
            Values::Float(values) => values[at].is_some(),
            Values::Bool(values) => values[at].is_some(),
            Values::Text(values) => values[at].is_some(),
        }
    }

    /// Keeps the values at these places, in their order; there is none at [`NONE`].
    pub(super) fn pick(&mut self, places: &[u32]) {
        match &mut self.values {
            Values::Int(values) | Values::Time(values) => pick(values, places),
            Values::Float(values) => pick(values, places),
            Values::Bool(values) => pick(values, places),
            Values::Text(values) => pick(values, places),
        }
        if let (Values::Int(values), Counts::Yes) = (&mut self.values, &self.counts) {
            values.iter_mut().for_each(|count| *count = Some(count.unwrap_or(0)));
        }
    }

    /// Fills empty windows. Rows stand by window, then by group, of which there are `width`.
    pub(super) fn fill(&mut self, fill: Fill, width: usize, starts: &[i64]) {
        if self.counts == Counts::Yes {
            return;
        }
        match fill {
            Fill::None | Fill::Null => {}
            Fill::Previous => match &mut self.values {
                Values::Int(values) | Values::Time(values) => previous(values, width),
                Values::Float(values) => previous(values, width),
                Values::Bool(values) => previous(values, width),
                Values::Text(values) => previous(values, width),
            },
            Fill::Number(number) => self.fill_number(number),
            Fill::Linear => {
                self.widen();
                if let Values::Float(values) = &mut self.values {
                    linear(values, width, starts);
                }
            }
        }
    }

    fn widen(&mut self) {
        if let Values::Int(values) = &self.values {
            let floats = values.iter().map(|value| value.map(|value| value as f64)).collect();
            self.values = Values::Float(floats);
        }
    }

    fn fill_number(&mut self, number: f64) {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT_MAX {
            self.widen();
        }
        match &mut self.values {
            Values::Int(values) => {
                values.iter_mut().for_each(|value| *value = value.or(Some(number as i64)));
            }
            Values::Float(values) => {
                values.iter_mut().for_each(|value| *value = value.or(Some(number)));
            }
            _ => {}
        }
    }

    /// The type of its arrays.
    pub(super) fn data_type(&self) -> DataType {
        match &self.values {
            Values::Int(_) => DataType::Int64,
            Values::Float(_) => DataType::Float64,
            Values::Bool(_) => DataType::Boolean,
            Values::Text(_) => DataType::Utf8,
            Values::Time(_) => time_type(),
        }
    }

    /// The values of some rows, in their order.
    pub(super) fn array(&self, rows: &[u32]) -> ArrayRef {
        match &self.values {
            Values::Int(values) => {
                Arc::new(rows.iter().map(|at| values[*at as usize]).collect::<Int64Array>())
            }
            Values::Float(values) => {
                Arc::new(rows.iter().map(|at| values[*at as usize]).collect::<Float64Array>())
            }
            Values::Bool(values) => {
                Arc::new(rows.iter().map(|at| values[*at as usize]).collect::<BooleanArray>())
            }
            Values::Text(values) => Arc::new(
                rows.iter().map(|at| values[*at as usize].as_deref()).collect::<StringArray>(),
            ),
            Values::Time(values) => {
                let times: TimestampNanosecondArray =
                    rows.iter().map(|at| values[*at as usize]).collect();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

fn pick<T: Clone>(values: &mut Vec<Option<T>>, places: &[u32]) {
    let picked = places.iter().map(|at| match *at {
        NONE => None,
        at => values[at as usize].clone(),
    });
    *values = picked.collect();
}

fn previous<T: Clone>(values: &mut [Option<T>], width: usize) {
    for at in width..values.len() {
        if values[at].is_none() {
            values[at] = values[at - width].clone();
        }
    }
}

fn linear(values: &mut [Option<f64>], width: usize, starts: &[i64]) {
    for group in 0..width {
        let mut left: Option<(usize, f64)> = None;
        for right in (group..values.len()).step_by(width) {
            let Some(high) = values[right] else { continue };
            if let Some((left, low)) = left {
                let span = (starts[right] - starts[left]) as f64;
                for at in (left + width..right).step_by(width) {
                    let share = (starts[at] - starts[left]) as f64 / span;
                    values[at] = Some(low + (high - low) * share);
                }
            }
            left = Some((right, high));
        }
    }
}
