//! Aggregates over rows of other nodes: each makes partial ones of its own rows, and only those travel.

use super::{
    picked,
    scan::{Scan, Tablets},
};
use crate::{
    Error, Result,
    elsewhere::{Elsewhere, Reducing},
    guard,
    places::tablets_of,
    watch::Watch,
};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use datafusion::{
    common::{
        DataFusionError, Result as PlanResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, InputOrderMode, Partitioning, PhysicalExpr,
        PlanProperties,
        aggregates::{AggregateExec, AggregateInputMode, AggregateMode},
        coalesce_partitions::CoalescePartitionsExec,
        coop::CooperativeExec,
        displayable, execute_stream,
        execution_plan::{Boundedness, EmissionType},
        filter::FilterExec,
        projection::ProjectionExec,
        repartition::RepartitionExec,
        replace_children_if_necessary,
        scalar_subquery::ScalarSubqueryExec,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt, TryStreamExt};
use oribi_model::{Place, ReadPath};
use std::{fmt, sync::Arc};

/// Makes `plan` aggregate where the rows are, as far as it can; it stays as it is where not. Blocks.
///
/// # Errors
/// As a scan.
pub(super) fn spread(
    plan: Arc<dyn ExecutionPlan>,
    (db, text, now_ns): (&str, &str, i64),
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    // Each node has chances of its own.
    if !guard::is_certain(text) || has_subquery(&plan) {
        return Ok(plan);
    }
    let mut number = 0;
    let spread = plan.transform_down(|node| {
        let Some(aggregate) = Aggregate::of(&node) else { return Ok(Transformed::no(node)) };
        let asked = Asked { db, text, now_ns, number };
        number += 1;
        Ok(match aggregate.spread(&asked)? {
            Some(spread) => Transformed::new(spread, true, TreeNodeRecursion::Jump),
            None => Transformed::no(node),
        })
    })?;
    Ok(spread.data)
}

/// What `plan`, which another node has made of the same statement, makes of rows that are here, as it
/// travels; `None` where it is not that one.
///
/// # Errors
/// A limit of the query, or what fails in the plan.
pub(super) async fn reduced(
    plan: &Arc<dyn ExecutionPlan>,
    reducing: &Reducing,
    context: Arc<TaskContext>,
    watch: &Watch,
) -> Result<Option<Vec<u8>>> {
    let refuse = |error: DataFusionError| Error::Internal { detail: error.strip_backtrace() };
    let mut aggregates = Vec::new();
    let each = |node: &Arc<dyn ExecutionPlan>| {
        aggregates.extend(Aggregate::of(node));
        Ok(TreeNodeRecursion::Continue)
    };
    plan.apply(each).map_err(refuse)?;
    let same = aggregates.into_iter().nth(reducing.number).filter(|one| {
        let table = &one.scan().source.table;
        (table.id.0, table.schema.version) == (reducing.table, reducing.schema)
    });
    let Some(aggregate) = same.filter(|_| !has_subquery(plan)) else { return Ok(None) };
    let partial = aggregate.partial().map_err(refuse)?;
    if words_of(&partial) != reducing.words {
        return Ok(None);
    }
    let mut rows = execute_stream(partial.clone(), context).map_err(refuse)?;
    let mut batches = Vec::new();
    while let Some(batch) = watch.within(rows.next()).await? {
        let batch = batch.map_err(refuse)?;
        watch.grow(batch.get_array_memory_size())?;
        batches.push(batch);
    }
    picked::encode(&batches, &partial.schema()).map(Some)
}

/// Parts of a plan share what subqueries give, which is not there elsewhere.
fn has_subquery(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.exists(|node| Ok(node.is::<ScalarSubqueryExec>())).unwrap_or(true)
}

/// A statement of which one aggregate is asked.
struct Asked<'a> {
    db: &'a str,
    text: &'a str,
    now_ns: i64,
    number: usize,
}

/// An aggregate of rows of one table, each of which is taken by itself.
struct Aggregate {
    node: Arc<dyn ExecutionPlan>,
    leaf: Arc<dyn ExecutionPlan>,
}

impl Aggregate {
    fn of(node: &Arc<dyn ExecutionPlan>) -> Option<Aggregate> {
        let aggregate = node.downcast_ref::<AggregateExec>()?;
        let of_rows = aggregate.mode().input_mode() == AggregateInputMode::Raw;
        let in_order = *aggregate.input_order_mode() != InputOrderMode::Linear;
        if !of_rows || in_order {
            return None;
        }
        let mut leaf = aggregate.input().clone();
        while leaf.downcast_ref::<Scan>().is_none() {
            let of_single_rows = leaf.is::<FilterExec>()
                || leaf.is::<ProjectionExec>()
                || leaf.is::<RepartitionExec>()
                || leaf.is::<CoalescePartitionsExec>()
                || leaf.is::<CooperativeExec>();
            if !of_single_rows || leaf.fetch().is_some() {
                return None;
            }
            let input = leaf.children().first().map(|input| Arc::clone(input))?;
            leaf = input;
        }
        let found = Aggregate { node: node.clone(), leaf };
        (!found.scan().is_limited()).then_some(found)
    }

    fn scan(&self) -> &Scan {
        self.leaf.downcast_ref().expect("the leaf is a scan")
    }

    fn exec(&self) -> &AggregateExec {
        self.node.downcast_ref().expect("the node is an aggregate")
    }

    /// The same where it makes whole ones, too.
    fn partial(&self) -> PlanResult<Arc<dyn ExecutionPlan>> {
        let exec = self.exec();
        if *exec.mode() == AggregateMode::Partial {
            return Ok(self.node.clone());
        }
        let partial = AggregateExec::try_new(
            AggregateMode::Partial,
            exec.group_expr().clone(),
            exec.aggr_expr().to_vec(),
            exec.filter_expr().to_vec(),
            exec.input().clone(),
            exec.input_schema(),
        )?;
        Ok(Arc::new(partial.with_limit_options(exec.limit_options())))
    }

    /// The same, made where the rows are; `None` where that cannot be, or all of them are here.
    fn spread(&self, asked: &Asked<'_>) -> PlanResult<Option<Arc<dyn ExecutionPlan>>> {
        let scan = self.scan();
        let source = &scan.source;
        let places = || source.read.places(source.table.id, scan.spec.time);
        let others = places();
        if others.is_empty() || *self.exec().mode() != AggregateMode::Partial {
            return Ok(None);
        }
        let (relation, spec) = (scan.relation.clone(), scan.spec.clone());
        let whole = || (relation.clone(), spec.clone());
        let here = Scan::open(source.clone(), whole(), Tablets::Here, None, scan.watch.clone());
        let here = here.map_err(|error| DataFusionError::External(Box::new(error)))?;
        // A tablet that moved meanwhile would be read twice, or not at all.
        if tablets_of(&places()) != tablets_of(&others) {
            return Ok(None);
        }
        let otherwise = |place: &Place| {
            let parts = (Tablets::These(place.tablets.clone()), 1);
            let leaf = Scan::closed(source.clone(), whole(), parts, None, scan.watch.clone());
            over(&self.node, Arc::new(leaf))
        };
        let question = Elsewhere::Partials(Reducing {
            made_by: Reducing::maker(),
            table: source.table.id.0,
            schema: source.table.schema.version,
            db: asked.db.to_owned(),
            text: asked.text.to_owned(),
            now_ns: asked.now_ns,
            number: asked.number,
            words: words_of(&self.node),
        });
        let question: Arc<[u8]> = question.encode().into();
        let ask = |place: Place| {
            let plan = otherwise(&place)?;
            let otherwise = Arc::new(CoalescePartitionsExec::new(plan));
            let question = question.clone();
            Ok(Ask { read: source.read.clone(), place, question, otherwise })
        };
        let asks: Vec<Ask> = others.into_iter().map(ask).collect::<PlanResult<_>>()?;
        let here = over(&self.node, Arc::new(here))?;
        Ok(Some(Arc::new(Spread::new(here, asks, scan.watch.clone()))))
    }
}

/// The same plan over another scan.
fn over(
    plan: &Arc<dyn ExecutionPlan>,
    leaf: Arc<dyn ExecutionPlan>,
) -> PlanResult<Arc<dyn ExecutionPlan>> {
    match plan.children().first() {
        None => Ok(leaf),
        Some(input) => replace_children_if_necessary(plan.clone(), vec![over(input, leaf)?]),
    }
}

/// What a plan does with each row, and how it aggregates: not over how many threads.
fn words_of(plan: &Arc<dyn ExecutionPlan>) -> String {
    let mut words = String::new();
    let mut node = plan;
    loop {
        let of_threads = node.is::<RepartitionExec>()
            || node.is::<CoalescePartitionsExec>()
            || node.is::<CooperativeExec>();
        if !of_threads {
            words.push_str(&displayable(node.as_ref()).one_line().to_string());
        }
        match node.children().first() {
            Some(input) => node = *input,
            None => return words,
        }
    }
}

/// Partial aggregates of this node and of others, each a partition.
struct Spread {
    here: Arc<dyn ExecutionPlan>,
    asks: Vec<Ask>,
    watch: Arc<Watch>,
    properties: Arc<PlanProperties>,
}

/// What is asked of a place, and what is done where it does not answer.
#[derive(Clone)]
struct Ask {
    read: Arc<dyn ReadPath>,
    place: Place,
    question: Arc<[u8]>,
    otherwise: Arc<dyn ExecutionPlan>,
}

impl Ask {
    /// Blocks; `None` where its rows are rather read one by one.
    fn answer(&self, schema: &SchemaRef, watch: &Watch) -> Result<Option<Vec<RecordBatch>>> {
        let answer = match self.read.ask(&self.place, &self.question) {
            Ok(answer) => answer,
            Err(error) => {
                tracing::debug!(%error, "rows of another node are read one by one");
                return Ok(None);
            }
        };
        watch.check()?;
        let Some(batches) = picked::decode(&answer, schema) else { return Ok(None) };
        watch.grow(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
        Ok(Some(batches))
    }
}

impl Spread {
    fn new(here: Arc<dyn ExecutionPlan>, asks: Vec<Ask>, watch: Arc<Watch>) -> Spread {
        let count = here.properties().partitioning.partition_count() + asks.len();
        let properties = PlanProperties::new(
            EquivalenceProperties::new(here.schema()),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Spread { here, asks, watch, properties: Arc::new(properties) }
    }
}

impl fmt::Debug for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spread").field("here", &self.here).finish_non_exhaustive()
    }
}

impl DisplayAs for Spread {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spread: over this node and {} others", self.asks.len())
    }
}

impl ExecutionPlan for Spread {
    fn name(&self) -> &str {
        "Spread"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> PlanResult<TreeNodeRecursion>,
    ) -> PlanResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> PlanResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> PlanResult<SendableRecordBatchStream> {
        let own = self.here.properties().partitioning.partition_count();
        let Some(at) = partition.checked_sub(own) else {
            return self.here.execute(partition, context);
        };
        let (ask, watch, schema) = (self.asks[at].clone(), self.watch.clone(), self.schema());
        let external = |error: crate::Error| DataFusionError::External(Box::new(error));
        let asked = {
            let (ask, schema) = (ask.clone(), schema.clone());
            move || ask.answer(&schema, &watch)
        };
        let batches = async move {
            let answer = tokio::task::spawn_blocking(asked)
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
                .map_err(external)?;
            Ok::<_, DataFusionError>(match answer {
                Some(batches) => futures::stream::iter(batches.into_iter().map(Ok)).boxed(),
                None => ask.otherwise.execute(0, context)?.boxed(),
            })
        };
        let batches = futures::stream::once(batches).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}
