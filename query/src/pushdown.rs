//! Which parts of a predicate tablets can decide: times and tags.

use crate::{
    dialect::in_set,
    relation::{Origin, Relation},
};
use datafusion::{
    common::{
        Column, DataFusionError, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{BinaryExpr, Expr, Operator, expr::InList, utils::split_conjunction},
};
use oribi_model::{ColumnId, TagPredicate, TimeRange};

/// A conjunction, sorted by who decides it.
#[derive(Debug, Clone)]
pub(crate) struct Pushed {
    /// Times wanted.
    pub(crate) time: TimeRange,
    /// Conditions on tags in plain form.
    pub(crate) tags: TagPredicate,
    /// Other conditions that read nothing but tags.
    pub(crate) series: Vec<Expr>,
    /// What only rows can decide.
    pub(crate) rest: Vec<Expr>,
}

/// Who decides one condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Part {
    /// The times.
    Time(TimeRange),
    /// The tags, in plain form.
    Tags(TagPredicate),
    /// The tags.
    Series,
    /// The row.
    Row,
}

/// Splits predicates that must all hold.
pub(crate) fn split<'a>(exprs: impl IntoIterator<Item = &'a Expr>, relation: &Relation) -> Pushed {
    let mut pushed = Pushed {
        time: TimeRange::ALL,
        tags: TagPredicate::Always,
        series: Vec::new(),
        rest: Vec::new(),
    };
    let mut tags = Vec::new();
    for expr in exprs.into_iter().flat_map(split_conjunction) {
        match part(expr, relation) {
            Part::Time(range) => pushed.time = pushed.time.intersect(range),
            Part::Tags(TagPredicate::Always) => {}
            Part::Tags(predicate) => tags.push(predicate),
            Part::Series => pushed.series.push(expr.clone()),
            Part::Row => pushed.rest.push(expr.clone()),
        }
    }
    match tags.len() {
        0 => {}
        1 => pushed.tags = tags.remove(0),
        _ => pushed.tags = TagPredicate::And(tags),
    }
    pushed
}

/// Who decides `expr`.
pub(crate) fn part(expr: &Expr, relation: &Relation) -> Part {
    if let Some(range) = time_range(expr, relation) {
        return Part::Time(range);
    }
    if let Some(predicate) = tags_of(expr, relation) {
        return Part::Tags(predicate);
    }
    let names = expr.column_refs();
    let only_tags = !names.is_empty()
        && names.iter().all(|column| matches!(origin(column, relation), Some(Origin::Tag(_))));
    if only_tags && !expr.is_volatile() && !has_subquery(expr) { Part::Series } else { Part::Row }
}

fn has_subquery(expr: &Expr) -> bool {
    expr.exists(|inner| {
        Ok(matches!(
            inner,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::OuterReferenceColumn(..)
        ))
    })
    .unwrap_or(true)
}

fn origin(column: &Column, relation: &Relation) -> Option<Origin> {
    let place = relation.schema.index_of(&column.name).ok()?;
    Some(relation.origins[place])
}

fn time_range(expr: &Expr, relation: &Relation) -> Option<TimeRange> {
    if let Expr::Between(between) = expr {
        if between.negated || !is_time(&between.expr, relation) {
            return None;
        }
        let low = compare(Operator::GtEq, time_literal(&between.low)?);
        return Some(low.intersect(compare(Operator::LtEq, time_literal(&between.high)?)));
    }
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else { return None };
    let (op, value) = if is_time(left, relation) {
        (*op, time_literal(right)?)
    } else if is_time(right, relation) {
        (op.swap()?, time_literal(left)?)
    } else {
        return None;
    };
    let known = [Operator::Lt, Operator::LtEq, Operator::Gt, Operator::GtEq, Operator::Eq];
    known.contains(&op).then(|| compare(op, value))
}

fn compare(op: Operator, value: i64) -> TimeRange {
    let after = value.saturating_add(1);
    match op {
        Operator::Lt => TimeRange::new(i64::MIN, value),
        Operator::LtEq => TimeRange::new(i64::MIN, after),
        Operator::Gt => TimeRange::new(after, i64::MAX),
        Operator::GtEq => TimeRange::new(value, i64::MAX),
        _ => TimeRange::new(value, after),
    }
}

fn is_time(expr: &Expr, relation: &Relation) -> bool {
    matches!(expr, Expr::Column(column) if origin(column, relation) == Some(Origin::Time))
}

fn time_literal(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(ScalarValue::TimestampNanosecond(Some(ns), _), _) => Some(*ns),
        _ => None,
    }
}

fn tag_column(expr: &Expr, relation: &Relation) -> Option<ColumnId> {
    let Expr::Column(column) = expr else { return None };
    match origin(column, relation)? {
        Origin::Tag(id) => Some(id),
        _ => None,
    }
}

fn text_literal(expr: &Expr) -> Option<String> {
    let Expr::Literal(value, _) = expr else { return None };
    value.try_as_str().flatten().map(str::to_owned)
}

fn tags_of(expr: &Expr, relation: &Relation) -> Option<TagPredicate> {
    let negate = |predicate| TagPredicate::Not(Box::new(predicate));
    Some(match expr {
        Expr::Literal(ScalarValue::Boolean(Some(true)), _) => TagPredicate::Always,
        Expr::Literal(ScalarValue::Boolean(_), _) => negate(TagPredicate::Always),
        Expr::IsNull(inner) => TagPredicate::IsNull(tag_column(inner, relation)?),
        Expr::IsNotNull(inner) => negate(TagPredicate::IsNull(tag_column(inner, relation)?)),
        Expr::Not(inner) => negate(tags_of(inner, relation)?),
        Expr::InList(InList { expr, list, negated }) => {
            let tag = tag_column(expr, relation)?;
            let values = list.iter().map(text_literal).collect::<Option<Vec<_>>>()?;
            let found = TagPredicate::In(tag, values.into());
            if *negated { negate(found) } else { found }
        }
        Expr::ScalarFunction(_) => {
            let (operand, values) = in_set(expr)?;
            TagPredicate::In(tag_column(operand, relation)?, values.into())
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
            Operator::And => {
                TagPredicate::And(vec![tags_of(left, relation)?, tags_of(right, relation)?])
            }
            Operator::Or => {
                TagPredicate::Or(vec![tags_of(left, relation)?, tags_of(right, relation)?])
            }
            Operator::Eq | Operator::NotEq => {
                let (tag, value) = match tag_column(left, relation) {
                    Some(tag) => (tag, text_literal(right)?),
                    None => (tag_column(right, relation)?, text_literal(left)?),
                };
                let equal = TagPredicate::Equal(tag, value);
                if *op == Operator::NotEq { negate(equal) } else { equal }
            }
            _ => return None,
        },
        _ => return None,
    })
}

/// The same expression with columns named without their table.
pub(crate) fn unqualified(expr: &Expr) -> Result<Expr, DataFusionError> {
    expr.clone()
        .transform(|inner| {
            Ok(match inner {
                Expr::Column(column) => {
                    Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
                }
                other => Transformed::no(other),
            })
        })
        .map(|done| done.data)
}
