//! How many scans a plan will have: DataFusion plans a WITH clause anew wherever it is named
//! (apache/datafusion 8777).

use datafusion::sql::sqlparser::ast::{Query, Select, TableFactor, Visit, Visitor};
use std::ops::ControlFlow;

/// Tables and functions that stand in FROM, each as often as it will be planned; in a WITH clause
/// a SELECT without any is as much work.
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
    /// SELECTs that read nothing.
    bare: u64,
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
            Some((_, name)) => {
                let scans = done.scans.saturating_add(done.bare).max(1);
                outer.counted.push((name.clone(), scans));
            }
            None => {
                outer.scans = outer.scans.saturating_add(done.scans);
                outer.bare = outer.bare.saturating_add(done.bare);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        if let Some(open) = self.open.last_mut().filter(|_| select.from.is_empty()) {
            open.bare += 1;
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        let scans = match factor {
            TableFactor::Table { name, .. } => {
                let name = name.to_string().replace('"', "");
                let known = self.open.iter().flat_map(|open| &open.counted);
                // Of names that hide each other or differ in case alone, the worst.
                let same = known.filter(|(clause, _)| clause.eq_ignore_ascii_case(&name));
                same.map(|(_, scans)| *scans).max().unwrap_or(1)
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
            assert_eq!(count(query), scans, "{text}");
        }
    }
}
