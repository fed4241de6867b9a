//! Arithmetic of integers and decimals that tells an overflow instead of wrapping around.

use crate::Error;
use arrow_array::{ArrayRef, Datum};
use arrow_schema::{ArrowError, DataType};
use datafusion::{
    arrow::compute::kernels::numeric,
    common::{DataFusionError, Result},
    logical_expr::{
        ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        Volatility, expr::ScalarFunction,
    },
    physical_expr_common::datum,
};
use std::sync::Arc;

/// `left op right` of two integers or decimals of the types `of`, where `op` is one that may
/// overflow.
pub(super) fn arithmetic(
    left: Expr,
    op: Operator,
    right: Expr,
    of: (DataType, DataType),
    returns: DataType,
) -> Expr {
    let op = match op {
        Operator::Plus => Op::Add,
        Operator::Minus => Op::Subtract,
        _ => Op::Multiply,
    };
    let signature = Signature::exact(vec![of.0, of.1], Volatility::Immutable);
    let function = ScalarUDF::new_from_impl(Checked { op, returns, signature });
    let args = vec![left, right];
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), args))
}

/// Whether an operator of integers may overflow.
pub(super) fn may_overflow(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Op {
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Op,
    returns: DataType,
    signature: Signature,
}

impl Checked {
    fn apply(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.op {
            Op::Add => numeric::add(left, right),
            Op::Subtract => numeric::sub(left, right),
            Op::Multiply => numeric::mul(left, right),
        }
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Op::Add => "checked_add",
            Op::Subtract => "checked_subtract",
            Op::Multiply => "checked_multiply",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("arithmetic takes two numbers".into()));
        };
        datum::apply(left, right, |left, right| self.apply(left, right)).map_err(
            |error| match error.find_root() {
                DataFusionError::ArrowError(inner, _) => match inner.as_ref() {
                    ArrowError::ArithmeticOverflow(sum) => {
                        let sum = sum.trim_start_matches("Overflow happened on: ").to_owned();
                        DataFusionError::External(Box::new(Error::Overflow { column: sum }))
                    }
                    _ => error,
                },
                _ => error,
            },
        )
    }
}
