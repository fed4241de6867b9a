//! How many scans a plan will have: DataFusion plans a WITH clause anew wherever it is named
//! (apache/datafusion 8777).

use datafusion::sql::sqlparser::ast::{Query, TableFactor, Visit, Visitor};
use std::ops::ControlFlow;

/// Tables and functions that stand in FROM, each as often as it will be planned.
pub(super) fn count(query: &Query) -> u64 {
    let mut counter = Counter { open: vec![Open::default()] };
    let _ = query.visit(&mut counter);
    counter.open.first().map_or(0, |outermost| outermost.scans)
}

struct Counter {
    open: Vec<Open>,
}

/// A query whose parts are being counted.
#[derive(Default)]
struct Open {
    scans: u64,
    /// Queries of the WITH clause, by their place in memory, with their names.
    clauses: Vec<(*const Query, String)>,
    /// Those that are counted already.
    counted: Vec<(String, u64)>,
}

impl Visitor for Counter {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let clauses = query.with.iter().flat_map(|with| &with.cte_tables);
        let clauses = clauses.map(|clause| {
            (std::ptr::from_ref(clause.query.as_ref()), clause.alias.name.value.clone())
        });
        self.open.push(Open { clauses: clauses.collect(), ..Open::default() });
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let (Some(done), Some(outer)) = (self.open.pop(), self.open.last_mut()) else {
            return ControlFlow::Continue(());
        };
        let own = outer.clauses.iter().find(|(place, _)| std::ptr::eq(*place, query));
        match own {
            Some((_, name)) => outer.counted.push((name.clone(), done.scans)),
            None => outer.scans = outer.scans.saturating_add(done.scans),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let scans = match factor {
            TableFactor::Table { name, .. } => {
                let name = name.to_string().replace('"', "");
                let mut known = self.open.iter().rev().flat_map(|open| open.counted.iter().rev());
                known.find(|(clause, _)| *clause == name).map_or(1, |(_, scans)| *scans)
            }
            // Their own queries and tables are counted.
            TableFactor::Derived { .. } | TableFactor::NestedJoin { .. } => 0,
            _ => 1,
        };
        if let Some(open) = self.open.last_mut() {
            open.scans = open.scans.saturating_add(scans);
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion::sql::sqlparser::{dialect::GenericDialect, parser::Parser};

    #[test]
    fn clauses_count_as_often_as_they_are_named() {
        let doubled = |levels: usize, join: &str| {
            let clauses = (1..=levels).map(|at| {
                let before = at - 1;
                format!("a{at} AS (SELECT 1 AS x FROM a{before} {join} a{before})")
            });
            let clauses: Vec<_> =
                ["a0 AS (SELECT x FROM t)".to_owned()].into_iter().chain(clauses).collect();
            format!("WITH {} SELECT x FROM a{levels}", clauses.join(", "))
        };
        for (text, scans) in [
            ("SELECT 1".to_owned(), 0),
            ("SELECT 1 FROM t, u, generate_series(1, 2) WHERE x IN (SELECT y FROM v)".into(), 4),
            ("SELECT 1 FROM (SELECT 1 FROM t JOIN (u JOIN v ON 1 = 1) ON 1 = 1) AS s".into(), 3),
            (
                "WITH a AS (SELECT 1 FROM t, u) SELECT 1 FROM a, a AS b WHERE EXISTS (SELECT 1 FROM a)"
                    .into(),
                6,
            ),
            ("WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT 1 FROM a) SELECT 1 FROM a".into(), 1),
            ("WITH a AS (SELECT 1 FROM t) SELECT 1 FROM (WITH a AS (SELECT 1 FROM u, v) SELECT 1 FROM a) AS s, a".into(), 3),
            (doubled(3, "CROSS JOIN"), 8),
            (doubled(3, "UNION ALL SELECT 1 AS x FROM"), 8),
            (doubled(24, "CROSS JOIN"), 1 << 24),
            (doubled(70, "UNION ALL SELECT 1 AS x FROM"), u64::MAX),
        ] {
            let statements = Parser::parse_sql(&GenericDialect {}, &text).unwrap();
            let datafusion::sql::sqlparser::ast::Statement::Query(query) = &statements[0] else {
                panic!("{text}")
            };
            assert_eq!(count(query), scans, "{text}");
        }
    }
}
