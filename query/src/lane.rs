//! Accumulators: one lane keeps one running figure of one input for every slot.

mod counter;
mod edge;
mod moments;
mod slice;

pub(crate) use slice::Slice;

use crate::{
    exact::Exact,
    kernel,
    select::{Function, Input},
};
use counter::Counter;
use edge::{Edge, fold_edge, take_edge};
use moments::Moments;
use oribi_model::{ColumnType, Value};
use std::cmp::Ordering;

/// Which running figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// Values that are not null.
    Count,
    /// Their sum.
    Sum,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The earliest.
    First,
    /// The latest.
    Last,
    /// Moments for the standard deviation.
    Spread,
    /// All values.
    Values,
    /// Increases of one series.
    Counter,
}

impl LaneKind {
    /// The lanes that a function reads, besides the count that every input has.
    pub(crate) fn of(function: Function) -> Option<LaneKind> {
        Some(match function {
            Function::Count => return None,
            Function::Sum | Function::Mean => LaneKind::Sum,
            Function::Min => LaneKind::Min,
            Function::Max => LaneKind::Max,
            Function::First => LaneKind::First,
            Function::Last => LaneKind::Last,
            Function::Stddev => LaneKind::Spread,
            Function::Percentile(_) => LaneKind::Values,
            Function::Rate | Function::Delta => LaneKind::Counter,
        })
    }
}

/// An input and the figure kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneSpec {
    /// Of what.
    pub(crate) input: Input,
    /// Which figure.
    pub(crate) kind: LaneKind,
}

/// Cells of one lane, by slot.
#[derive(Debug)]
pub(crate) enum Lane {
    /// Of anything.
    Count(Vec<u64>),
    /// Of integers.
    SumInt(Vec<i128>),
    /// Of floats.
    SumFloat(Vec<Exact>),
    /// Least or greatest (`Ordering` of what replaces) of integers.
    BestInt(Ordering, Vec<i64>),
    /// Of floats.
    BestFloat(Ordering, Vec<f64>),
    /// Of text or booleans.
    BestOther(Ordering, Vec<Option<Value>>),
    /// Earliest (`Less`) or latest (`Greater`).
    Edge(Ordering, Vec<Option<Edge>>),
    /// See [`Moments`].
    Spread(Vec<Moments>),
    /// All values.
    Values(Vec<Vec<f64>>),
    /// Of integers.
    CounterInt(Vec<Option<Counter<i128>>>),
    /// Of floats.
    CounterFloat(Vec<Option<Counter<f64>>>),
}

impl Lane {
    /// A lane without slots.
    pub(crate) fn new(spec: LaneSpec) -> Lane {
        use ColumnType::{Float, Int};
        let column_type = match spec.input {
            Input::Field { column_type, .. } => column_type,
            Input::Rows | Input::Time => Int,
        };
        let order = match spec.kind {
            LaneKind::Min | LaneKind::First => Ordering::Less,
            _ => Ordering::Greater,
        };
        match (spec.kind, column_type) {
            (LaneKind::Count, _) => Lane::Count(Vec::new()),
            (LaneKind::Sum, Int) => Lane::SumInt(Vec::new()),
            (LaneKind::Sum, _) => Lane::SumFloat(Vec::new()),
            (LaneKind::Min | LaneKind::Max, Int) => Lane::BestInt(order, Vec::new()),
            (LaneKind::Min | LaneKind::Max, Float) => Lane::BestFloat(order, Vec::new()),
            (LaneKind::Min | LaneKind::Max, _) => Lane::BestOther(order, Vec::new()),
            (LaneKind::First | LaneKind::Last, _) => Lane::Edge(order, Vec::new()),
            (LaneKind::Spread, _) => Lane::Spread(Vec::new()),
            (LaneKind::Values, _) => Lane::Values(Vec::new()),
            (LaneKind::Counter, Int) => Lane::CounterInt(Vec::new()),
            (LaneKind::Counter, _) => Lane::CounterFloat(Vec::new()),
        }
    }

    /// Adds an empty slot and returns its bytes.
    pub(crate) fn push(&mut self) -> usize {
        match self {
            Lane::Count(cells) => push(cells, 0),
            Lane::SumInt(cells) => push(cells, 0),
            Lane::SumFloat(cells) => push(cells, Exact::default()),
            Lane::BestInt(Ordering::Less, cells) => push(cells, i64::MAX),
            Lane::BestInt(_, cells) => push(cells, i64::MIN),
            Lane::BestFloat(Ordering::Less, cells) => push(cells, f64::INFINITY),
            Lane::BestFloat(_, cells) => push(cells, f64::NEG_INFINITY),
            Lane::BestOther(_, cells) => push(cells, None),
            Lane::Edge(_, cells) => push(cells, None),
            Lane::Spread(cells) => push(cells, Moments::default()),
            Lane::Values(cells) => push(cells, Vec::new()),
            Lane::CounterInt(cells) => push(cells, None),
            Lane::CounterFloat(cells) => push(cells, None),
        }
    }

    /// Takes rows into a slot; returns the bytes that it now holds in addition.
    pub(crate) fn fold(&mut self, slot: usize, slice: &Slice<'_>) -> usize {
        let mut bytes = 0;
        match self {
            Lane::Count(cells) => slice.dense(|rows| cells[slot] += rows.len() as u64),
            Lane::SumInt(cells) => {
                slice.dense(|rows| cells[slot] += kernel::sum_int(&slice.ints()[rows]));
            }
            Lane::SumFloat(cells) => {
                let cell = &mut cells[slot];
                slice.dense(|rows| bytes += cell.add_all(&slice.floats()[rows]));
            }
            Lane::BestInt(order, cells) => {
                let cell = &mut cells[slot];
                slice.dense(|rows| *cell = best(*order, &slice.ints()[rows], *cell));
            }
            Lane::BestFloat(order, cells) => {
                let cell = &mut cells[slot];
                slice.dense(|rows| *cell = best(*order, &slice.floats()[rows], *cell));
            }
            Lane::BestOther(order, cells) => {
                for row in slice.rows.clone() {
                    take_best(*order, &mut cells[slot], slice.value(row));
                }
            }
            Lane::Edge(order, cells) => fold_edge(*order, &mut cells[slot], slice),
            Lane::Spread(cells) => {
                let cell = &mut cells[slot];
                slice.dense(|rows| bytes += slice.spread(cell, rows));
            }
            Lane::Values(cells) => {
                let cell = &mut cells[slot];
                let before = cell.capacity();
                slice.dense(|rows| cell.extend(rows.map(|row| slice.number(row))));
                bytes = (cell.capacity() - before) * size_of::<f64>();
            }
            Lane::CounterInt(cells) => slice.dense(|rows| {
                for row in rows {
                    let sample = (slice.times[row], i128::from(slice.ints()[row]));
                    bytes += Counter::take(&mut cells[slot], slice.part, sample);
                }
            }),
            Lane::CounterFloat(cells) => slice.dense(|rows| {
                for row in rows {
                    let sample = (slice.times[row], slice.floats()[row]);
                    bytes += Counter::take(&mut cells[slot], slice.part, sample);
                }
            }),
        }
        bytes
    }

    /// Merges slot `from` of a lane of the same kind into `slot`, in any order; returns the bytes
    /// that the slot now holds in addition.
    pub(crate) fn merge(&mut self, slot: usize, other: &mut Lane, from: usize) -> usize {
        match (self, other) {
            (Lane::Count(a), Lane::Count(b)) => a[slot] += b[from],
            (Lane::SumInt(a), Lane::SumInt(b)) => a[slot] += b[from],
            (Lane::SumFloat(a), Lane::SumFloat(b)) => return a[slot].merge(&b[from]),
            (Lane::BestInt(order, a), Lane::BestInt(_, b)) => {
                a[slot] = best(*order, &[b[from]], a[slot]);
            }
            (Lane::BestFloat(order, a), Lane::BestFloat(_, b)) => {
                a[slot] = best(*order, &[b[from]], a[slot]);
            }
            (Lane::BestOther(order, a), Lane::BestOther(_, b)) => {
                take_best(*order, &mut a[slot], b[from].take());
            }
            (Lane::Edge(order, a), Lane::Edge(_, b)) => {
                take_edge(*order, &mut a[slot], b[from].take());
            }
            (Lane::Spread(a), Lane::Spread(b)) => return a[slot].merge(&b[from]),
            (Lane::Values(a), Lane::Values(b)) => {
                let values = std::mem::take(&mut b[from]);
                if a[slot].is_empty() {
                    a[slot] = values;
                } else {
                    a[slot].extend(values);
                }
            }
            (Lane::CounterInt(a), Lane::CounterInt(b)) => {
                return Counter::join(&mut a[slot], b[from].take());
            }
            (Lane::CounterFloat(a), Lane::CounterFloat(b)) => {
                return Counter::join(&mut a[slot], b[from].take());
            }
            _ => unreachable!("lanes of one plan have the same kinds"),
        }
        0
    }

    /// Turns counters of single series into figures that sum over series.
    pub(crate) fn settle(&mut self) {
        match self {
            Lane::CounterInt(cells) => cells.iter_mut().flatten().for_each(Counter::settle),
            Lane::CounterFloat(cells) => cells.iter_mut().flatten().for_each(Counter::settle),
            _ => {}
        }
    }
}

fn push<T>(cells: &mut Vec<T>, cell: T) -> usize {
    cells.push(cell);
    size_of::<T>()
}

fn best<T: Copy + PartialOrd>(order: Ordering, values: &[T], seed: T) -> T {
    match order {
        Ordering::Less => kernel::best(values, seed, |a, b| a < b),
        _ => kernel::best(values, seed, |a, b| a > b),
    }
}

fn take_best(order: Ordering, cell: &mut Option<Value>, value: Option<Value>) {
    let Some(value) = value else { return };
    let replaces = match (&value, &*cell) {
        (_, None) => true,
        (Value::Text(new), Some(Value::Text(old))) => new.cmp(old) == order,
        (Value::Bool(new), Some(Value::Bool(old))) => new.cmp(old) == order,
        _ => false,
    };
    if replaces {
        *cell = Some(value);
    }
}
