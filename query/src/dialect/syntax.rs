//! What the tree of an SQL text says, before anything is planned: what is refused by name, what
//! was parsed against the standard, and how many scans a plan will have.

mod distinct;
mod size;

use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArguments, JoinConstraint, JoinOperator, NullTreatment, Query, Select,
    SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor, Visit, VisitMut, Visitor,
    VisitorMut,
};
use size::Size;
use std::ops::ControlFlow;

/// Refuses what would be ignored, answered wrongly or multiply without end, and mends what the
/// parser reads against the standard.
///
/// # Errors
/// Names what is refused, and says what to write instead.
pub(crate) fn check_query(query: &mut Query, scans_max: usize) -> Result<(), String> {
    let Size { scans, parts } = size::of(query);
    if scans > scans_max as u64 {
        return Err(format!(
            "the SQL reads tables {scans} times, WITH clauses multiplied by their uses; expected \
             at most sql_scans_max = {scans_max}"
        ));
    }
    check_parts(parts)?;
    settle(query)
}

/// Expressions of a plan, at most.
const PARTS_MAX: u64 = 20_000;

fn check_parts(parts: u64) -> Result<(), String> {
    if parts <= PARTS_MAX {
        return Ok(());
    }
    Err(format!(
        "the SQL grows to {parts} expressions, WITH clauses multiplied by their uses, and COALESCE, \
         BETWEEN, IS DISTINCT FROM and the like within each other and the items of CUBE by two; \
         expected at most {PARTS_MAX}"
    ))
}

/// The same for a predicate, which must have rows of its own table alone.
///
/// # Errors
/// As [`check_query`].
pub(crate) fn settle_predicate(predicate: &mut Expr) -> Result<(), String> {
    if let ControlFlow::Break(found) = Visit::visit(predicate, &mut OfOneRow) {
        return Err(format!("{found} cannot stand here; {PREDICATE}"));
    }
    check_parts(size::of(predicate).parts)?;
    settle(predicate)
}

const PREDICATE: &str = "expected a condition on the columns of one row, such as site = 'north' \
    AND temperature > 20";

fn settle<T: VisitMut>(tree: &mut T) -> Result<(), String> {
    match VisitMut::visit(tree, &mut Settle) {
        ControlFlow::Break(refusal) => Err(refusal),
        ControlFlow::Continue(()) => Ok(()),
    }
}

/// Finds what a condition on one row cannot hold.
struct OfOneRow;

impl Visitor for OfOneRow {
    type Break = String;

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<String> {
        ControlFlow::Break(format!("the subquery ({})", shown(query)))
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) if function.over.is_some() => {
                ControlFlow::Break(format!("the window function {}", shown(function)))
            }
            Expr::Function(function) if is_aggregate(function) => {
                ControlFlow::Break(format!("the aggregate {}", shown(function)))
            }
            Expr::Wildcard(_) | Expr::QualifiedWildcard(..) => ControlFlow::Break("*".into()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn is_aggregate(function: &Function) -> bool {
    let name = function.name.to_string().to_ascii_lowercase();
    crate::functions::session_state().aggregate_functions().contains_key(&name)
}

/// Some text of a tree.
fn shown(tree: &impl std::fmt::Display) -> String {
    const CHARS_MAX: usize = 80;
    let text = tree.to_string();
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

struct Settle;

impl VisitorMut for Settle {
    type Break = String;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<String> {
        let Query {
            with: _,
            body,
            order_by: _,
            limit_clause: _,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators: _,
        } = query;
        let ignored = [
            (fetch.is_some(), "FETCH: LIMIT says the same"),
            (!locks.is_empty(), "FOR UPDATE and FOR SHARE: nothing is locked here"),
            (for_clause.is_some(), "FOR XML, FOR JSON and the like"),
            (settings.is_some(), "SETTINGS"),
            (format_clause.is_some(), "FORMAT: the parameter format chooses it"),
            (matches!(body.as_ref(), SetExpr::Table(_)), "TABLE: SELECT * FROM says the same"),
            (counts_copies(body), "INTERSECT ALL and EXCEPT ALL: without ALL, or by row_number()"),
        ];
        refuse(&ignored)
    }

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<String> {
        for join in select.from.iter().flat_map(|from| &from.joins) {
            if loses_keys(&join.join_operator) {
                return ControlFlow::Break(
                    "RIGHT and FULL JOIN with USING, or NATURAL, is not answered here: expected \
                     ON a.k = b.k, and coalesce(a.k, b.k) for the merged column"
                        .into(),
                );
            }
        }
        let ignored = [
            (
                select.projection.iter().any(picks_by_name),
                "ILIKE or AS behind a star: the columns' names do",
            ),
            (select.into.is_some(), "INTO: nothing is written here"),
            (select.top.is_some(), "TOP: LIMIT says the same"),
            (!select.lateral_views.is_empty(), "LATERAL VIEW"),
            (select.prewhere.is_some(), "PREWHERE"),
            (!select.connect_by.is_empty(), "CONNECT BY"),
            (!select.cluster_by.is_empty(), "CLUSTER BY"),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
            (!select.sort_by.is_empty(), "SORT BY"),
            (select.value_table_mode.is_some(), "AS STRUCT and AS VALUE"),
            (select.select_modifiers.is_some(), "modifiers of SELECT"),
        ];
        refuse(&ignored)
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<String> {
        let ignored = match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => vec![
                (sample.is_some(), SAMPLE),
                (version.is_some(), "a table as of another time"),
                (!with_hints.is_empty() || !index_hints.is_empty(), "hints"),
                (!partitions.is_empty(), "PARTITION"),
                (*with_ordinality, "WITH ORDINALITY"),
                (json_path.is_some(), "a path in a table's name"),
            ],
            TableFactor::Derived { sample, .. } => vec![(sample.is_some(), SAMPLE)],
            _ => Vec::new(),
        };
        refuse(&ignored)
    }

    fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        match expr {
            Expr::Function(function) if skips_nulls_wrongly(function) => ControlFlow::Break(
                "lead and lag with IGNORE NULLS are not answered here: expected them over a \
                 subquery that leaves the nulls out"
                    .into(),
            ),
            _ => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<String> {
        distinct::settle(expr);
        ControlFlow::Continue(())
    }
}

const SAMPLE: &str = "TABLESAMPLE: WHERE random() < 0.1 takes a tenth";

fn refuse(ignored: &[(bool, &str)]) -> ControlFlow<String> {
    match ignored.iter().find(|(stands_there, _)| *stands_there) {
        Some((_, what)) => ControlFlow::Break(format!("not answered here is {what}")),
        None => ControlFlow::Continue(()),
    }
}

/// DataFusion takes all columns.
fn picks_by_name(item: &SelectItem) -> bool {
    match item {
        SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) => {
            options.opt_ilike.is_some() || options.opt_alias.is_some()
        }
        _ => false,
    }
}

/// DataFusion joins the two sides, which does not count how often a row stands on the other.
fn counts_copies(body: &SetExpr) -> bool {
    match body {
        SetExpr::SetOperation { left, op, set_quantifier, right } => {
            let plain = matches!(set_quantifier, SetQuantifier::None | SetQuantifier::Distinct);
            let own = !plain && *op != SetOperator::Union;
            own || counts_copies(left) || counts_copies(right)
        }
        _ => false,
    }
}

/// DataFusion takes the left side's key, which is null where the left side has no row
/// (apache/datafusion 22881).
fn loses_keys(operator: &JoinOperator) -> bool {
    match operator {
        JoinOperator::Right(constraint)
        | JoinOperator::RightOuter(constraint)
        | JoinOperator::FullOuter(constraint) => {
            matches!(constraint, JoinConstraint::Using(_) | JoinConstraint::Natural)
        }
        _ => false,
    }
}

/// apache/datafusion 25471.
fn skips_nulls_wrongly(function: &Function) -> bool {
    let name = function.name.to_string();
    let clauses = match &function.args {
        FunctionArguments::List(list) => list.clauses.as_slice(),
        _ => &[],
    };
    use datafusion::sql::sqlparser::ast::FunctionArgumentClause::IgnoreOrRespectNulls;
    let ignores = function.null_treatment == Some(NullTreatment::IgnoreNulls)
        || clauses.contains(&IgnoreOrRespectNulls(NullTreatment::IgnoreNulls));
    ignores && ["lead", "lag"].iter().any(|one| name.eq_ignore_ascii_case(one))
}
