//! Sums and means of floats in which no order of rows shows, as in window questions.

use crate::exact::Exact;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Float64Array, UInt64Array,
    cast::AsArray,
    types::{Float64Type, UInt64Type},
};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{Accumulator, EmitTo, GroupsAccumulator},
};
use std::sync::Arc;

/// What becomes of a sum in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Figure {
    /// The sum.
    Sum,
    /// The sum over the number of values.
    Mean,
}

impl Figure {
    fn of(self, sum: &Exact, count: u64) -> Option<f64> {
        let value = match self {
            Figure::Sum => sum.value(),
            Figure::Mean => sum.value() / count as f64,
        };
        (count > 0).then_some(value)
    }
}

/// Columns of a state: the sum as bytes, and how many values it has.
pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new(format!("{name}[sum]"), DataType::Binary, false)),
        Arc::new(Field::new(format!("{name}[count]"), DataType::UInt64, false)),
    ]
}

/// One sum.
#[derive(Debug)]
pub(super) struct One {
    figure: Figure,
    sum: Exact,
    count: u64,
    heap_bytes: usize,
}

impl One {
    pub(super) fn new(figure: Figure) -> One {
        One { figure, sum: Exact::default(), count: 0, heap_bytes: 0 }
    }
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        self.count += (values.len() - values.null_count()) as u64;
        self.heap_bytes += match values.nulls() {
            None => self.sum.add_all(values.values()),
            Some(nulls) => nulls
                .valid_slices()
                .map(|(start, end)| self.sum.add_all(&values.values()[start..end]))
                .sum(),
        };
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(self.figure.of(&self.sum, self.count)))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.heap_bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let sum = ScalarValue::Binary(Some(self.sum.to_bytes()));
        Ok(vec![sum, ScalarValue::UInt64(Some(self.count))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for row in 0..states[0].len() {
            let (sum, count) = state_at(states, row)?;
            self.heap_bytes += self.sum.merge(&sum);
            self.count += count;
        }
        Ok(())
    }
}

fn state_at(states: &[ArrayRef], row: usize) -> Result<(Exact, u64)> {
    let [sums, counts] = states else {
        return Err(DataFusionError::Internal("a state has two columns".into()));
    };
    let sum = Exact::from_bytes(sums.as_binary::<i32>().value(row))
        .ok_or_else(|| DataFusionError::Internal("a state is no sum".into()))?;
    Ok((sum, counts.as_primitive::<UInt64Type>().value(row)))
}

/// A sum for each group.
pub(super) struct Many {
    figure: Figure,
    sums: Vec<Exact>,
    counts: Vec<u64>,
    heap_bytes: usize,
}

impl Many {
    pub(super) fn new(figure: Figure) -> Many {
        Many { figure, sums: Vec::new(), counts: Vec::new(), heap_bytes: 0 }
    }

    fn resize(&mut self, groups: usize) {
        self.sums.resize_with(groups, Exact::default);
        self.counts.resize(groups, 0);
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let values = values[0].as_primitive::<Float64Type>();
        for (row, group) in group_indices.iter().enumerate() {
            let wanted = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            if wanted && values.is_valid(row) {
                self.heap_bytes += self.sums[*group].add(values.value(row));
                self.counts[*group] += 1;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let (sums, counts) =
            (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        let figure = |(sum, count): (&Exact, &u64)| self.figure.of(sum, *count);
        let figures: Float64Array = sums.iter().zip(&counts).map(figure).collect();
        Ok(Arc::new(figures))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let (sums, counts) =
            (emit_to.take_needed(&mut self.sums), emit_to.take_needed(&mut self.counts));
        let sums = BinaryArray::from_iter_values(sums.iter().map(Exact::to_bytes));
        Ok(vec![Arc::new(sums), Arc::new(UInt64Array::from(counts))])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        for (row, group) in group_indices.iter().enumerate() {
            let (sum, count) = state_at(values, row)?;
            self.heap_bytes += self.sums[*group].merge(&sum);
            self.counts[*group] += count;
        }
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let values = values[0].as_primitive::<Float64Type>();
        let (mut sums, mut counts) = (Vec::new(), Vec::new());
        for row in 0..values.len() {
            let wanted = opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
            let mut sum = Exact::default();
            if wanted && values.is_valid(row) {
                sum.add(values.value(row));
            }
            sums.push(sum.to_bytes());
            counts.push(u64::from(wanted && values.is_valid(row)));
        }
        let sums = BinaryArray::from_iter_values(sums);
        Ok(vec![Arc::new(sums), Arc::new(UInt64Array::from(counts))])
    }

    fn size(&self) -> usize {
        self.heap_bytes
            + self.sums.capacity() * size_of::<Exact>()
            + self.counts.capacity() * size_of::<u64>()
    }
}
