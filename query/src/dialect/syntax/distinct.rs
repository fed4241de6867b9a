//! `a IS DISTINCT FROM b AND c`: sqlparser 0.62 takes `b AND c` for the right side
//! (apache/datafusion-sqlparser-rs 2436).

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};

/// How tightly an operator binds; those between never meet the fault.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Not,
    Is,
}

/// Puts the root of a tree, whose branches are settled, where its binding wants it.
pub(super) fn settle(expr: &mut Expr) {
    let Some(own) = binding(expr) else { return };
    let Some(branch) = right_branch(expr) else { return };
    if branches_below(branch, &own).is_none() {
        return;
    }
    // The branch becomes the root, and what was the root its leftmost operand.
    let mut root = std::mem::replace(branch, nothing());
    let Some(place) = branches_below(&mut root, &own) else { return };
    let operand = std::mem::replace(place, nothing());
    if let Some(branch) = right_branch(expr) {
        *branch = operand;
    }
    let Some(place) = first_operand(&mut root, &own) else { return };
    *place = std::mem::replace(expr, nothing());
    *expr = root;
}

fn nothing() -> Expr {
    Expr::Value(Value::Null.into())
}

fn binding(expr: &Expr) -> Option<Binding> {
    Some(match expr {
        Expr::BinaryOp { op: BinaryOperator::Or, .. } => Binding::Or,
        Expr::BinaryOp { op: BinaryOperator::And, .. } => Binding::And,
        Expr::UnaryOp { op: UnaryOperator::Not, .. } => Binding::Not,
        Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => Binding::Is,
        _ => return None,
    })
}

fn right_branch(expr: &mut Expr) -> Option<&mut Expr> {
    match expr {
        Expr::BinaryOp { right, .. }
        | Expr::IsDistinctFrom(_, right)
        | Expr::IsNotDistinctFrom(_, right)
        | Expr::UnaryOp { expr: right, .. } => Some(right),
        _ => None,
    }
}

/// The left branch of what binds less tightly than `own`, or as IS does what comes after it.
fn left_branch<'a>(expr: &'a mut Expr, own: &Binding) -> Option<&'a mut Expr> {
    match expr {
        Expr::BinaryOp { left, op, .. } => match op {
            BinaryOperator::Or if *own > Binding::Or => Some(left),
            BinaryOperator::And if *own > Binding::And => Some(left),
            _ => None,
        },
        Expr::IsDistinctFrom(left, _)
        | Expr::IsNotDistinctFrom(left, _)
        | Expr::IsNull(left)
        | Expr::IsNotNull(left)
        | Expr::IsTrue(left)
        | Expr::IsNotTrue(left)
        | Expr::IsFalse(left)
        | Expr::IsNotFalse(left)
        | Expr::IsUnknown(left)
        | Expr::IsNotUnknown(left)
            if *own == Binding::Is =>
        {
            Some(left)
        }
        _ => None,
    }
}

/// The leftmost operand below branches that bind less tightly; `None` where the root does not.
fn branches_below<'a>(expr: &'a mut Expr, own: &Binding) -> Option<&'a mut Expr> {
    left_branch(expr, own)?;
    first_operand(expr, own)
}

fn first_operand<'a>(expr: &'a mut Expr, own: &Binding) -> Option<&'a mut Expr> {
    let mut at = expr;
    while left_branch(at, own).is_some() {
        at = left_branch(at, own)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{
        ast::{Expr, visit_expressions_mut},
        dialect::GenericDialect,
        parser::Parser,
    };
    use std::ops::ControlFlow;

    fn parsed(text: &str) -> Expr {
        Parser::new(&GenericDialect {}).try_with_sql(text).unwrap().parse_expr().unwrap()
    }

    fn bracketed(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => {
                format!("[{} {op} {}]", bracketed(left), bracketed(right))
            }
            Expr::IsDistinctFrom(left, right) => {
                format!("[{} <> {}]", bracketed(left), bracketed(right))
            }
            Expr::IsNotDistinctFrom(left, right) => {
                format!("[{} == {}]", bracketed(left), bracketed(right))
            }
            Expr::UnaryOp { op, expr } => format!("[{op} {}]", bracketed(expr)),
            Expr::IsNull(inner) => format!("[{} null]", bracketed(inner)),
            other => other.to_string(),
        }
    }

    #[test]
    fn the_standard_decides_what_is_distinct() {
        for (text, expected) in [
            ("a IS DISTINCT FROM b AND c", "[[a <> b] AND c]"),
            ("a IS NOT DISTINCT FROM b OR c", "[[a == b] OR c]"),
            ("p AND a IS DISTINCT FROM b OR c", "[[p AND [a <> b]] OR c]"),
            ("p OR a IS DISTINCT FROM b AND c", "[p OR [[a <> b] AND c]]"),
            ("NOT a IS DISTINCT FROM b AND c", "[[NOT [a <> b]] AND c]"),
            ("NOT a IS DISTINCT FROM b OR c AND d", "[[NOT [a <> b]] OR [c AND d]]"),
            ("a IS DISTINCT FROM b + 1 AND c", "[[a <> [b + 1]] AND c]"),
            ("a IS DISTINCT FROM (b AND c)", "[a <> (b AND c)]"),
            ("(a IS DISTINCT FROM b AND c)", "([a <> b] AND c)"),
            ("a IS DISTINCT FROM b IS NULL", "[[a <> b] null]"),
            (
                "a IS DISTINCT FROM b AND c IS NOT DISTINCT FROM d OR e",
                "[[[a <> b] AND [c == d]] OR e]",
            ),
        ] {
            let mut expr = parsed(text);
            let _ = visit_expressions_mut(&mut expr, |inner| {
                super::settle(inner);
                ControlFlow::<()>::Continue(())
            });
            let text_of =
                bracketed(&expr).replace("(a IS DISTINCT FROM b AND c)", "([a <> b] AND c)");
            assert_eq!(text_of, expected, "{text}");
        }
    }
}
