//! `sum` that tells when integers do not fit, instead of wrapping around; and with `avg` one in which
//! no order of floats shows.

use super::float_sum::{self, Figure};
use crate::Error;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, cast::AsArray, types::Int64Type,
};
use arrow_cast::CastOptions;
use arrow_schema::{DataType, Field, FieldRef};
use datafusion::{
    common::{DataFusionError, Result, ScalarValue, not_impl_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, EmitTo, GroupsAccumulator, ReversedUDAF,
        Signature,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::AggregateOrderSensitivity,
    },
};
use std::sync::Arc;

/// DataFusion's `sum`, whose integers are summed in 128 bits, and decimals in 256.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    inner: Arc<AggregateUDF>,
    figure: Figure,
}

impl CheckedSum {
    /// The functions as they are registered.
    pub(crate) fn functions() -> [Arc<AggregateUDF>; 2] {
        use datafusion::functions_aggregate::{average::avg_udaf, sum::sum_udaf};
        let each =
            |(inner, figure)| Arc::new(AggregateUDF::new_from_impl(CheckedSum { inner, figure }));
        [(sum_udaf(), Figure::Sum), (avg_udaf(), Figure::Mean)].map(each)
    }

    /// The type in which numbers of this one are summed; it holds more of them than can be stored.
    /// `None`: DataFusion sums them.
    fn wide_type(&self, of: &DataType) -> Option<DataType> {
        match of {
            _ if self.figure == Figure::Mean => None,
            DataType::Int64 | DataType::UInt64 => Some(DataType::Decimal128(38, 0)),
            DataType::Decimal128(_, scale) => Some(DataType::Decimal256(76, *scale)),
            _ => None,
        }
    }
}

/// Whether floats are summed, each as often as it occurs.
fn is_of_floats(args: &AccumulatorArgs<'_>) -> bool {
    let floats = args.expr_fields.iter().all(|field| *field.data_type() == DataType::Float64);
    floats && *args.return_field.data_type() == DataType::Float64 && !args.is_distinct
}

/// Calls `make` with arguments that say the type is `wide`.
fn widened<T>(
    args: AccumulatorArgs<'_>,
    wide: &DataType,
    make: impl FnOnce(AccumulatorArgs<'_>) -> T,
) -> T {
    let field = |of: &FieldRef| Arc::new(Field::new(of.name(), wide.clone(), true));
    let fields: Vec<FieldRef> = args.expr_fields.iter().map(field).collect();
    let return_field = field(&args.return_field);
    make(AccumulatorArgs { return_field, expr_fields: &fields, ..args })
}

impl AggregateUDFImpl for CheckedSum {
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

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        if is_of_floats(&args) {
            return Ok(Box::new(float_sum::One::new(self.figure)));
        }
        let of = args.return_field.data_type().clone();
        let Some(wide) = self.wide_type(&of) else { return self.inner.accumulator(args) };
        let inner = widened(args, &wide, |args| self.inner.accumulator(args))?;
        Ok(Box::new(Narrow { inner, of, wide }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let float = |field: &FieldRef| *field.data_type() == DataType::Float64;
        if args.input_fields.iter().all(float) && float(&args.return_field) && !args.is_distinct {
            return Ok(float_sum::state_fields(args.name));
        }
        let Some(wide) = self.wide_type(args.return_field.data_type()) else {
            return self.inner.state_fields(args);
        };
        let return_field = Arc::new(Field::new(args.return_field.name(), wide, true));
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        if is_of_floats(&args) {
            return true;
        }
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if is_of_floats(&args) {
            return Ok(Box::new(float_sum::Many::new(self.figure)));
        }
        let of = args.return_field.data_type().clone();
        let Some(wide) = self.wide_type(&of) else {
            return self.inner.create_groups_accumulator(args);
        };
        let inner = widened(args, &wide, |args| self.inner.create_groups_accumulator(args))?;
        Ok(Box::new(NarrowGroups { inner, of, wide }))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let of = args.return_field.data_type().clone();
        let Some(wide) = self.wide_type(&of) else {
            return self.inner.create_sliding_accumulator(args);
        };
        if args.is_distinct {
            return not_impl_err!("sum(DISTINCT ...) over a window that moves");
        }
        let inner = widened(args, &wide, |args| self.inner.create_sliding_accumulator(args))?;
        Ok(Box::new(Narrow { inner, of, wide }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Numbers of a type in and out, wide ones in between.
#[derive(Debug)]
struct Narrow {
    inner: Box<dyn Accumulator>,
    of: DataType,
    wide: DataType,
}

impl Accumulator for Narrow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&wide(values, &self.wide)?)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let sum = self.inner.evaluate()?.to_array()?;
        ScalarValue::try_from_array(&narrow(&sum, &self.of)?, 0)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.retract_batch(&wide(values, &self.wide)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct NarrowGroups {
    inner: Box<dyn GroupsAccumulator>,
    of: DataType,
    wide: DataType,
}

impl GroupsAccumulator for NarrowGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(
            &wide(values, &self.wide)?,
            group_indices,
            opt_filter,
            total_num_groups,
        )
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        narrow(&self.inner.evaluate(emit_to)?, &self.of)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.inner.convert_to_state(&wide(values, &self.wide)?, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

fn wide(values: &[ArrayRef], to: &DataType) -> Result<Vec<ArrayRef>> {
    let each = |array: &ArrayRef| -> Result<ArrayRef> {
        Ok(match array.data_type() {
            DataType::Int64 => {
                let wide: Decimal128Array = array.as_primitive::<Int64Type>().unary(i128::from);
                Arc::new(wide.with_data_type(to.clone()))
            }
            _ => arrow_cast::cast(array, to)?,
        })
    };
    values.iter().map(each).collect()
}

fn narrow(sums: &dyn Array, of: &DataType) -> Result<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    arrow_cast::cast_with_options(sums, of, &options).map_err(|_| {
        let column = "sum".to_owned();
        DataFusionError::External(Box::new(Error::Overflow { column }))
    })
}
