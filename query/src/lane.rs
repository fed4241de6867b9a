//! Accumulators: one lane keeps one running figure of one input for every slot.

use crate::{
    kernel,
    select::{Function, Input},
};
use oribi_model::{ColumnType, ColumnValues, SeriesKey, Value};
use std::{cmp::Ordering, ops::Range};

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

/// The first or last value so far.
#[derive(Debug, Clone)]
pub(crate) struct Edge {
    /// Its time.
    pub(crate) time: i64,
    /// Its series, which decides ties.
    pub(crate) series: SeriesKey,
    /// The value.
    pub(crate) value: Value,
}

/// Running mean and squared deviations.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Moments {
    /// Number of values.
    pub(crate) count: u64,
    mean: f64,
    squares: f64,
}

/// A counter: of one series until [`Lane::settle`], then sums over series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter<T> {
    first: (i64, T),
    last: (i64, T),
    increase: T,
    /// Last less first, summed over series of two samples or more.
    pub(crate) delta: T,
    /// Increase a second, summed likewise.
    pub(crate) rate: f64,
    /// Whether some series had two samples.
    pub(crate) known: Known,
}

/// Whether a figure has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Known {
    /// One series, whose samples still come in.
    Open,
    /// It has none.
    No,
    /// It has.
    Yes,
}

/// Cells of one lane, by slot.
#[derive(Debug)]
pub(crate) enum Lane {
    /// Of anything.
    Count(Vec<u64>),
    /// Of integers.
    SumInt(Vec<i128>),
    /// Of floats.
    SumFloat(Vec<f64>),
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

/// Consecutive rows of one series in one window.
pub(crate) struct Slice<'a> {
    /// The column; `None` stands for rows and times.
    pub(crate) column: Option<&'a ColumnValues>,
    /// Times of the block.
    pub(crate) times: &'a [i64],
    /// Rows of the block.
    pub(crate) rows: Range<usize>,
    /// Whose rows.
    pub(crate) series: &'a SeriesKey,
}

impl Slice<'_> {
    /// Calls `each` with maximal ranges of rows that are not null.
    fn dense(&self, mut each: impl FnMut(Range<usize>)) {
        let nulls = self.column.and_then(|column| column.as_array().nulls());
        match nulls {
            Some(nulls) if nulls.null_count() > 0 => {
                let part = nulls.slice(self.rows.start, self.rows.len());
                for (start, end) in part.valid_slices() {
                    each(self.rows.start + start..self.rows.start + end);
                }
            }
            _ => each(self.rows.clone()),
        }
    }

    fn ints(&self) -> &[i64] {
        match self.column {
            Some(ColumnValues::Int(array)) => array.values(),
            _ => self.times,
        }
    }

    fn floats(&self) -> &[f64] {
        match self.column {
            Some(ColumnValues::Float(array)) => array.values(),
            _ => &[],
        }
    }

    fn value(&self, row: usize) -> Option<Value> {
        match self.column {
            Some(column) => column.get(row),
            None => Some(Value::Int(self.times[row])),
        }
    }

    /// The value as a float, of numeric columns.
    fn number(&self, row: usize) -> f64 {
        match self.column {
            Some(ColumnValues::Float(array)) => array.value(row),
            Some(ColumnValues::Int(array)) => array.value(row) as f64,
            _ => self.times[row] as f64,
        }
    }
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
            Lane::SumFloat(cells) => push(cells, 0.0),
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
                slice.dense(|rows| cells[slot] += kernel::sum_float(&slice.floats()[rows]));
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
            Lane::Spread(cells) => slice.dense(|rows| {
                cells[slot].add(&Moments::of(rows.clone().map(|row| slice.number(row))));
            }),
            Lane::Values(cells) => {
                let cell = &mut cells[slot];
                let before = cell.capacity();
                slice.dense(|rows| cell.extend(rows.map(|row| slice.number(row))));
                bytes = (cell.capacity() - before) * size_of::<f64>();
            }
            Lane::CounterInt(cells) => slice.dense(|rows| {
                for row in rows {
                    let sample = (slice.times[row], i128::from(slice.ints()[row]));
                    Counter::take(&mut cells[slot], sample);
                }
            }),
            Lane::CounterFloat(cells) => slice.dense(|rows| {
                for row in rows {
                    Counter::take(&mut cells[slot], (slice.times[row], slice.floats()[row]));
                }
            }),
        }
        bytes
    }

    /// Merges slot `from` of a lane of the same kind into `slot`.
    pub(crate) fn merge(&mut self, slot: usize, other: &mut Lane, from: usize) {
        match (self, other) {
            (Lane::Count(a), Lane::Count(b)) => a[slot] += b[from],
            (Lane::SumInt(a), Lane::SumInt(b)) => a[slot] += b[from],
            (Lane::SumFloat(a), Lane::SumFloat(b)) => a[slot] += b[from],
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
            (Lane::Spread(a), Lane::Spread(b)) => a[slot].add(&b[from]),
            (Lane::Values(a), Lane::Values(b)) => {
                let values = std::mem::take(&mut b[from]);
                if a[slot].is_empty() {
                    a[slot] = values;
                } else {
                    a[slot].extend(values);
                }
            }
            (Lane::CounterInt(a), Lane::CounterInt(b)) => Counter::join(&mut a[slot], b[from]),
            (Lane::CounterFloat(a), Lane::CounterFloat(b)) => Counter::join(&mut a[slot], b[from]),
            _ => unreachable!("lanes of one plan have the same kinds"),
        }
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

fn fold_edge(order: Ordering, cell: &mut Option<Edge>, slice: &Slice<'_>) {
    let valid = |row: &usize| slice.column.is_none_or(|column| !column.is_null(*row));
    let row = match order {
        Ordering::Less => slice.rows.clone().find(valid),
        _ => slice.rows.clone().rev().find(valid),
    };
    let Some(row) = row else { return };
    let time = slice.times[row];
    if let Some(held) = cell {
        let place = (time, slice.series).cmp(&(held.time, &held.series));
        if place != order {
            return;
        }
    }
    let Some(value) = slice.value(row) else { return };
    *cell = Some(Edge { time, series: slice.series.clone(), value });
}

fn take_edge(order: Ordering, cell: &mut Option<Edge>, edge: Option<Edge>) {
    let Some(edge) = edge else { return };
    let replaces = cell
        .as_ref()
        .is_none_or(|held| (edge.time, &edge.series).cmp(&(held.time, &held.series)) == order);
    if replaces {
        *cell = Some(edge);
    }
}

impl Moments {
    fn of(values: impl Iterator<Item = f64> + Clone) -> Moments {
        let count = values.clone().count();
        let mean = values.clone().sum::<f64>() / count as f64;
        let squares = values.map(|value| (value - mean) * (value - mean)).sum();
        Moments { count: count as u64, mean, squares }
    }

    fn add(&mut self, other: &Moments) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean += apart * b / (a + b);
        self.squares += other.squares + apart * apart * a * b / (a + b);
    }

    /// Sample standard deviation; `None` below two values.
    pub(crate) fn stddev(&self) -> Option<f64> {
        (self.count > 1).then(|| (self.squares / (self.count - 1) as f64).sqrt())
    }
}

/// A number that counters count in.
pub(crate) trait Number:
    Copy + PartialOrd + std::ops::Sub<Output = Self> + std::ops::Add<Output = Self> + Default
{
    /// As a float.
    fn float(self) -> f64;
}

impl Number for i128 {
    fn float(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn float(self) -> f64 {
        self
    }
}

impl<T: Number> Counter<T> {
    fn one(sample: (i64, T)) -> Counter<T> {
        let zero = T::default();
        let known = Known::Open;
        Counter { first: sample, last: sample, increase: zero, delta: zero, rate: 0.0, known }
    }

    fn take(cell: &mut Option<Counter<T>>, sample: (i64, T)) {
        match cell {
            None => *cell = Some(Counter::one(sample)),
            Some(held) => {
                held.increase = held.increase + rise(held.last.1, sample.1);
                held.last = sample;
            }
        }
    }

    fn join(cell: &mut Option<Counter<T>>, other: Option<Counter<T>>) {
        let Some(other) = other else { return };
        let Some(held) = cell else {
            *cell = Some(other);
            return;
        };
        if held.known != Known::Open {
            held.delta = held.delta + other.delta;
            held.rate += other.rate;
            if other.known == Known::Yes {
                held.known = Known::Yes;
            }
            return;
        }
        let (early, late) =
            if held.first.0 <= other.first.0 { (*held, other) } else { (other, *held) };
        let increase = early.increase + late.increase + rise(early.last.1, late.first.1);
        *held = Counter { last: late.last, increase, ..early };
    }

    fn settle(&mut self) {
        self.known = Known::No;
        if self.first.0 < self.last.0 {
            let seconds = (i128::from(self.last.0) - i128::from(self.first.0)) as f64 / 1e9;
            self.delta = self.last.1 - self.first.1;
            self.rate = self.increase.float() / seconds;
            self.known = Known::Yes;
        }
    }
}

/// How much a counter rose; after a fall it began anew at zero.
fn rise<T: Number>(from: T, to: T) -> T {
    if to >= from { to - from } else { to }
}
