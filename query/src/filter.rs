//! `where`: split into a time range, a condition on series, and the rest.

use crate::{
    Error, QueryOptions, Result, dialect,
    error::AskedBy,
    functions, guard,
    pushdown::{self, Pushed},
    relation::Relation,
    watch::Watch,
};
use arrow_array::{
    Array, BooleanArray, RecordBatch,
    cast::AsArray,
    types::{Float64Type, Int64Type},
};
use arrow_select::filter::FilterBuilder;
use datafusion::{
    common::{DFSchema, DataFusionError},
    logical_expr::{Expr, ExprSchemable, simplify::SimplifyContext, utils::conjunction},
    optimizer::simplify_expressions::ExprSimplifier,
    physical_plan::PhysicalExpr,
};
use oribi_model::{
    Block, Column, ColumnKind, ColumnRead, ColumnValues, Run, SeriesFilter, SeriesKey, Table,
    TableId, TagPredicate, TimeRange,
};
use parking_lot::Mutex;
use std::{collections::HashMap, sync::Arc};

/// Which rows are wanted.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    /// Times wanted.
    pub(crate) time: TimeRange,
    /// Series wanted, in the form that tells them by their tags.
    tags: TagPredicate,
    /// What else a series is asked.
    series: Option<Arc<Residual>>,
    /// Fields that the rest reads.
    pub(crate) fields: Vec<Column>,
    residual: Option<Residual>,
}

/// A predicate on rows, evaluated on arrays.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    relation: Relation,
    predicate: Arc<dyn PhysicalExpr>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            time: TimeRange::ALL,
            tags: TagPredicate::Always,
            series: None,
            fields: Vec::new(),
            residual: None,
        }
    }
}

/// Filters of earlier questions, which dashboards ask again and again.
#[derive(Default)]
pub(crate) struct FilterCache(Mutex<Filters>);

#[derive(Default)]
struct Filters {
    by_text: HashMap<(TableId, u32, String), Arc<Filter>>,
    text_bytes: usize,
}

impl FilterCache {
    /// The filter of `text`, parsed at most once for each schema.
    pub(crate) fn get(
        &self,
        text: &str,
        table: &Table,
        options: &QueryOptions,
    ) -> Result<Arc<Filter>> {
        const FILTERS_MAX: usize = 256;
        /// Of all texts; what a filter holds is a few times as much.
        const TEXT_BYTES_MAX: usize = 1 << 20;
        // What depends on the present is another filter each time.
        if !guard::is_lasting(text) || text.len() > TEXT_BYTES_MAX {
            return Filter::parse("where", text, table, options);
        }
        let key = (table.id, table.schema.version, text.to_owned());
        if let Some(filter) = self.0.lock().by_text.get(&key) {
            return Ok(filter.clone());
        }
        let filter = Filter::parse("where", text, table, options)?;
        let mut filters = self.0.lock();
        if filters.by_text.len() >= FILTERS_MAX || filters.text_bytes + text.len() > TEXT_BYTES_MAX
        {
            *filters = Filters::default();
        }
        if filters.by_text.insert(key, filter.clone()).is_none() {
            filters.text_bytes += text.len();
        }
        Ok(filter)
    }
}

impl Filter {
    /// Parses an SQL predicate over the columns of `table`.
    pub(crate) fn parse(
        parameter: &str,
        text: &str,
        table: &Table,
        options: &QueryOptions,
    ) -> Result<Arc<Filter>> {
        let relation = Relation::of(table);
        let expr = parse_predicate(parameter, text, &relation, options)?;
        let pushed = pushdown::split([&expr], &relation);
        let asked = AskedBy::Parameter(parameter);
        let refuse = |error| Error::from_datafusion(asked, &error, options.memory_bytes_max);
        let series = series_residual(&pushed, &relation).map_err(refuse)?;
        let (time, tags) = (pushed.time, pushed.tags);
        let mut filter = Filter { time, tags, series, ..Filter::default() };
        if let Some(rest) = conjunction(pushed.rest) {
            let residual = Residual::new(&rest, &relation).map_err(refuse)?;
            let reads = residual.relation.reads();
            filter.fields = table
                .schema
                .fields()
                .filter(|field| reads.iter().any(|read| read.id == field.id))
                .cloned()
                .collect();
            filter.residual = Some(residual);
        }
        Ok(Arc::new(filter))
    }

    /// The series wanted by the query of `watch`.
    pub(crate) fn series(&self, watch: &Arc<Watch>) -> SeriesFilter {
        series_filter(self.tags.clone(), self.series.clone(), watch)
    }

    /// Whether times and series decide alone, so that no row is looked at.
    pub(crate) fn is_of_series(&self) -> bool {
        self.residual.is_none()
    }

    /// The rows of `block` that the rest of the predicate wants.
    pub(crate) fn apply(&self, block: Block, scan_columns: &[ColumnRead]) -> Result<Block> {
        let Some(residual) = &self.residual else { return Ok(block) };
        let mask = residual.mask(&block, scan_columns).map_err(failed)?;
        if mask.true_count() == block.rows() {
            return Ok(block);
        }
        select_rows(&block, &mask).map_err(|error| failed(error.into()))
    }
}

/// Parses text into a predicate with types settled and constants folded.
pub(crate) fn parse_predicate(
    parameter: &str,
    text: &str,
    relation: &Relation,
    options: &QueryOptions,
) -> Result<Expr> {
    let wrong = |detail| Error::parameter(parameter, detail);
    guard::check(text, options).map_err(wrong)?;
    let state = functions::session_state();
    let asked = AskedBy::Parameter(parameter);
    let refuse = |error| Error::from_datafusion(asked, &error, options.memory_bytes_max);
    let sql = &state.config().options().sql_parser.dialect;
    let mut tree = state.sql_to_expr_with_alias(text, sql).map_err(refuse)?;
    dialect::settle_predicate(&mut tree.expr).map_err(wrong)?;
    let parse = || -> Result<Expr, DataFusionError> {
        let schema = DFSchema::try_from(relation.schema.as_ref().clone())?;
        let expr = state.create_logical_expr_from_sql_expr(tree, &schema)?;
        let expr = dialect::of_types(expr, &schema)?;
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(state.config_options()))
            .with_current_time()
            .build();
        let simplifier = ExprSimplifier::new(context);
        let expr = dialect::in_predicate(simplifier.coerce(expr, &schema)?, &schema)?;
        let expr = simplifier.simplify(expr)?;
        let data_type = expr.get_type(&schema)?;
        if !matches!(data_type, arrow_schema::DataType::Boolean | arrow_schema::DataType::Null) {
            return Err(DataFusionError::Plan(format!(
                "the predicate is of type {data_type}; expected a condition such as site = 'north'"
            )));
        }
        Ok(expr)
    };
    parse().map_err(refuse)
}

/// What a series is asked besides the plain conditions on its tags.
pub(crate) fn series_residual(
    pushed: &Pushed,
    relation: &Relation,
) -> Result<Option<Arc<Residual>>, DataFusionError> {
    let other = conjunction(pushed.series.clone());
    other.map(|other| Residual::new(&other, relation).map(Arc::new)).transpose()
}

/// The series wanted. A predicate that fails on one, as by a division, fails the query of `watch`.
pub(crate) fn series_filter(
    tags: TagPredicate,
    residual: Option<Arc<Residual>>,
    watch: &Arc<Watch>,
) -> SeriesFilter {
    if residual.is_none() && tags == TagPredicate::Always {
        return SeriesFilter::All;
    }
    let watch = watch.clone();
    // Among many series the looking itself takes time.
    let test = move |series: &SeriesKey| {
        let wanted = watch.check().and_then(|()| match &residual {
            Some(residual) => residual.wants(series).map_err(failed),
            None => Ok(true),
        });
        wanted.unwrap_or_else(|error| {
            watch.fail(error);
            false
        })
    };
    SeriesFilter::of(tags, Some(Arc::new(test)))
}

fn failed(error: DataFusionError) -> Error {
    match Error::from_datafusion(AskedBy::Parameter("where"), &error, 0) {
        Error::MemoryLimit { .. } => Error::parameter("where", error.strip_backtrace()),
        other => other,
    }
}

impl Residual {
    fn new(expr: &Expr, relation: &Relation) -> Result<Residual, DataFusionError> {
        let names = expr.column_refs();
        let places: Vec<usize> = (0..relation.origins.len())
            .filter(|at| names.iter().any(|name| name.name == *relation.schema.field(*at).name()))
            .collect();
        let relation = relation.project(&places);
        let schema = DFSchema::try_from(relation.schema.as_ref().clone())?;
        let state = functions::session_state();
        let predicate = state.create_physical_expr(pushdown::unqualified(expr)?, &schema)?;
        Ok(Residual { relation, predicate })
    }

    fn mask(&self, block: &Block, scanned: &[ColumnRead]) -> Result<BooleanArray, DataFusionError> {
        let batch: RecordBatch = self.relation.batch(block, scanned)?;
        let mask = self.predicate.evaluate(&batch)?.into_array(batch.num_rows())?;
        Ok(match mask.as_boolean_opt() {
            Some(mask) if mask.null_count() == 0 => mask.clone(),
            Some(mask) => arrow_select::filter::prep_null_mask_filter(mask),
            None => BooleanArray::from(vec![false; block.rows()]),
        })
    }

    fn wants(&self, series: &SeriesKey) -> Result<bool, DataFusionError> {
        let block = Block {
            runs: vec![Run { series: series.clone(), rows: 1 }],
            times: vec![0].into(),
            columns: Vec::new(),
        };
        Ok(self.mask(&block, &[])?.value(0))
    }
}

pub(crate) fn select_rows(
    block: &Block,
    mask: &BooleanArray,
) -> Result<Block, arrow_schema::ArrowError> {
    let rows = FilterBuilder::new(mask).optimize().build();
    let keep = |array: &dyn Array| rows.filter(array);
    let times = keep(&arrow_array::Int64Array::new(block.times.clone(), None))?;
    let columns = block
        .columns
        .iter()
        .map(|column| {
            let kept = keep(column.as_array())?;
            Ok(match column {
                ColumnValues::Int(_) => ColumnValues::Int(kept.as_primitive::<Int64Type>().clone()),
                ColumnValues::Float(_) => {
                    ColumnValues::Float(kept.as_primitive::<Float64Type>().clone())
                }
                ColumnValues::Bool(_) => ColumnValues::Bool(kept.as_boolean().clone()),
                ColumnValues::Text(_) => ColumnValues::Text(kept.as_string::<i32>().clone()),
            })
        })
        .collect::<Result<Vec<_>, arrow_schema::ArrowError>>()?;
    let runs = block
        .runs()
        .map(|(series, rows)| Run {
            series: series.clone(),
            rows: mask.values().slice(rows.start, rows.len()).count_set_bits(),
        })
        .filter(|run| run.rows > 0)
        .collect();
    Ok(Block { runs, times: times.as_primitive::<Int64Type>().values().clone(), columns })
}

/// A predicate over tags and time alone, in the form that a delete stores.
///
/// # Errors
/// [`Error::Parameter`] for anything but `= != <> IN, NOT IN, IS NULL, AND, OR, NOT` over tags
/// and comparisons of `time` at the top level.
pub fn tag_predicate(
    text: &str,
    table: &Table,
    options: &QueryOptions,
) -> Result<(Option<TimeRange>, TagPredicate)> {
    if table.schema.columns.iter().all(|column| column.kind != ColumnKind::Tag)
        && text.trim().is_empty()
    {
        return Ok((None, TagPredicate::Always));
    }
    /// Enough for as many operators as the guard lets through.
    const STACK_BYTES: usize = 32 << 20;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let parsing = thread.spawn_scoped(scope, || split_tags(text, table, options));
        let parsed = parsing.map_err(|error| error.to_string()).and_then(|parsing| {
            parsing.join().map_err(|_| "the parsing thread panicked".to_owned())
        });
        parsed.map_err(|detail| Error::Internal { detail })?
    })
}

fn split_tags(
    text: &str,
    table: &Table,
    options: &QueryOptions,
) -> Result<(Option<TimeRange>, TagPredicate)> {
    let relation = Relation::of(table);
    let expr = parse_predicate("where", text, &relation, options)?;
    let pushed = pushdown::split([&expr], &relation);
    if let Some(other) = pushed.series.first().or(pushed.rest.first()) {
        let detail = format!(
            "{other} cannot decide what to delete; expected conditions on tags with = != <> IN, \
             NOT IN, IS NULL, AND, OR, NOT and parentheses"
        );
        return Err(Error::parameter("where", detail));
    }
    let time = (pushed.time != TimeRange::ALL).then_some(pushed.time);
    Ok((time, pushed.tags))
}
