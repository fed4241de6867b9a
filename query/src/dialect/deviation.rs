//! Deviations and variances in which no order of rows shows, as in window questions.

use crate::lane::{Moments, Whole};
use arrow_array::{
    Array, ArrayRef,
    cast::AsArray,
    types::{Float64Type, UInt64Type},
};
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    functions_aggregate::{
        stddev::{stddev_pop_udaf, stddev_udaf},
        variance::{var_pop_udaf, var_samp_udaf},
    },
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use std::sync::Arc;

/// What becomes of the sums in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Figure {
    Stddev(Whole),
    Variance(Whole),
}

/// DataFusion's functions of this name, with exact sums.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Deviation {
    inner: Arc<AggregateUDF>,
    figure: Figure,
}

impl Deviation {
    /// The functions as they are registered.
    pub(crate) fn functions() -> [Arc<AggregateUDF>; 4] {
        let each =
            |(inner, figure)| Arc::new(AggregateUDF::new_from_impl(Deviation { inner, figure }));
        [
            (stddev_udaf(), Figure::Stddev(Whole::Sample)),
            (stddev_pop_udaf(), Figure::Stddev(Whole::Population)),
            (var_samp_udaf(), Figure::Variance(Whole::Sample)),
            (var_pop_udaf(), Figure::Variance(Whole::Population)),
        ]
        .map(each)
    }
}

impl AggregateUDFImpl for Deviation {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return self.inner.accumulator(args);
        }
        Ok(Box::new(One { figure: self.figure, moments: Moments::default(), heap_bytes: 0 }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if args.is_distinct {
            return self.inner.state_fields(args);
        }
        let column = |part, of| Field::new(format!("{}[{part}]", args.name), of, false);
        Ok(vec![
            Arc::new(column("count", DataType::UInt64)),
            Arc::new(column("sum", DataType::Binary)),
            Arc::new(column("squares", DataType::Binary)),
        ])
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// The figure of one group.
#[derive(Debug)]
struct One {
    figure: Figure,
    moments: Moments,
    heap_bytes: usize,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let values = values[0].as_primitive::<Float64Type>();
        let moments = &mut self.moments;
        self.heap_bytes += match values.nulls() {
            None => moments.add_floats(values.values()),
            Some(nulls) => nulls
                .valid_slices()
                .map(|(start, end)| moments.add_floats(&values.values()[start..end]))
                .sum(),
        };
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Float64(match self.figure {
            Figure::Stddev(of) => self.moments.stddev(of),
            Figure::Variance(of) => self.moments.variance(of),
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.heap_bytes
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let (count, sum, squares) = self.moments.to_parts();
        let count = ScalarValue::UInt64(Some(count));
        Ok(vec![count, ScalarValue::Binary(Some(sum)), ScalarValue::Binary(Some(squares))])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [counts, sums, squares] = states else {
            return Err(DataFusionError::Internal("a state has three columns".into()));
        };
        let (sums, squares) = (sums.as_binary::<i32>(), squares.as_binary::<i32>());
        for row in 0..counts.len() {
            let count = counts.as_primitive::<UInt64Type>().value(row);
            let other = Moments::from_parts(count, sums.value(row), squares.value(row))
                .ok_or_else(|| DataFusionError::Internal("a state is no sum".into()))?;
            self.heap_bytes += self.moments.join(&other);
        }
        Ok(())
    }
}
