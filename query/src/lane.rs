//! Lanes: one keeps one running figure of one input for every slot. Each kind is a file with what a
//! cell of it does; [`Cells`] makes a lane of that.

mod best;
mod cells;
mod counter;
mod edge;
mod kept;
mod moments;
mod running;
mod slice;
mod sum;
mod value;
mod values;

pub(crate) use moments::{Moments, Whole};
pub(crate) use running::Lane;
pub(crate) use slice::Slice;
pub(crate) use values::{Values, Wanted};

use crate::select::{Function, Input};
use best::{Best, BestOther};
use cells::Cells;
use counter::Counter;
use edge::Edge;
use kept::Kept;
use oribi_model::ColumnType;
use std::cmp::Ordering;
use sum::{SumFloat, SumInt};

/// Which running figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LaneKind {
    /// The sum.
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
    Kept,
    /// Increases of one series.
    Counter,
}

/// An input and the figure kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LaneSpec {
    /// Of what.
    pub(crate) input: Input,
    /// Which figure.
    pub(crate) kind: LaneKind,
}

impl LaneKind {
    /// The lane that a function reads; `None` for those that count.
    pub(crate) fn of(function: Function) -> Option<LaneKind> {
        Some(match function {
            Function::Count => return None,
            Function::Sum | Function::Mean => LaneKind::Sum,
            Function::Min => LaneKind::Min,
            Function::Max => LaneKind::Max,
            Function::First => LaneKind::First,
            Function::Last => LaneKind::Last,
            Function::Stddev => LaneKind::Spread,
            Function::Percentile(_) => LaneKind::Kept,
            Function::Rate | Function::Delta => LaneKind::Counter,
        })
    }
}

impl LaneSpec {
    /// The lane, without slots.
    pub(crate) fn lane(self) -> Box<dyn Lane> {
        use ColumnType::{Float, Int};
        let column_type = self.input.column_type();
        let (less, greater) = (Ordering::Less, Ordering::Greater);
        match (self.kind, column_type) {
            (LaneKind::Sum, Int) => Box::new(Cells::<SumInt>::new(())),
            (LaneKind::Sum, _) => Box::new(Cells::<SumFloat>::new(())),
            (LaneKind::Min, Int) => Box::new(Cells::<Best<i64>>::new(less)),
            (LaneKind::Max, Int) => Box::new(Cells::<Best<i64>>::new(greater)),
            (LaneKind::Min, Float) => Box::new(Cells::<Best<f64>>::new(less)),
            (LaneKind::Max, Float) => Box::new(Cells::<Best<f64>>::new(greater)),
            (LaneKind::Min, _) => Box::new(Cells::<BestOther>::new(less)),
            (LaneKind::Max, _) => Box::new(Cells::<BestOther>::new(greater)),
            (LaneKind::First, _) => Box::new(Cells::<Option<Edge>>::new(less)),
            (LaneKind::Last, _) => Box::new(Cells::<Option<Edge>>::new(greater)),
            (LaneKind::Spread, _) => Box::new(Cells::<Moments>::new(())),
            (LaneKind::Kept, _) => Box::new(Cells::<Kept>::new(())),
            (LaneKind::Counter, Int) => Box::new(Cells::<Option<Counter<i128>>>::new(())),
            (LaneKind::Counter, _) => Box::new(Cells::<Option<Counter<f64>>>::new(())),
        }
    }
}
