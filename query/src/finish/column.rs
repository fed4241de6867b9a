//! A column of an answer, and what stands in its empty windows.

use crate::plan::Fill;
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use std::sync::Arc;

/// Values of one column with whether the window had values of its input.
pub(super) struct Column {
    pub(super) values: Values,
    pub(super) had: Vec<bool>,
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
    /// Fills empty windows. Rows stand by window, then by group, of which there are `width`.
    pub(super) fn fill(&mut self, fill: Fill, width: usize, starts: &[i64]) {
        if self.counts == Counts::Yes {
            return;
        }
        match fill {
            Fill::None | Fill::Null => {}
            Fill::Previous => match &mut self.values {
                Values::Int(values) | Values::Time(values) => previous(values, &self.had, width),
                Values::Float(values) => previous(values, &self.had, width),
                Values::Bool(values) => previous(values, &self.had, width),
                Values::Text(values) => previous(values, &self.had, width),
            },
            Fill::Number(number) => self.fill_number(number),
            Fill::Linear => {
                self.widen();
                if let Values::Float(values) = &mut self.values {
                    linear(values, &self.had, width, starts);
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
        let empty = self.had.iter().enumerate().filter(|(_, had)| !**had);
        match &mut self.values {
            Values::Int(values) => empty.for_each(|(at, _)| values[at] = Some(number as i64)),
            Values::Float(values) => empty.for_each(|(at, _)| values[at] = Some(number)),
            _ => {}
        }
    }

    /// The values of some rows, in their order.
    pub(super) fn array(self, rows: &[usize]) -> ArrayRef {
        match self.values {
            Values::Int(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<Int64Array>())
            }
            Values::Float(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<Float64Array>())
            }
            Values::Bool(values) => {
                Arc::new(rows.iter().map(|at| values[*at]).collect::<BooleanArray>())
            }
            Values::Text(values) => {
                Arc::new(rows.iter().map(|at| values[*at].as_deref()).collect::<StringArray>())
            }
            Values::Time(values) => {
                let times: TimestampNanosecondArray = rows.iter().map(|at| values[*at]).collect();
                Arc::new(times.with_timezone("UTC"))
            }
        }
    }
}

fn previous<T: Clone>(values: &mut [Option<T>], had: &[bool], width: usize) {
    for at in width..values.len() {
        if !had[at] {
            values[at] = values[at - width].clone();
        }
    }
}

fn linear(values: &mut [Option<f64>], had: &[bool], width: usize, starts: &[i64]) {
    for group in 0..width {
        let mut left: Option<usize> = None;
        for right in (group..values.len()).step_by(width) {
            let Some(high) = values[right].filter(|_| had[right]) else { continue };
            if let Some(left) = left {
                let low = values[left].unwrap_or(high);
                let span = (starts[right] - starts[left]) as f64;
                for at in (left + width..right).step_by(width).filter(|at| !had[*at]) {
                    let share = (starts[at] - starts[left]) as f64 / span;
                    values[at] = Some(low + (high - low) * share);
                }
            }
            left = Some(right);
        }
    }
}
