//! `SELECT columns FROM table [WHERE predicate] [LIMIT n]`: rows picked from one table. DataFusion's
//! planner takes longer than such a question takes to answer, so it is bound to the table here.

use crate::{
    Error, QueryOptions, Result,
    answer::{Answer, Stats},
    filter::{Filter, FilterCache},
    parallel,
    plan::Order,
    relation::{Origin, Relation},
    watch::Watch,
};
use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use datafusion::sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, LimitClause, ObjectName, ObjectNamePart, OrderBy, OrderByExpr,
    OrderByKind, Query, Select, SelectFlavor, SelectItem, SetExpr, Statement, TableFactor,
    TableWithJoins, Value, WildcardAdditionalOptions,
};
use oribi_model::{Block, ColumnRead, ReadPath, RowsWanted, ScanSpec, Table, name::TIME_COLUMN};
use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Rows of one table.
pub(crate) struct Plain {
    pub(super) table: Arc<Table>,
    /// Columns of the answer.
    pub(super) relation: Relation,
    pub(super) filter: Arc<Filter>,
    limit: Option<usize>,
    /// By time; there is a limit then.
    order: Option<Order>,
}

impl Plain {
    /// The statement in this form; `None` where it is anything else, or wrong, so that DataFusion
    /// answers it or says what is wrong.
    pub(super) fn recognise(
        statement: &Statement,
        db: &str,
        read: &dyn ReadPath,
        filters: &FilterCache,
        options: &QueryOptions,
    ) -> Option<Plain> {
        let Statement::Query(query) = statement else { return None };
        let (select, order, limit) = only_select(query)?;
        let (projection, name, selection) = only_columns(select)?;
        let table = find(name, db, read)?;
        let relation = project(&Relation::of(&table), projection)?;
        let filter = match selection {
            Some(predicate) => filters.get(&predicate.to_string(), &table, options).ok()?,
            None => Arc::new(Filter::default()),
        };
        let order = match order {
            Some(order) => Some(by_time(order, &relation).filter(|_| limit.is_some())?),
            None => None,
        };
        Some(Plain { table, relation, filter, limit, order })
    }

    /// The order asked, which is that of the event time, and the limit, without which it is not
    /// recognised.
    pub(super) fn by_time(&self) -> Option<(Order, usize)> {
        self.order.zip(self.limit)
    }

    /// The rows, by tablet, series and time.
    ///
    /// # Errors
    /// A limit of the query, or a predicate that fails on a row.
    pub(super) fn answer(
        &self,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Arc<Watch>,
    ) -> Result<Answer> {
        let spec = self.spec(watch);
        let mut parts = Vec::new();
        if !spec.time.is_empty() && self.limit != Some(0) {
            let tablets = read.scan(self.table.id, &spec, options.threads())?;
            parts.extend(tablets.into_iter().flat_map(|tablet| tablet.parts));
            watch.check()?;
        }
        let held = Held::default();
        let take = |picked: &mut Vec<(usize, RecordBatch)>, part: usize, block: Block| {
            let block = self.filter.apply(block, &spec.columns)?;
            if block.rows() > 0 {
                let batch = self.relation.batch(&block, &spec.columns);
                let batch = batch.map_err(|error| Error::Internal { detail: error.to_string() })?;
                picked.push((part, batch));
                return held.grow(&block, &self.relation, self.limit, options);
            }
            Ok(ControlFlow::Continue(()))
        };
        let picked = parallel::fold(parts, options.sharing(), watch, Vec::new, take)?;
        let mut picked: Vec<_> = picked.into_iter().flatten().collect();
        picked.sort_by_key(|(part, _)| *part);
        let mut batches: Vec<_> = picked.into_iter().map(|(_, batch)| batch).collect();
        if let Some(limit) = self.limit {
            cut(&mut batches, limit);
        }
        let (schema, stats) = (self.relation.schema.clone(), Stats::default());
        Ok(Answer { schema, batches, stats })
    }

    /// What has to be read.
    pub(super) fn spec(&self, watch: &Arc<Watch>) -> ScanSpec {
        let mut columns = self.relation.reads();
        for field in &self.filter.fields {
            if columns.iter().all(|read| read.id != field.id) {
                columns.push(ColumnRead { id: field.id, column_type: field.column_type });
            }
        }
        let (time, series) = (self.filter.time, self.filter.series(watch));
        ScanSpec { columns, time, series, rows: RowsWanted::All }
    }
}

/// What all threads have picked so far.
#[derive(Default)]
struct Held {
    rows: AtomicUsize,
    bytes: AtomicUsize,
}

impl Held {
    fn grow(
        &self,
        block: &Block,
        relation: &Relation,
        limit: Option<usize>,
        options: &QueryOptions,
    ) -> Result<ControlFlow<()>> {
        /// A time, a view of a tag, or a number: what a cell holds at least.
        const CELL_BYTES: usize = 16;
        let fields: usize = block.columns.iter().map(oribi_model::ColumnValues::bytes).sum();
        let bytes = fields + block.rows() * relation.origins.len() * CELL_BYTES;
        let rows = self.rows.fetch_add(block.rows(), Ordering::Relaxed) + block.rows();
        let bytes = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if limit.is_some_and(|limit| rows >= limit) {
            return Ok(ControlFlow::Break(()));
        }
        let over = |name, limit| Err(Error::AnswerLimit { name, limit: limit as u64 });
        if rows > options.answer_rows_max {
            return over("answer_rows_max", options.answer_rows_max);
        }
        if bytes > options.memory_bytes_max {
            let memory_bytes_max = options.memory_bytes_max;
            return Err(Error::MemoryLimit { memory_bytes_max });
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// The SELECT of a query that is nothing else, its order and its limit. Whatever the parser may come to read
/// besides must be named here before this compiles again.
fn only_select(query: &Query) -> Option<(&Select, Option<&OrderBy>, Option<usize>)> {
    let Query {
        with: None,
        body,
        order_by,
        limit_clause,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    let SetExpr::Select(select) = body.as_ref() else { return None };
    let plain = locks.is_empty() && pipe_operators.is_empty();
    plain.then_some(())?;
    Some((select, order_by.as_ref(), limit(limit_clause.as_ref())?))
}

/// The order, where it is that of the event time.
fn by_time(order: &OrderBy, relation: &Relation) -> Option<Order> {
    let OrderBy { kind: OrderByKind::Expressions(by), interpolate: None } = order else {
        return None;
    };
    let [OrderByExpr { expr: Expr::Identifier(column), options, with_fill: None }] = by.as_slice()
    else {
        return None;
    };
    // Under the name of the time the answer may have another column.
    let own = relation.schema.index_of(TIME_COLUMN).ok().map(|at| relation.origins[at]);
    if column.value != TIME_COLUMN || own.is_some_and(|own| own != Origin::Time) {
        return None;
    }
    match options.asc {
        Some(false) => Some(Order::Descending),
        _ => Some(Order::Ascending),
    }
}

/// Columns, table and predicate of a SELECT that has nothing else.
fn only_columns(select: &Select) -> Option<(&[SelectItem], &ObjectName, Option<&Expr>)> {
    let Select {
        select_token: _,
        optimizer_hints,
        distinct: None,
        select_modifiers: None,
        top: None,
        top_before_distinct: _,
        projection,
        exclude: None,
        into: None,
        from,
        lateral_views,
        prewhere: None,
        selection,
        connect_by,
        group_by: GroupByExpr::Expressions(group_by, group_modifiers),
        cluster_by,
        distribute_by,
        sort_by,
        having: None,
        named_window,
        qualify: None,
        window_before_qualify: _,
        value_table_mode: None,
        flavor: SelectFlavor::Standard,
    } = select
    else {
        return None;
    };
    let plain = optimizer_hints.is_empty()
        && lateral_views.is_empty()
        && connect_by.is_empty()
        && group_by.is_empty()
        && group_modifiers.is_empty()
        && cluster_by.is_empty()
        && distribute_by.is_empty()
        && sort_by.is_empty()
        && named_window.is_empty();
    let [TableWithJoins { relation, joins }] = from.as_slice() else { return None };
    let TableFactor::Table {
        name,
        alias: None,
        args: None,
        with_hints,
        version: None,
        with_ordinality: false,
        partitions,
        json_path: None,
        sample: None,
        index_hints,
    } = relation
    else {
        return None;
    };
    let alone = joins.is_empty()
        && with_hints.is_empty()
        && partitions.is_empty()
        && index_hints.is_empty();
    (plain && alone).then_some((projection.as_slice(), name, selection.as_ref()))
}

/// The limit, if there is one; `None` where it is more than a number.
fn limit(clause: Option<&LimitClause>) -> Option<Option<usize>> {
    match clause {
        None => Some(None),
        Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by })
            if limit_by.is_empty() =>
        {
            let Expr::Value(value) = limit else { return None };
            match &value.value {
                Value::Number(number, _) => number.parse().ok().map(Some),
                _ => None,
            }
        }
        Some(_) => None,
    }
}

fn find(name: &ObjectName, db: &str, read: &dyn ReadPath) -> Option<Arc<Table>> {
    let part = |part: &ObjectNamePart| match part {
        ObjectNamePart::Identifier(ident) => Some(ident.value.clone()),
        _ => None,
    };
    let parts: Vec<String> = name.0.iter().map(part).collect::<Option<_>>()?;
    match parts.as_slice() {
        [table] => read.table(db, table),
        [db, table] => read.table(db, table),
        _ => None,
    }
}

/// The columns asked for, under the names asked for; `None` for anything but columns that exist,
/// and for names that stand twice.
fn project(whole: &Relation, items: &[SelectItem]) -> Option<Relation> {
    if let [SelectItem::Wildcard(options)] = items {
        let WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike: None,
            opt_exclude: None,
            opt_except: None,
            opt_replace: None,
            opt_rename: None,
            opt_alias: None,
        } = options
        else {
            return None;
        };
        return Some(whole.clone());
    }
    let column = |item: &SelectItem| -> Option<(usize, String)> {
        let place = |ident: &Ident| whole.schema.index_of(&ident.value).ok();
        match item {
            SelectItem::UnnamedExpr(Expr::Identifier(ident)) => {
                Some((place(ident)?, ident.value.clone()))
            }
            SelectItem::ExprWithAlias { expr: Expr::Identifier(ident), alias } => {
                Some((place(ident)?, alias.value.clone()))
            }
            _ => None,
        }
    };
    let columns: Vec<(usize, String)> = items.iter().map(column).collect::<Option<_>>()?;
    let twice = |(at, (place, name)): (usize, &(usize, String))| {
        columns[..at].iter().any(|other| other.1 == *name || other.0 == *place)
    };
    if columns.iter().enumerate().any(twice) {
        return None;
    }
    let fields: Vec<Field> = columns
        .iter()
        .map(|(place, name)| whole.schema.field(*place).clone().with_name(name))
        .collect();
    let origins: Vec<Origin> = columns.iter().map(|(place, _)| whole.origins[*place]).collect();
    Some(Relation { schema: Arc::new(Schema::new(fields)), origins })
}

/// Keeps the first so many rows.
fn cut(batches: &mut Vec<RecordBatch>, limit: usize) {
    let mut left = limit;
    for batch in batches.iter_mut() {
        if batch.num_rows() > left {
            *batch = batch.slice(0, left);
        }
        left -= batch.num_rows();
    }
    batches.retain(|batch| batch.num_rows() > 0);
}

/// A fault of the predicate as one of the SQL that holds it.
pub(super) fn as_sql(error: Error) -> Error {
    match error {
        Error::Parameter { detail, .. } => Error::Sql { detail },
        error => error,
    }
}
