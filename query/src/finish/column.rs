//! A column of an answer, and what stands in its empty windows.

use super::cell::{Cell, NONE};
use crate::{
    Result,
    figures::Settled,
    lane::{LaneKind, Values, Wanted},
    plan::Plan,
    question::{Fill, Order},
    relation::time_type,
    select::Item,
};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray, TimestampNanosecondArray,
};
use arrow_schema::DataType;
use std::sync::Arc;

/// The values of one item by cell.
pub(super) struct Column(Values);

impl Column {
    /// The column that an item asks for; a cell of `found` has a value of some input, which need not
    /// be that of the item.
    pub(super) fn of(
        plan: &Plan,
        item: &Item,
        figures: &mut Settled,
        found: &[Cell],
    ) -> Result<Column> {
        let input = plan.input(item.input);
        let count = |cell: &Cell| figures.presence.count(input, cell.place as usize);
        let counts: Vec<i64> = found.iter().map(count).collect();
        let Some(kind) = LaneKind::of(item.function) else {
            return Ok(Column(Values::Count(counts)));
        };
        let slot = |(cell, count): (&Cell, &i64)| (*count > 0).then_some(cell.place as usize);
        let slots: Vec<Option<usize>> = found.iter().zip(&counts).map(slot).collect();
        let wanted = Wanted { item, slots: &slots, counts: &counts };
        let values = figures.lanes[plan.lane(item.input, kind)].values(&wanted)?;
        Ok(Column(values.of_input(item.input)))
    }

    /// Whether a cell has a value; a count of none is not one.
    pub(super) fn has_value(&self, at: usize) -> bool {
        match &self.0 {
            Values::Count(counts) => counts[at] > 0,
            Values::Int(values) | Values::Time(values) => values[at].is_some(),
            Values::Float(values) => values[at].is_some(),
            Values::Bool(values) => values[at].is_some(),
            Values::Text(values) => values[at].is_some(),
        }
    }

    /// Whether the windows that the limit wants are filled from the windows that are here. Rows stand
    /// by window, then by group, of which there are `width`; all windows at one end are here.
    pub(super) fn is_told(&self, plan: &Plan, width: usize) -> bool {
        let is_filled_from_far = match (&self.0, plan.fill, plan.order) {
            (Values::Count(_), ..) => false,
            (Values::Int(_) | Values::Float(_), Fill::Linear, _) => true,
            (_, Fill::Previous, Order::Descending) => true,
            _ => false,
        };
        let (Some(limit), true) = (plan.limit, is_filled_from_far && width > 0) else {
            return true;
        };
        let windows = self.len() / width;
        let last_wanted = limit.div_ceil(width).saturating_sub(1);
        let has_value = |nth: usize, group: usize| {
            let window = match plan.order {
                Order::Ascending => nth,
                Order::Descending => windows - 1 - nth,
            };
            self.has_value(window * width + group)
        };
        (0..width).all(|group| {
            let from_far = (last_wanted..windows).any(|nth| has_value(nth, group));
            let from_near = || (0..last_wanted.min(windows)).any(|nth| has_value(nth, group));
            // A line has two ends; without one of them there is none.
            from_far || (plan.fill == Fill::Linear && !from_near())
        })
    }

    fn len(&self) -> usize {
        match &self.0 {
            Values::Count(counts) => counts.len(),
            Values::Int(values) | Values::Time(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Bool(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Keeps the values at these places, in their order; there is none at [`NONE`].
    pub(super) fn pick(&mut self, places: &[u32]) {
        match &mut self.0 {
            Values::Count(counts) => {
                let count = |at: &u32| counts.get(*at as usize).copied().unwrap_or(0);
                *counts = places.iter().map(count).collect();
            }
            Values::Int(values) | Values::Time(values) => pick(values, places),
            Values::Float(values) => pick(values, places),
            Values::Bool(values) => pick(values, places),
            Values::Text(values) => pick(values, places),
        }
    }

    /// Fills empty windows, but for counts, which are 0 there. Rows stand by window, then by group,
    /// of which there are `width`.
    pub(super) fn fill(&mut self, fill: Fill, width: usize, cells: &[Cell]) {
        if matches!(self.0, Values::Count(_)) {
            return;
        }
        match fill {
            Fill::None | Fill::Null => {}
            Fill::Previous => match &mut self.0 {
                Values::Int(values) | Values::Time(values) => previous(values, width),
                Values::Float(values) => previous(values, width),
                Values::Bool(values) => previous(values, width),
                Values::Text(values) => previous(values, width),
                Values::Count(_) => {}
            },
            Fill::Number(number) => self.fill_number(number),
            Fill::Linear => {
                self.widen();
                if let Values::Float(values) = &mut self.0 {
                    linear(values, width, cells);
                }
            }
        }
    }

    fn widen(&mut self) {
        if let Values::Int(values) = &self.0 {
            let floats = values.iter().map(|value| value.map(|value| value as f64)).collect();
            self.0 = Values::Float(floats);
        }
    }

    fn fill_number(&mut self, number: f64) {
        const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
        if number.fract() != 0.0 || number.abs() > EXACT_MAX {
            self.widen();
        }
        match &mut self.0 {
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
        match &self.0 {
            Values::Count(_) | Values::Int(_) => DataType::Int64,
            Values::Float(_) => DataType::Float64,
            Values::Bool(_) => DataType::Boolean,
            Values::Text(_) => DataType::Utf8,
            Values::Time(_) => time_type(),
        }
    }

    /// The values of some rows, in their order.
    pub(super) fn array(&self, rows: &[u32]) -> ArrayRef {
        macro_rules! gather {
            ($values:ident, $array:ty) => {
                Arc::new(rows.iter().map(|at| $values[*at as usize]).collect::<$array>())
            };
        }
        match &self.0 {
            Values::Count(counts) => {
                Arc::new(Int64Array::from_iter_values(rows.iter().map(|at| counts[*at as usize])))
            }
            Values::Int(values) => gather!(values, Int64Array),
            Values::Float(values) => gather!(values, Float64Array),
            Values::Bool(values) => gather!(values, BooleanArray),
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

fn linear(values: &mut [Option<f64>], width: usize, cells: &[Cell]) {
    let start = |at: usize| cells[at].window.start;
    for group in 0..width {
        let mut left: Option<(usize, f64)> = None;
        for right in (group..values.len()).step_by(width) {
            let Some(high) = values[right] else { continue };
            if let Some((left, low)) = left {
                let span = (start(right) - start(left)) as f64;
                for at in (left + width..right).step_by(width) {
                    let share = (start(at) - start(left)) as f64 / span;
                    values[at] = Some(low + (high - low) * share);
                }
            }
            left = Some((right, high));
        }
    }
}
