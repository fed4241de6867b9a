//! The SQL functions: DataFusion's, less those that allocate at will, plus `time_bucket`.

use crate::dialect::{CheckedSum, Deviation, JOINED_BYTES_MAX, analyzer_rules, text_bytes};
use arrow_array::{ArrayRef, cast::AsArray, types::Int64Type};
use arrow_schema::{DataType, FieldRef};
use datafusion::{
    common::{DataFusionError, Result, resources_datafusion_err},
    execution::{SessionState, session_state::SessionStateBuilder},
    logical_expr::{
        ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    },
    physical_optimizer::optimizer::PhysicalOptimizer,
    prelude::SessionConfig,
};
use std::sync::{Arc, LazyLock};

/// Bytes of text that one call may make out of one batch.
const TEXT_BYTES_MAX: i128 = 16 << 20;

/// Functions whose lists have a length that a number decides.
const REFUSED: &[&str] = &["range", "generate_series", "array_repeat", "array_resize"];

/// The state that every session starts from.
pub(crate) fn session_state() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut config = SessionConfig::new().with_information_schema(true);
        let options = config.options_mut();
        options.sql_parser.enable_ident_normalization = false;
        // Nesting is bounded before, by the guard.
        let _ = options.set("datafusion.sql_parser.recursion_limit", "1000");
        // Scans take no filters while they run, and what filters above joins gain by moving is not
        // worth their landing on another column of the same name (apache/datafusion 25259).
        let _ = options.set("datafusion.optimizer.enable_dynamic_filter_pushdown", "false");
        let physical = PhysicalOptimizer::new().rules.into_iter();
        let physical = physical.filter(|rule| !rule.name().starts_with("FilterPushdown"));
        let mut builder = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_analyzer_rules(analyzer_rules())
            .with_physical_optimizer_rules(physical.collect());
        let aggregates = builder.aggregate_functions().get_or_insert_default();
        let mut own = CheckedSum::functions().to_vec();
        own.extend(Deviation::functions());
        aggregates.retain(|theirs| own.iter().all(|ours| ours.name() != theirs.name()));
        aggregates.extend(own);
        let functions = builder.scalar_functions().get_or_insert_default();
        functions.retain(|function| !REFUSED.contains(&function.name()));
        for function in functions.iter_mut() {
            if let Some(growth) = growth(function.name()) {
                let inner = function.as_ref().clone();
                *function = Arc::new(ScalarUDF::new_from_impl(Bounded { inner, growth }));
            }
        }
        let bucket = datafusion::functions::datetime::date_bin();
        functions.push(Arc::new(bucket.as_ref().clone().with_aliases(["time_bucket"])));
        builder.build()
    });
    &STATE
}

/// How a function's text can outgrow its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Growth {
    /// By its second argument, a count of copies.
    Copies,
    /// To its second argument, a number of characters.
    Characters,
    /// By its third argument, at each byte.
    Replacement,
    /// To the sum of its arguments.
    Sum,
}

fn growth(name: &str) -> Option<Growth> {
    match name {
        "repeat" => Some(Growth::Copies),
        "lpad" | "rpad" => Some(Growth::Characters),
        "replace" | "regexp_replace" => Some(Growth::Replacement),
        "concat" | "concat_ws" => Some(Growth::Sum),
        _ => None,
    }
}

/// A function that looks at the size of its answer before it makes it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: ScalarUDF,
    growth: Growth,
}

impl Bounded {
    fn bytes(&self, args: &ScalarFunctionArgs) -> Result<i128> {
        if self.growth == Growth::Sum {
            let sizes = args.args.iter().map(|text| text_bytes(text, args.number_rows));
            let bytes = sizes.sum::<Result<usize>>()?;
            // A separator stands between any two.
            let most = if self.inner.name() == "concat_ws" { args.args.len() } else { 1 };
            return Ok(bytes.saturating_mul(most) as i128);
        }
        let rows = args.number_rows as i128;
        let [text, second, ..] = args.args.as_slice() else { return Ok(0) };
        Ok(match self.growth {
            Growth::Copies => rows * longest(text)? * greatest(second)?,
            Growth::Characters => rows * 4 * greatest(second)?,
            Growth::Replacement => match args.args.get(2) {
                Some(third) => rows * (longest(text)? + 1) * (longest(third)? + 1),
                None => 0,
            },
            Growth::Sum => 0,
        })
    }
}

fn array(value: &ColumnarValue, to: &DataType) -> Result<ArrayRef> {
    let array = value.to_array(1)?;
    arrow_cast::cast(&array, to).map_err(DataFusionError::from)
}

fn longest(value: &ColumnarValue) -> Result<i128> {
    let texts = array(value, &DataType::Utf8)?;
    let lengths = texts.as_string::<i32>().iter().flatten().map(str::len);
    Ok(lengths.max().unwrap_or(0) as i128)
}

fn greatest(value: &ColumnarValue) -> Result<i128> {
    let numbers = array(value, &DataType::Int64)?;
    let numbers = numbers.as_primitive::<Int64Type>();
    Ok(numbers.iter().flatten().max().unwrap_or(0).max(0).into())
}

impl ScalarUDFImpl for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let bytes = self.bytes(&args)?;
        let bytes_max =
            if self.growth == Growth::Sum { JOINED_BYTES_MAX as i128 } else { TEXT_BYTES_MAX };
        if bytes > bytes_max {
            let name = self.inner.name();
            return Err(resources_datafusion_err!("{name} may make {bytes} bytes of text"));
        }
        self.inner.invoke_with_args(args)
    }
}
