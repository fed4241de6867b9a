//! SQL over the tables, by DataFusion, inside the limits of one query.

mod by_time;
mod catalog;
mod newest;
mod partial;
mod picked;
mod plain;
mod pool;
mod scan;

use crate::{
    Error, QueryOptions, Result,
    answer::Stats,
    dialect,
    elsewhere::{Picking, Reducing},
    error::AskedBy,
    filter::FilterCache,
    functions, guard, plan,
    target::Out,
    watch::Watch,
};
use arrow_array::temporal_conversions::timestamp_ns_to_datetime;
use arrow_schema::Schema;
use catalog::Catalog;
use datafusion::{
    common::DataFusionError,
    execution::{
        TaskContext,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        runtime_env::RuntimeEnvBuilder,
        session_state::SessionStateBuilder,
    },
    physical_plan::{ExecutionPlan, execute_stream},
    prelude::{SQLOptions, SessionContext},
    sql::{parser::Statement, sqlparser::ast},
};
use futures::StreamExt;
use oribi_model::ReadPath;
use plain::Plain;
use pool::StatementPool;
use std::sync::Arc;
use tokio::runtime::Handle;

/// A statement that is ready to run.
pub(crate) enum Planned {
    /// Rows of one table.
    Plain(Plain),
    /// Anything else.
    Plan(Box<Run>),
}

/// A plan of DataFusion and what it runs in.
pub(crate) struct Run {
    schema: Arc<Schema>,
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    db: String,
}

/// A statement as it was asked.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    /// The database of unqualified tables.
    pub(crate) db: Option<String>,
    pub(crate) text: String,
    /// What its present is, ns since 1970.
    pub(crate) now_ns: i64,
}

/// Whether a statement may be answered without a planner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shortcut {
    /// Where it can.
    Try,
    /// It was tried in vain.
    Leave,
}

/// Plans one SQL statement. Part of this may take long without a pause.
pub(crate) async fn plan(
    read: &Arc<dyn ReadPath>,
    options: &QueryOptions,
    filters: &FilterCache,
    Said { db, text, now_ns }: &Said,
    shortcut: Shortcut,
    watch: &Arc<Watch>,
) -> Result<Planned> {
    if text.trim().is_empty() {
        return Err(Error::parameter("q", "the parameter q is missing; expected an SQL query"));
    }
    guard::check(text, options).map_err(|detail| Error::Sql { detail })?;
    let db = db.clone().unwrap_or_else(|| oribi_model::name::DEFAULT_DB.into());
    let refuse = |error: DataFusionError| explain(read.as_ref(), &db, options, &error);
    let base = functions::session_state();
    let statement = base.sql_to_statement(text, &base.config().options().sql_parser.dialect);
    let mut statement = statement.map_err(refuse)?;
    check_statement(&statement)?;
    if let Some(query) = query_of(&mut statement) {
        let refused = dialect::check_query(query, options.sql_scans_max);
        refused.map_err(|detail| Error::Sql { detail })?;
    }
    if shortcut == Shortcut::Try
        && let Statement::Statement(inner) = &statement
        && let Some(plain) = Plain::recognise(inner, &db, read.as_ref(), filters, options)
    {
        return Ok(Planned::Plain(plain.asked_by(&db, text)));
    }
    let context = context(read, options, &db, watch)?;
    let state = context.state();
    let logical = state.statement_to_plan(statement).await.map_err(refuse)?;
    let allowed =
        SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    allowed.verify_plan(&logical).map_err(refuse)?;
    watch.check()?;
    let frame = context.execute_logical_plan(logical).await.map_err(refuse)?;
    let schema = Arc::new(Schema::new(frame.schema().fields().clone()));
    let (mut state, logical) = frame.into_parts();
    let now = timestamp_ns_to_datetime(*now_ns).map(|now| now.and_utc());
    state.execution_props_mut().query_execution_start_time = now;
    let plan = state.create_physical_plan(&logical).await.map_err(refuse)?;
    let batch_rows = scan::batch_rows(&plan);
    let plan = scan::undealt(plan, batch_rows).map_err(refuse)?;
    let plan = partial::spread(plan, (&db, text, *now_ns)).map_err(refuse)?;
    let config = state.config_mut().clone().with_batch_size(batch_rows);
    let context = Arc::new(TaskContext::from(&context.state()).with_session_config(config));
    Ok(Planned::Plan(Box::new(Run { schema, plan, context, db })))
}

impl Planned {
    /// The rows of a statement that only picks some, of what `read` shows, as they travel; `None` where
    /// it is another one, or of another table. Blocks.
    pub(crate) fn picked(
        &self,
        picking: &Picking,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Arc<Watch>,
    ) -> Result<Option<Vec<u8>>> {
        let Planned::Plain(plain) = self else { return Ok(None) };
        if plain.picking() != Some(picking) {
            return Ok(None);
        }
        let batches = plain.collect(read, options, watch)?;
        picked::encode(&batches, &plain.relation.schema).map(Some)
    }

    /// What a statement aggregates of the rows that it was planned for, as it travels; `None` where it is
    /// another one.
    pub(crate) async fn reduced(
        self,
        reducing: &Reducing,
        watch: &Watch,
    ) -> Result<Option<Vec<u8>>> {
        match self {
            Planned::Plan(run) => partial::reduced(&run.plan, reducing, run.context, watch).await,
            Planned::Plain(_) => Ok(None),
        }
    }

    /// Writes the answer; `None` where a shortcut leads nowhere, and nothing was written then.
    /// Blocks, on a thread of the runtime.
    pub(crate) fn answer(
        self,
        read: &Arc<dyn ReadPath>,
        options: &QueryOptions,
        watch: &Arc<Watch>,
        out: &mut Out<'_>,
    ) -> Result<Option<Stats>> {
        match self {
            Planned::Plain(plain) => {
                let read = read.as_ref();
                match plain.by_time() {
                    Some(wanted) => by_time::answer(&plain, wanted, read, options, watch, out),
                    None => plain.answer(read, options, watch, out).map(Some),
                }
                .map_err(Error::of_statement)
            }
            Planned::Plan(run) => run.answer(read.as_ref(), options, watch, out).map(Some),
        }
    }
}

impl Run {
    fn answer(
        self,
        read: &dyn ReadPath,
        options: &QueryOptions,
        watch: &Watch,
        out: &mut Out<'_>,
    ) -> Result<Stats> {
        let Run { schema, plan, context, db } = self;
        let refuse = |error: DataFusionError| explain(read, &db, options, &error);
        let runtime = Handle::current();
        let mut rows = execute_stream(plan, context).map_err(refuse)?;
        out.begin(&schema)?;
        while let Some(batch) = runtime.block_on(watch.within(rows.next()))? {
            out.rows(batch.map_err(refuse)?)?;
        }
        watch.check()?;
        Ok(Stats::default())
    }
}

fn context(
    read: &Arc<dyn ReadPath>,
    options: &QueryOptions,
    db: &str,
    watch: &Arc<Watch>,
) -> Result<SessionContext> {
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new()
        .with_disk_manager_builder(disk)
        .with_memory_pool(Arc::new(StatementPool::new(options.memory_bytes_max, watch.clone())))
        .build_arc()
        .map_err(|error| Error::Internal { detail: error.strip_backtrace() })?;
    let base = functions::session_state();
    let mut config = base.config().clone().with_target_partitions(options.threads());
    config.options_mut().catalog.default_schema = db.to_owned();
    config.options_mut().catalog.create_default_catalog_and_schema = false;
    let default_catalog = config.options().catalog.default_catalog.clone();
    let state = SessionStateBuilder::new_from_existing(base.clone())
        .with_config(config)
        .with_runtime_env(runtime)
        .with_catalog_list(Arc::new(datafusion::catalog::MemoryCatalogProviderList::new()))
        .build();
    let context = SessionContext::new_with_state(state);
    let catalog = Catalog::new(read.clone(), watch.clone(), options.threads());
    context.register_catalog(default_catalog, Arc::new(catalog));
    Ok(context)
}

fn check_statement(statement: &Statement) -> Result<()> {
    let kind = match statement {
        Statement::Statement(inner) => match inner.as_ref() {
            ast::Statement::Query(_)
            | ast::Statement::Explain { .. }
            | ast::Statement::ExplainTable { .. }
            | ast::Statement::ShowTables { .. }
            | ast::Statement::ShowColumns { .. } => return Ok(()),
            _ => "this statement",
        },
        Statement::Explain(explain) => return check_statement(&explain.statement),
        Statement::CopyTo(_) => "COPY",
        Statement::CreateExternalTable(_) => "CREATE EXTERNAL TABLE",
        _ => "this statement",
    };
    let detail = format!("{kind} is refused; expected one SELECT, WITH, VALUES or EXPLAIN");
    Err(Error::Sql { detail })
}

/// The query of a statement that may hold one.
fn query_of(statement: &mut Statement) -> Option<&mut ast::Query> {
    match statement {
        Statement::Statement(inner) => match inner.as_mut() {
            ast::Statement::Query(query) => Some(query),
            ast::Statement::Explain { statement, .. } => match statement.as_mut() {
                ast::Statement::Query(query) => Some(query),
                _ => None,
            },
            _ => None,
        },
        Statement::Explain(explain) => query_of(&mut explain.statement),
        _ => None,
    }
}

/// An error of DataFusion as an answer to the asker.
fn explain(
    read: &dyn ReadPath,
    db: &str,
    options: &QueryOptions,
    error: &DataFusionError,
) -> Error {
    let error = Error::from_datafusion(AskedBy::Statement, error, options.memory_bytes_max);
    let Error::Sql { detail } = &error else { return error };
    const MISSING: &str = "table '";
    if let Some(name) = detail.split_once(MISSING).map(|(_, rest)| rest)
        && let Some((name, _)) = name.split_once("' not found")
    {
        let mut parts = name.splitn(3, '.').skip(1);
        if let (Some(schema), Some(table)) = (parts.next(), parts.next()) {
            return plan::unknown_table(read, schema, table);
        }
        return plan::unknown_table(read, db, name);
    }
    error
}
