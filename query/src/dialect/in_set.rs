//! `x IN (literals)` as one look into a set.
//!
//! DataFusion tells -0.0 from 0.0 in lists, and its simplifier merges lists over one column as if
//! nothing could be null (apache/datafusion 17681, 25186).

use arrow_array::{Array, BooleanArray, cast::AsArray, types};
use arrow_schema::DataType;
use datafusion::{
    common::{DataFusionError, Result, ScalarValue},
    logical_expr::{
        BinaryExpr, ColumnarValue, Expr, Operator, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
        Signature, Volatility, expr::ScalarFunction,
    },
};
use std::{collections::BTreeSet, hash::Hash, sync::Arc};

/// `expr IN (list)` as a function; `None` for types that have no set.
pub(super) fn function(expr: &Expr, of: &DataType, list: &[Expr]) -> Option<Expr> {
    let mut keys = Keys::new(of)?;
    let mut with_null = false;
    for item in list {
        let value = constant(item)?;
        match value.is_null() {
            true => with_null = true,
            false => keys.add(&value)?,
        }
    }
    Some(call(expr.clone(), InSet::new(of.clone(), keys, with_null)))
}

fn call(operand: Expr, set: InSet) -> Expr {
    let function = Arc::new(ScalarUDF::new_from_impl(set));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, vec![operand]))
}

/// A literal, or the cast of one.
fn constant(expr: &Expr) -> Option<ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value.clone()),
        Expr::Cast(cast) => constant(&cast.expr)?.cast_to(cast.field.data_type()).ok(),
        _ => None,
    }
}

/// `a OR b` as one list, where both look for constants in the same column: DataFusion's simplifier
/// would make a list of its own of them.
pub(super) fn either(
    left: &Expr,
    right: &Expr,
    of: impl Fn(&Expr) -> Option<DataType>,
) -> Option<Expr> {
    let side = |expr: &Expr| -> Option<(Expr, Keys)> {
        match expr {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
                let (column, value) = match (left.as_ref(), right.as_ref()) {
                    (column @ Expr::Column(_), value) | (value, column @ Expr::Column(_)) => {
                        (column, constant(value)?)
                    }
                    _ => return None,
                };
                let mut keys = Keys::new(&of(column)?)?;
                keys.add(&value)?;
                Some((column.clone(), keys))
            }
            Expr::ScalarFunction(call) => {
                let set = call.func.inner().downcast_ref::<InSet>()?;
                let plain = !set.with_null;
                plain.then(|| Some((call.args.first()?.clone(), set.keys.clone())))?
            }
            _ => None,
        }
    };
    let ((one, mut keys), (other, more)) = (side(left)?, side(right)?);
    (one == other && keys.extend(more)).then_some(())?;
    Some(call(one.clone(), InSet::new(of(&one)?, keys, false)))
}

/// The texts that `expr` looks for in its first operand, and that operand, where it is such a
/// function without null in its list.
pub(crate) fn in_set(expr: &Expr) -> Option<(&Expr, Vec<String>)> {
    let Expr::ScalarFunction(call) = expr else { return None };
    let set = call.func.inner().downcast_ref::<InSet>()?;
    match (&set.keys, call.args.as_slice()) {
        (Keys::Texts(texts), [operand]) if !set.with_null => {
            Some((operand, texts.iter().map(|text| text.to_string()).collect()))
        }
        _ => None,
    }
}

/// Values in a form in which equal ones are the same.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Keys {
    Ints(BTreeSet<i64>),
    Floats(BTreeSet<u64>),
    Texts(BTreeSet<Box<str>>),
}

impl Keys {
    fn new(of: &DataType) -> Option<Keys> {
        Some(match of {
            DataType::Int64 | DataType::Timestamp(..) => Keys::Ints(BTreeSet::new()),
            DataType::Float64 => Keys::Floats(BTreeSet::new()),
            DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8 => {
                Keys::Texts(BTreeSet::new())
            }
            _ => return None,
        })
    }

    /// Takes others of the same kind.
    fn extend(&mut self, others: Keys) -> bool {
        match (self, others) {
            (Keys::Ints(keys), Keys::Ints(others)) => keys.extend(others),
            (Keys::Floats(keys), Keys::Floats(others)) => keys.extend(others),
            (Keys::Texts(keys), Keys::Texts(others)) => keys.extend(others),
            _ => return false,
        }
        true
    }

    fn add(&mut self, value: &ScalarValue) -> Option<()> {
        match (self, value) {
            (Keys::Ints(keys), ScalarValue::Int64(Some(value)))
            | (Keys::Ints(keys), ScalarValue::TimestampSecond(Some(value), _))
            | (Keys::Ints(keys), ScalarValue::TimestampMillisecond(Some(value), _))
            | (Keys::Ints(keys), ScalarValue::TimestampMicrosecond(Some(value), _))
            | (Keys::Ints(keys), ScalarValue::TimestampNanosecond(Some(value), _)) => {
                keys.insert(*value);
            }
            (Keys::Floats(keys), ScalarValue::Float64(Some(value))) => {
                keys.insert(float_key(*value));
            }
            (Keys::Texts(keys), value) => {
                keys.insert(value.try_as_str()??.into());
            }
            _ => return None,
        }
        Some(())
    }
}

/// Equal floats, the two zeros among them, have the same.
fn float_key(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct InSet {
    of: DataType,
    keys: Keys,
    /// Whether null is in the list: what is not found is unknown then.
    with_null: bool,
    signature: Signature,
}

impl InSet {
    fn new(of: DataType, keys: Keys, with_null: bool) -> InSet {
        let signature = Signature::exact(vec![of.clone()], Volatility::Immutable);
        InSet { of, keys, with_null, signature }
    }

    fn look_up(&self, array: &dyn Array) -> Result<BooleanArray> {
        let answer = |found: bool| (found || !self.with_null).then_some(found);
        Ok(match (&self.keys, array.data_type()) {
            (Keys::Ints(keys), DataType::Int64 | DataType::Timestamp(..)) => {
                let ints = datafusion::arrow::compute::cast(array, &DataType::Int64)?;
                let ints = ints.as_primitive::<types::Int64Type>();
                ints.iter().map(|value| answer(keys.contains(&value?))).collect()
            }
            (Keys::Floats(keys), DataType::Float64) => {
                let floats = array.as_primitive::<types::Float64Type>();
                floats.iter().map(|value| answer(keys.contains(&float_key(value?)))).collect()
            }
            (Keys::Texts(keys), DataType::Utf8) => {
                let texts = array.as_string::<i32>();
                texts.iter().map(|value| answer(keys.contains(value?))).collect()
            }
            (Keys::Texts(keys), DataType::LargeUtf8) => {
                let texts = array.as_string::<i64>();
                texts.iter().map(|value| answer(keys.contains(value?))).collect()
            }
            (Keys::Texts(keys), DataType::Utf8View) => {
                let texts = array.as_string_view();
                texts.iter().map(|value| answer(keys.contains(value?))).collect()
            }
            (_, other) => {
                let detail = format!("a list of {} cannot hold {other}", self.of);
                return Err(DataFusionError::Internal(detail));
            }
        })
    }
}

impl ScalarUDFImpl for InSet {
    fn name(&self) -> &str {
        "in_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(Arc::new(self.look_up(array)?)))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let found = self.look_up(&value.to_array()?)?;
                let found = found.is_valid(0).then(|| found.value(0));
                Ok(ColumnarValue::Scalar(ScalarValue::Boolean(found)))
            }
            None => Err(DataFusionError::Internal("a list looks for one value".into())),
        }
    }
}
