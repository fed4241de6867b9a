//! `sum` that tells when integers do not fit, instead of wrapping around.

use crate::Error;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Int64Array, PrimitiveArray, UInt64Array,
    cast::AsArray,
    types::{Decimal128Type, Int64Type, UInt64Type},
};
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

/// Integers are summed in this type, which holds more of them than can be stored.
const WIDE: DataType = DataType::Decimal128(38, 0);

/// DataFusion's `sum`, whose integers are summed in 128 bits.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct CheckedSum {
    inner: Arc<AggregateUDF>,
}

impl CheckedSum {
    /// The function as it is registered.
    pub(crate) fn function() -> Arc<AggregateUDF> {
        let inner = datafusion::functions_aggregate::sum::sum_udaf();
        Arc::new(AggregateUDF::new_from_impl(CheckedSum { inner }))
    }
}

fn is_narrow(of: &DataType) -> bool {
    matches!(of, DataType::Int64 | DataType::UInt64)
}

fn wide_field(of: &FieldRef) -> FieldRef {
    Arc::new(Field::new(of.name(), WIDE, true))
}

/// Calls `make` with arguments that say the type is the wide one.
fn widened<T>(args: AccumulatorArgs<'_>, make: impl FnOnce(AccumulatorArgs<'_>) -> T) -> T {
    let fields: Vec<FieldRef> = args.expr_fields.iter().map(wide_field).collect();
    let return_field = wide_field(&args.return_field);
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

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let of = args.return_field.data_type().clone();
        if !is_narrow(&of) {
            return self.inner.accumulator(args);
        }
        let inner = widened(args, |args| self.inner.accumulator(args))?;
        Ok(Box::new(Narrow { inner, of }))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        if !is_narrow(args.return_field.data_type()) {
            return self.inner.state_fields(args);
        }
        let return_field = wide_field(&args.return_field);
        self.inner.state_fields(StateFieldsArgs { return_field, ..args })
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        let of = args.return_field.data_type().clone();
        if !is_narrow(&of) {
            return self.inner.create_groups_accumulator(args);
        }
        let inner = widened(args, |args| self.inner.create_groups_accumulator(args))?;
        Ok(Box::new(NarrowGroups { inner, of }))
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let of = args.return_field.data_type().clone();
        if !is_narrow(&of) {
            return self.inner.create_sliding_accumulator(args);
        }
        if args.is_distinct {
            return not_impl_err!("sum(DISTINCT ...) over a window that moves");
        }
        let inner = widened(args, |args| self.inner.create_sliding_accumulator(args))?;
        Ok(Box::new(Narrow { inner, of }))
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        ReversedUDAF::Identical
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }
}

/// Integers in, integers out, wide ones in between.
#[derive(Debug)]
struct Narrow {
    inner: Box<dyn Accumulator>,
    of: DataType,
}

impl Accumulator for Narrow {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.inner.update_batch(&wide(values)?)
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
        self.inner.retract_batch(&wide(values)?)
    }

    fn supports_retract_batch(&self) -> bool {
        self.inner.supports_retract_batch()
    }
}

struct NarrowGroups {
    inner: Box<dyn GroupsAccumulator>,
    of: DataType,
}

impl GroupsAccumulator for NarrowGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.inner.update_batch(&wide(values)?, group_indices, opt_filter, total_num_groups)
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
        self.inner.convert_to_state(&wide(values)?, opt_filter)
    }

    fn size(&self) -> usize {
        self.inner.size()
    }
}

fn wide(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    let each = |array: &ArrayRef| -> Result<ArrayRef> {
        let wide: Decimal128Array = match array.data_type() {
            DataType::Int64 => array.as_primitive::<Int64Type>().unary(i128::from),
            DataType::UInt64 => array.as_primitive::<UInt64Type>().unary(i128::from),
            other => {
                return Err(DataFusionError::Internal(format!("sum met {other}")));
            }
        };
        Ok(Arc::new(wide.with_data_type(WIDE)))
    };
    values.iter().map(each).collect()
}

fn narrow(sums: &dyn Array, of: &DataType) -> Result<ArrayRef> {
    let sums: &PrimitiveArray<Decimal128Type> = sums.as_primitive();
    let too_large = |_| {
        let column = "sum".to_owned();
        DataFusionError::External(Box::new(Error::Overflow { column }))
    };
    Ok(match of {
        DataType::UInt64 => {
            let sums: UInt64Array = sums.try_unary(|sum| u64::try_from(sum).map_err(too_large))?;
            Arc::new(sums)
        }
        _ => {
            let sums: Int64Array = sums.try_unary(|sum| i64::try_from(sum).map_err(too_large))?;
            Arc::new(sums)
        }
    })
}
