//! How large a plan will become: DataFusion plans a WITH clause anew wherever it is named
//! (apache/datafusion 8777), and writes some expressions out with an operand of theirs twice, so that
//! a short text can ask for a plan without end.

use datafusion::sql::sqlparser::ast::{
    Expr, Function, GroupByExpr, GroupByWithModifier, Query, Select, TableFactor, Visit, Visitor,
};
use std::ops::ControlFlow;

/// What a text asks of the planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Size {
    /// Tables and functions that stand in FROM, each as often as it will be planned; in a WITH
    /// clause a SELECT without any is as much work.
    pub(super) scans: u64,
    /// Expressions other than constants, each as often as it will be written out.
    pub(super) parts: u64,
}

/// The size of a query or a predicate.
pub(super) fn of(tree: &impl Visit) -> Size {
    let mut counter = Counter { open: vec![Open::default()], parts: vec![0] };
    let _ = tree.visit(&mut counter);
    let scans = counter.open.first().map_or(0, |outermost| outermost.scans);
    Size { scans, parts: counter.parts.first().copied().unwrap_or_default() }
}

struct Counter {
    open: Vec<Open>,
    /// Of each query and expression that is being counted.
    parts: Vec<u64>,
}

/// A query whose parts are being counted.
#[derive(Default)]
struct Open {
    scans: u64,
    /// SELECTs that read nothing.
    bare: u64,
    /// Queries of the WITH clause, by their place in memory, with their names.
    clauses: Vec<(*const Query, String)>,
    /// Those that are counted already.
    counted: Vec<(String, Size)>,
}

impl Counter {
    fn add(&mut self, parts: u64) {
        if let Some(own) = self.parts.last_mut() {
            *own = own.saturating_add(parts);
        }
    }
}

impl Visitor for Counter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let clauses = query.with.iter().flat_map(|with| &with.cte_tables);
        let clauses = clauses.map(|clause| {
            (std::ptr::from_ref(clause.query.as_ref()), clause.alias.name.value.clone())
        });
        self.open.push(Open { clauses: clauses.collect(), ..Open::default() });
        self.parts.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let parts = self.parts.pop().unwrap_or_default();
        let (Some(done), Some(outer)) = (self.open.pop(), self.open.last_mut()) else {
            return ControlFlow::Continue(());
        };
        let own = outer.clauses.iter().find(|(place, _)| std::ptr::eq(*place, query));
        match own {
            Some((_, name)) => {
                let scans = done.scans.saturating_add(done.bare).max(1);
                outer.counted.push((name.clone(), Size { scans, parts }));
            }
            None => {
                outer.scans = outer.scans.saturating_add(done.scans);
                outer.bare = outer.bare.saturating_add(done.bare);
                self.add(parts);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(open) = self.open.last_mut().filter(|_| select.from.is_empty()) {
            open.bare += 1;
        }
        self.add(grouped(&select.group_by));
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let one = Size { scans: 1, parts: 1 };
        let size = match factor {
            TableFactor::Table { name, .. } => {
                let name = name.to_string().replace('"', "");
                let known = self.open.iter().flat_map(|open| &open.counted);
                // Of names that hide each other or differ in case alone, the worst.
                let same = known.filter(|(clause, _)| clause.eq_ignore_ascii_case(&name));
                let worst = |a: Size, (_, b): &(String, Size)| Size {
                    scans: a.scans.max(b.scans),
                    parts: a.parts.max(b.parts),
                };
                same.fold(one, worst)
            }
            // Their own queries and tables are counted.
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => Size::default(),
            _ => one,
        };
        if let Some(open) = self.open.last_mut() {
            open.scans = open.scans.saturating_add(size.scans);
        }
        self.add(size.parts);
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.parts.push(0);
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let inner = self.parts.pop().unwrap_or_default();
        let own = u64::from(!is_constant(expr));
        self.add(inner.saturating_mul(copies(expr)).saturating_add(own));
        ControlFlow::Continue(())
    }
}

fn is_constant(expr: &Expr) -> bool {
    matches!(expr, Expr::Value(_) | Expr::TypedString(_))
}

/// How often the operands of an expression stand in what it is rewritten to, at most.
fn copies(expr: &Expr) -> u64 {
    match expr {
        Expr::Between { .. } | Expr::IsDistinctFrom(..) | Expr::IsNotDistinctFrom(..) => 2,
        Expr::AnyOp { .. } | Expr::AllOp { .. } => LIST_COPIES,
        Expr::InList { list, .. } => match list.iter().all(is_constant) {
            true => 1,
            false => (list.len() as u64).clamp(1, LIST_COPIES),
        },
        Expr::Function(function) => copies_of(function),
        _ => 1,
    }
}

/// What GROUP BY with CUBE and the like is written out to: so many sets of so many expressions.
fn grouped(group: &GroupByExpr) -> u64 {
    let two_to = |count: usize| 1u64.checked_shl(count as u32).unwrap_or(u64::MAX);
    let of_expr = |expr: &Expr| match expr {
        Expr::Cube(items) => (two_to(items.len()), items.len()),
        Expr::Rollup(items) => (items.len() as u64 + 1, items.len()),
        Expr::GroupingSets(sets) => (sets.len() as u64, sets.iter().map(Vec::len).sum()),
        _ => (1, 1),
    };
    let (exprs, modifiers): (&[Expr], _) = match group {
        GroupByExpr::All(modifiers) => (&[], modifiers),
        GroupByExpr::Expressions(exprs, modifiers) => (exprs, modifiers),
    };
    let (mut sets, mut width) = (1u64, 0);
    for (more, items) in exprs.iter().map(of_expr) {
        (sets, width) = (sets.saturating_mul(more), width + items);
    }
    for modifier in modifiers {
        sets = sets.saturating_mul(match modifier {
            GroupByWithModifier::Cube => two_to(width),
            GroupByWithModifier::Rollup | GroupByWithModifier::Totals => width as u64 + 1,
            GroupByWithModifier::GroupingSets(expr) => of_expr(expr).0,
        });
    }
    if sets == 1 { 0 } else { sets.saturating_mul(width as u64) }
}

/// A list that is longer is searched as one.
const LIST_COPIES: u64 = 64;

fn copies_of(function: &Function) -> u64 {
    let name = function.name.to_string().to_ascii_lowercase();
    match name.as_str() {
        "coalesce" | "ifnull" | "nvl" | "nvl2" | "nullif" => 2,
        "array_has" | "array_contains" | "list_has" | "list_contains" => LIST_COPIES,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser};

    #[test]
    fn clauses_count_as_often_as_they_are_named() {
        let doubled = |levels: usize, join: &str, first: &str| {
            let clauses = (1..=levels).map(|at| {
                let before = at - 1;
                format!("a{at} AS (SELECT 1 AS x FROM a{before} {join} A{before})")
            });
            let clauses: Vec<_> = [format!("a0 AS ({first})")].into_iter().chain(clauses).collect();
            format!("WITH {} SELECT x FROM a{levels}", clauses.join(", "))
        };
        let stored = "SELECT x FROM t";
        for (text, scans) in [
            ("SELECT 1".to_owned(), 0),
            ("SELECT 1 FROM t, u, generate_series(1, 2) WHERE x IN (SELECT y FROM v)".into(), 4),
            ("SELECT 1 FROM (SELECT 1 FROM t JOIN (u JOIN v ON 1 = 1) ON 1 = 1) AS s".into(), 3),
            (
                "WITH a AS (SELECT 1 FROM t, u) SELECT 1 FROM a, a AS b WHERE EXISTS (SELECT 1 FROM a)"
                    .into(),
                6,
            ),
            ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT 1 FROM a) SELECT 1 FROM a".into(), 2),
            ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3".into(), 0),
            ("WITH a AS (SELECT 1 UNION ALL SELECT 2) SELECT 1 FROM a, a AS b".into(), 4),
            ("WITH a AS (VALUES (1), (2)) SELECT 1 FROM a, a AS b".into(), 2),
            ("WITH a AS (SELECT 1 FROM t) SELECT 1 FROM (WITH a AS (SELECT 1 FROM u, v) SELECT 1 FROM a) AS s, a".into(), 3),
            (doubled(3, "CROSS JOIN", stored), 8),
            (doubled(3, "UNION ALL SELECT 1 AS x FROM", stored), 8),
            (doubled(24, "CROSS JOIN", stored), 1 << 24),
            (doubled(24, "CROSS JOIN", "SELECT 1 AS x"), 1 << 24),
            (doubled(24, "CROSS JOIN", "VALUES (1)"), 1 << 24),
            (doubled(70, "UNION ALL SELECT 1 AS x FROM", stored), u64::MAX),
        ] {
            let statements = Parser::parse_sql(&GenericDialect {}, &text).unwrap();
            let datafusion::sql::sqlparser::ast::Statement::Query(query) = &statements[0] else {
                panic!("{text}")
            };
            assert_eq!(of(query).scans, scans, "{text}");
        }
    }
    #[test]
    fn what_is_written_out_twice_counts_twice() {
        let nested = |levels: usize, form: fn(String) -> String| {
            (0..levels).fold("v".to_owned(), |inner, _| form(inner))
        };
        let list = format!("v IN ({})", ["1"; 20_000].join(","));
        for (text, parts) in [
            ("v + 1 > u".to_owned(), 4),
            ("'a'".to_owned(), 0),
            (list, 2),
            (nested(3, |inner| format!("coalesce({inner}, 1)")), 15),
            (nested(3, |inner| format!("({inner} BETWEEN 0 AND 1)")), 22),
            (nested(3, |inner| format!("nvl2({inner}, 1, 2)")), 15),
            (nested(2, |inner| format!("{inner} IN (1, u, w)")), 37),
            ("coalesce((SELECT v FROM t), 1)".into(), 7),
            (nested(45, |inner| format!("IFNULL({inner}, 1)")), (1 << 46) - 1),
            ("(SELECT 1 FROM t GROUP BY CUBE (u, v, w))".into(), 1 + 1 + 24 + 4),
            ("(SELECT 1 FROM t GROUP BY w, ROLLUP (u, v), CUBE (a, b))".into(), 1 + 1 + 60 + 7),
            ("(SELECT 1 FROM t GROUP BY GROUPING SETS ((u, v), (w), ()))".into(), 1 + 1 + 9 + 4),
        ] {
            let mut parser = Parser::new(&GenericDialect {}).try_with_sql(&text).unwrap();
            let expr = parser.parse_expr().unwrap();
            assert_eq!(of(&expr).parts, parts, "{}", &text[..text.len().min(60)]);
        }
    }
}
