//! Rewrites of expressions with types.

use super::{checked, in_set, joined};
use arrow_schema::{DataType, TimeUnit};
use datafusion::{
    common::{
        DFSchema, Result, ScalarValue,
        config::ConfigOptions,
        plan_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    logical_expr::{
        Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator,
        expr::{InList, InSubquery},
        expr_rewriter::NamePreserver,
        utils::merge_schema,
        utils::split_conjunction,
    },
    optimizer::{Analyzer, AnalyzerRule},
};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use std::sync::Arc;

/// DataFusion's rules with ours around them.
pub(crate) fn analyzer_rules() -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let coercion = rules.iter().position(|rule| rule.name() == "type_coercion");
    rules.insert(coercion.unwrap_or(rules.len()), Arc::new(Texts));
    rules.push(Arc::new(Exact));
    rules
}

/// Before types are settled: a text is compared with texts.
#[derive(Debug)]
struct Texts;

/// After types are settled: lists are sets, and integers do not wrap around.
#[derive(Debug)]
struct Exact;

impl AnalyzerRule for Texts {
    fn name(&self) -> &str {
        "texts_beside_numbers"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|expr, schema| texts(expr, schema))
    }
}

impl AnalyzerRule for Exact {
    fn name(&self) -> &str {
        "exact"
    }

    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        plan.apply_with_subqueries(|node| {
            refuse_lost_nulls(node)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        rewrite(plan, &|expr, schema| exact(expr, schema))
    }
}

type Rewrite<'a> = &'a dyn Fn(Expr, &DFSchema) -> Result<Transformed<Expr>>;

fn rewrite(plan: LogicalPlan, with: Rewrite<'_>) -> Result<LogicalPlan> {
    let each = |plan: LogicalPlan| {
        let mut schema = merge_schema(&plan.inputs());
        if let LogicalPlan::TableScan(scan) = &plan {
            let source = DFSchema::try_from_qualified_schema(
                scan.table_name.clone(),
                &scan.source.schema(),
            )?;
            schema.merge(&source);
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            let done = expr.transform_up(|inner| with(inner, &schema))?;
            Ok(done.update_data(|expr| name.restore(expr)))
        })?
        .map_data(LogicalPlan::recompute_schema)
    };
    plan.transform_up_with_subqueries(each).map(|done| done.data)
}

/// A predicate before its types are settled.
pub(crate) fn of_types(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|inner| texts(inner, schema)).map(|done| done.data)
}

/// A predicate after its types are settled.
pub(crate) fn in_predicate(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|inner| exact(inner, schema)).map(|done| done.data)
}

/// `device = 7` is `device = '7'`: a cast of every text to a number would fail on the first that
/// is none, or not, as the order of conditions has it.
fn texts(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if is_comparison(op) => {
            let (left, right) = match (is_text(&left, schema), is_text(&right, schema)) {
                (Some(true), _) => (*left, beside_text(*right, op)?),
                (_, Some(true)) => (beside_text(*left, op)?, *right),
                _ => (*left, *right),
            };
            let (left, op, right) = within_time(left, op, right, schema);
            let (left, right) = (Box::new(left), Box::new(right));
            Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::Between(Between { expr, negated, low, high }) if is_time(&expr, schema) => {
            let bound = |bound: Expr| far(&bound).map_or(bound, Far::edge);
            let (low, high) = (Box::new(bound(*low)), Box::new(bound(*high)));
            Ok(Transformed::yes(Expr::Between(Between { expr, negated, low, high })))
        }
        Expr::InList(InList { expr, list, negated })
            if is_time(&expr, schema) && list.iter().any(|item| far(item).is_some()) =>
        {
            // No time is any of those.
            let list: Vec<Expr> = list.into_iter().filter(|item| far(item).is_none()).collect();
            if !list.is_empty() {
                return Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })));
            }
            let (op, right) = (Operator::Gt, Box::new(Far::Above.edge()));
            let none = Expr::BinaryExpr(BinaryExpr { left: expr, op, right });
            Ok(Transformed::yes(if negated { Expr::Not(Box::new(none)) } else { none }))
        }
        Expr::InList(InList { expr, list, negated }) if is_text(&expr, schema) == Some(true) => {
            let list = list.into_iter().map(|item| beside_text(item, Operator::Eq));
            let list = list.collect::<Result<Vec<_>>>()?;
            Ok(Transformed::yes(Expr::InList(InList { expr, list, negated })))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A comparison of a time with one that 64 bits of nanoseconds cannot hold, as one with the last
/// that they can: `time < '3000-01-01'` is true of every time.
fn within_time(left: Expr, op: Operator, right: Expr, schema: &DFSchema) -> (Expr, Operator, Expr) {
    let (time, op, far) = if is_time(&left, schema)
        && let Some(far) = far(&right)
    {
        (left, op, far)
    } else if is_time(&right, schema)
        && let (Some(far), Some(op)) = (far(&left), op.swap())
    {
        (right, op, far)
    } else {
        return (left, op, right);
    };
    use Operator::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let op = match (op, &far) {
        (Lt | LtEq | NotEq, Far::Above) => LtEq,
        (Gt | GtEq | Eq, Far::Above) => Gt,
        (Gt | GtEq | NotEq, Far::Below) => GtEq,
        (Lt | LtEq | Eq, Far::Below) => Lt,
        (other, _) => other,
    };
    (time, op, far.edge())
}

/// A time that 64 bits of nanoseconds cannot hold.
enum Far {
    Above,
    Below,
}

impl Far {
    fn edge(self) -> Expr {
        let ns = match self {
            Far::Above => i64::MAX,
            Far::Below => i64::MIN,
        };
        let zone = Some("UTC".into());
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), zone), None)
    }
}

/// Whether a literal, or the cast of one to a time, is such a time.
fn far(expr: &Expr) -> Option<Far> {
    let text = match expr {
        Expr::Literal(value, _) => value.try_as_str()??,
        Expr::Cast(cast) if cast.field.data_type().is_temporal() => return far(&cast.expr),
        _ => return None,
    };
    let text = text.trim();
    let ns = match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_nanosecond(),
        Err(_) => {
            let local = text.parse::<DateTime>().ok()?;
            match TimeZone::UTC.to_timestamp(local) {
                Ok(instant) => instant.as_nanosecond(),
                Err(_) if local.year() > 0 => return Some(Far::Above),
                Err(_) => return Some(Far::Below),
            }
        }
    };
    match i64::try_from(ns) {
        Ok(_) => None,
        Err(_) if ns > 0 => Some(Far::Above),
        Err(_) => Some(Far::Below),
    }
}

fn is_time(expr: &Expr, schema: &DFSchema) -> bool {
    let of = expr.get_type(schema);
    !expr.column_refs().is_empty()
        && of.is_ok_and(|of| matches!(of, DataType::Timestamp(TimeUnit::Nanosecond, _)))
}

fn is_comparison(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom)
}

/// Whether an expression is a text of rows; `None` where it is a literal, or nobody knows.
fn is_text(expr: &Expr, schema: &DFSchema) -> Option<bool> {
    if expr.column_refs().is_empty() {
        return None;
    }
    let data_type = expr.get_type(schema).ok()?;
    Some(matches!(data_type, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8))
}

fn beside_text(expr: Expr, op: Operator) -> Result<Expr> {
    let Expr::Literal(value, metadata) = &expr else { return Ok(expr) };
    if !value.data_type().is_numeric() || value.is_null() {
        return Ok(expr);
    }
    use Operator::{Eq, IsDistinctFrom, IsNotDistinctFrom, NotEq};
    let equality = matches!(op, Eq | NotEq | IsDistinctFrom | IsNotDistinctFrom);
    if !equality || !value.data_type().is_integer() {
        return plan_err!(
            "a text cannot be compared with the number {value} in this way; expected '{value}', or \
             CAST(... AS DOUBLE) of the text"
        );
    }
    Ok(Expr::Literal(ScalarValue::Utf8(Some(value.to_string())), metadata.clone()))
}

fn exact(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match expr {
        Expr::InList(InList { expr, list, negated }) => {
            let of = expr.get_type(schema)?;
            let found = match in_set::function(&expr, &of, &list) {
                Some(found) => found,
                None => match any_of(&expr, &list) {
                    Some(found) => found,
                    None => {
                        return Ok(Transformed::no(Expr::InList(InList { expr, list, negated })));
                    }
                },
            };
            Ok(Transformed::yes(if negated { Expr::Not(Box::new(found)) } else { found }))
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let of = |column: &Expr| column.get_type(schema).ok();
            match in_set::either(&left, &right, of) {
                Some(found) => Ok(Transformed::yes(found)),
                None => {
                    let op = Operator::Or;
                    Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
                }
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
            let of = (left.get_type(schema)?, right.get_type(schema)?);
            if joined::is_text(&of.0) && joined::is_text(&of.1) {
                return Ok(Transformed::yes(joined::joined(*left, *right, of)));
            }
            let op = Operator::StringConcat;
            Ok(Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if checked::may_overflow(op) => {
            let of = (left.get_type(schema)?, right.get_type(schema)?);
            let whole = of.0.is_integer() && of.0 == of.1;
            let plain = Expr::BinaryExpr(BinaryExpr { left, op, right });
            if whole || (of.0.is_decimal() && of.1.is_decimal()) {
                let returns = plain.get_type(schema)?;
                let Expr::BinaryExpr(BinaryExpr { left, op, right }) = plain else {
                    return Ok(Transformed::no(plain));
                };
                let done = checked::arithmetic(*left, op, *right, of, returns);
                return Ok(Transformed::yes(done));
            }
            Ok(Transformed::no(plain))
        }
        Expr::Negative(inner) => {
            let of = inner.get_type(schema)?;
            if !of.is_signed_integer() {
                return Ok(Transformed::no(Expr::Negative(inner)));
            }
            let zero = Expr::Literal(ScalarValue::new_zero(&of)?, None);
            Ok(Transformed::yes(checked::arithmetic(
                zero,
                Operator::Minus,
                *inner,
                (of.clone(), of.clone()),
                of,
            )))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// A list of a few expressions as comparisons.
fn any_of(expr: &Expr, list: &[Expr]) -> Option<Expr> {
    const ITEMS_MAX: usize = 64;
    if list.len() > ITEMS_MAX || expr.is_volatile() {
        return None;
    }
    let equal = |item: &Expr| expr.clone().eq(item.clone());
    list.iter().map(equal).reduce(Expr::or)
}

/// Refuses what DataFusion plans as a join that forgets the difference between false and unknown:
/// NOT IN with a subquery that depends on the outer row (apache/datafusion 25336, 25347), and IN
/// with a subquery under NOT or within other expressions.
fn refuse_lost_nulls(node: &LogicalPlan) -> Result<()> {
    let mut allowed = Vec::new();
    if let LogicalPlan::Filter(filter) = node {
        for condition in split_conjunction(&filter.predicate) {
            let (condition, turned) = match condition {
                Expr::Not(inner) => (inner.as_ref(), true),
                other => (other, false),
            };
            match condition {
                Expr::InSubquery(test) => allowed.push((test, test.negated != turned)),
                other if !turned => alternatives(other, &mut allowed),
                _ => {}
            }
        }
    }
    let mut found = Ok(());
    node.apply_expressions(|expr| {
        expr.apply(|inner| {
            let Expr::InSubquery(test) = inner else { return Ok(TreeNodeRecursion::Continue) };
            let place = allowed.iter().find(|(one, _)| std::ptr::eq(*one, test));
            let correlated = !test.subquery.outer_ref_columns.is_empty();
            let lost = match place {
                Some((_, negated)) => *negated && correlated,
                None => true,
            };
            if lost {
                found = plan_err!(
                    "IN with a subquery stands where unknown would be taken for false; expected \
                     it as a condition of its own under AND, without NOT where the subquery \
                     depends on the outer row: NOT EXISTS says the same without nulls"
                );
                return Ok(TreeNodeRecursion::Stop);
            }
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    found
}

/// The subqueries of alternatives, among which unknown is as good as false.
fn alternatives<'a>(expr: &'a Expr, found: &mut Vec<(&'a InSubquery, bool)>) {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And | Operator::Or, right }) => {
            alternatives(left, found);
            alternatives(right, found);
        }
        Expr::InSubquery(test) if !test.negated => found.push((test, false)),
        _ => {}
    }
}
