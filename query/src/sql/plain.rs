//! `SELECT columns FROM table [WHERE predicate] [LIMIT n]`: rows picked from one table. DataFusion's
//! planner takes longer than such a question takes to answer, so it is bound to the table here.

use super::picked;
use crate::{
    Error, QueryOptions, Result,
    answer::Stats,
    elsewhere::Picking,
    filter::{Filter, FilterCache},
    guard, parallel,
    question::Order,
    relation::{Origin, Relation},
    target::Out,
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
use std::{ops::ControlFlow, sync::Arc};

/// Of the memory of a query, rows that are read ahead of those that are written take one part in so
/// many.
const AHEAD_SHARE: usize = 4;

/// Rows of one table.
pub(crate) struct Plain {
    pub(super) table: Arc<Table>,
    /// Columns of the answer.
    pub(super) relation: Relation,
    pub(super) filter: Arc<Filter>,
    limit: Option<usize>,
    /// By time; there is a limit then.
    order: Option<Order>,
    /// In whose words that was asked; `None` where they mean another thing elsewhere.
    picking: Option<Picking>,
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
        Some(Plain { table, relation, filter, limit, order, picking: None })
    }

    /// The same, in the words in which it was asked.
    pub(super) fn asked_by(self, db: &str, text: &str) -> Plain {
        // Each node has a present, and chances, of its own.
        let is_lasting = guard::is_lasting(text);
        // Without a condition on fields or a limit, all that is read has to travel anyway.
        let leaves_some = !self.filter.is_of_series() || self.limit.is_some();
        let is_worth_it = leaves_some && self.order.is_none();
        let (table, schema) = (self.table.id.0, self.table.schema.version);
        let picking = Picking { table, schema, db: db.to_owned(), text: text.to_owned() };
        Plain { picking: (is_lasting && is_worth_it).then_some(picking), ..self }
    }

    /// The statement for other nodes, where it means the same there.
    pub(super) fn picking(&self) -> Option<&Picking> {
        self.picking.as_ref()
    }

    /// The order asked, which is that of the event time, and the limit, without which it is not
    /// recognised.
    pub(super) fn by_time(&self) -> Option<(Order, usize)> {
        self.order.zip(self.limit)
    }

    /// Writes the rows, by tablet, series and time, as they are read.
    ///
    /// # Errors
    /// A limit of the query, or a predicate that fails on a row.
    pub(super) fn answer(
        &self,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Arc<Watch>,
        out: &mut Out<'_>,
    ) -> Result<Stats> {
        let places = read.places(self.table.id, self.filter.time);
        let here = read.without_places();
        let picked =
            picked::of_places((self.picking(), &self.relation.schema), &places, read, watch)?;
        out.begin(&self.relation.schema)?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        let mut take = |batch: RecordBatch| {
            let rows = batch.num_rows().min(left);
            left -= rows;
            out.rows(batch.slice(0, rows))?;
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        };
        let (rest, read) = match (picked, &here) {
            (Some(picked), Some(here)) => (picked, &**here),
            _ => (Vec::new(), read),
        };
        for batch in rest {
            if take(batch)?.is_break() {
                return Ok(Stats::default());
            }
        }
        self.pick(read, options, watch, take)
    }

    /// All rows, held at once.
    pub(super) fn collect(
        &self,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Arc<Watch>,
    ) -> Result<Vec<RecordBatch>> {
        let (mut batches, mut left) = (Vec::new(), self.limit.unwrap_or(usize::MAX));
        self.pick(read, options, watch, |batch: RecordBatch| {
            let batch = batch.slice(0, batch.num_rows().min(left));
            left -= batch.num_rows();
            watch.grow(batch.get_array_memory_size())?;
            batches.push(batch);
            Ok(if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        Ok(batches)
    }

    /// Gives the rows to `take`, by tablet, series and time, as they are read.
    fn pick(
        &self,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Arc<Watch>,
        take: impl FnMut(RecordBatch) -> Result<ControlFlow<()>>,
    ) -> Result<Stats> {
        let spec = self.spec(watch);
        if spec.time.is_empty() || self.limit == Some(0) {
            return Ok(Stats::default());
        }
        let tablets = read.scan(self.table.id, &spec, options.threads())?;
        watch.check()?;
        let parts = tablets.into_iter().flat_map(|tablet| tablet.parts).collect();
        let make = |block: Block| {
            let block = self.filter.apply(block, &spec.columns)?;
            let batch = self.relation.batch(&block, &spec.columns);
            let batch = batch.map_err(|error| Error::Internal { detail: error.to_string() })?;
            let bytes = batch.get_array_memory_size();
            Ok((batch, bytes))
        };
        let ahead_bytes_max = options.memory_bytes_max / AHEAD_SHARE;
        parallel::in_order(parts, options.sharing(), ahead_bytes_max, watch, make, take)?;
        Ok(Stats::default())
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
