//! `a || b` that looks at the size of its answer before it makes it.

use arrow_array::{Array, ArrayRef, cast::AsArray};
use arrow_schema::DataType;
use datafusion::{
    arrow::compute::kernels::concat_elements::concat_elements_dyn,
    common::{DataFusionError, Result, resources_datafusion_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
        expr::ScalarFunction,
    },
};
use std::sync::Arc;

/// Bytes of text that one call may make out of one batch. Each doubling asks again.
pub(crate) const JOINED_BYTES_MAX: usize = 64 << 20;

/// `left || right` of two texts.
pub(super) fn joined(left: Expr, right: Expr, of: (DataType, DataType)) -> Expr {
    let returns = match (&of.0, &of.1) {
        (DataType::Utf8View, _) | (_, DataType::Utf8View) => DataType::Utf8View,
        _ => DataType::Utf8,
    };
    let signature = Signature::exact(vec![of.0, of.1], Volatility::Immutable);
    let function = Arc::new(ScalarUDF::new_from_impl(Joined { returns, signature }));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![left, right]))
}

/// Whether a type is a text that can be joined here.
pub(super) fn is_text(of: &DataType) -> bool {
    matches!(of, DataType::Utf8 | DataType::Utf8View)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Joined {
    returns: DataType,
    signature: Signature,
}

impl ScalarUDFImpl for Joined {
    fn name(&self) -> &str {
        "joined"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes: usize =
            args.args.iter().map(|side| text_bytes(side, args.number_rows)).sum::<Result<_>>()?;
        if bytes > JOINED_BYTES_MAX {
            return Err(resources_datafusion_err!("|| may make {bytes} bytes of text"));
        }
        let text = |side: &ColumnarValue| -> Result<ArrayRef> {
            let array = side.to_array(args.number_rows)?;
            Ok(arrow_cast::cast(&array, &DataType::Utf8)?)
        };
        let [left, right] = args.args.as_slice() else {
            return Err(DataFusionError::Internal("|| joins two texts".into()));
        };
        let joined = concat_elements_dyn(&text(left)?, &text(right)?)?;
        Ok(ColumnarValue::Array(arrow_cast::cast(&joined, &self.returns)?))
    }
}

/// Bytes of a text in so many rows.
pub(crate) fn text_bytes(side: &ColumnarValue, rows: usize) -> Result<usize> {
    Ok(match side {
        ColumnarValue::Scalar(value) => {
            value.try_as_str().flatten().map_or(0, str::len).saturating_mul(rows)
        }
        ColumnarValue::Array(array) => match array.data_type() {
            DataType::Utf8View => {
                array.as_string_view().lengths().map(|length| length as usize).sum()
            }
            DataType::Utf8 => array.as_string::<i32>().value_data().len(),
            _ => array.get_array_memory_size(),
        },
    })
}
