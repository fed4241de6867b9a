//! The leaf of an SQL plan: parts of tablets as streams of Arrow batches.

use crate::{Error, relation::Relation, watch::Watch};
use arrow_array::RecordBatch;
use datafusion::{
    common::{
        DataFusionError,
        tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        repartition::RepartitionExec,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::TryStreamExt;
use oribi_model::{
    BlockIter, ColumnRead, ColumnType, ColumnValues, ReadPath, ScanSpec, Table, TabletId,
};
use parking_lot::Mutex;
use std::{fmt, sync::Arc};

/// Rows that are worth a change of threads.
const ROWS_AT_ONCE: usize = 8_192;

/// A table where its rows can be read.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) read: Arc<dyn ReadPath>,
    pub(super) table: Arc<Table>,
    pub(super) threads: usize,
}

/// Which tablets of a table are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tablets {
    /// Wherever they are.
    All,
    /// Those of this node.
    Here,
    /// Those of a place.
    These(Vec<TabletId>),
}

impl Source {
    /// Blocks.
    fn open(&self, spec: &ScanSpec, tablets: &Tablets) -> crate::Result<Vec<BlockIter>> {
        if spec.time.is_empty() {
            return Ok(Vec::new());
        }
        let here = match tablets {
            Tablets::Here => self.read.without_places(),
            Tablets::All | Tablets::These(_) => None,
        };
        let read = here.as_ref().unwrap_or(&self.read);
        let mut scans = read.scan(self.table.id, spec, self.threads)?;
        if let Tablets::These(these) = tablets {
            scans.retain(|scan| these.contains(&scan.tablet));
        }
        Ok(scans.into_iter().flat_map(|scan| scan.parts).collect())
    }
}

/// Parts of tablets, dealt out over a few partitions.
pub(super) struct Scan {
    pub(super) source: Source,
    pub(super) relation: Relation,
    pub(super) spec: ScanSpec,
    parts: Arc<Parts>,
    limit: Option<usize>,
    /// Rows that whoever reads it holds together.
    pub(super) batch_rows: usize,
    pub(super) watch: Arc<Watch>,
    properties: Arc<PlanProperties>,
}

/// The parts of a scan.
struct Parts {
    source: Source,
    spec: ScanSpec,
    tablets: Tablets,
    count: usize,
    /// What no partition has read yet; `None` as long as nothing is open.
    dealt: Mutex<Option<Vec<Option<Vec<BlockIter>>>>>,
}

impl Parts {
    /// Those of a partition. Blocks where they are not open, or a plan reads them twice.
    fn take(&self, partition: usize) -> crate::Result<Vec<BlockIter>> {
        let open =
            || Ok::<_, Error>(deal(self.source.open(&self.spec, &self.tablets)?, self.count));
        let mut dealt = self.dealt.lock();
        if dealt.is_none() {
            *dealt = Some(open()?);
        }
        let waiting = dealt.as_mut().and_then(|dealt| dealt[partition].take());
        drop(dealt);
        match waiting {
            Some(parts) => Ok(parts),
            None => Ok(open()?.swap_remove(partition).unwrap_or_default()),
        }
    }

    /// How many rows are held together where they are, by what the texts of one take in the first
    /// block that is open. Blocks.
    fn batch_rows(&self) -> crate::Result<usize> {
        const BYTES_MAX: usize = 4 << 20;
        if self.spec.columns.iter().all(|read| read.column_type != ColumnType::Text) {
            return Ok(ROWS_AT_ONCE);
        }
        let mut dealt = self.dealt.lock();
        for part in dealt.iter_mut().flatten().flatten().flatten() {
            let Some(block) = part.next().transpose()? else { continue };
            let bytes: usize = block.columns.iter().map(bytes_of_texts).sum();
            let bytes = bytes / block.rows().max(1);
            let rest = std::mem::replace(part, Box::new(std::iter::empty()));
            *part = Box::new(std::iter::once(Ok(block)).chain(rest));
            return Ok((BYTES_MAX / bytes.max(1)).clamp(64, ROWS_AT_ONCE));
        }
        Ok(ROWS_AT_ONCE)
    }
}

fn bytes_of_texts(column: &ColumnValues) -> usize {
    let ColumnValues::Text(texts) = column else { return 0 };
    match texts.value_offsets() {
        [first, .., last] => (last - first) as usize,
        _ => 0,
    }
}

fn deal(parts: Vec<BlockIter>, count: usize) -> Vec<Option<Vec<BlockIter>>> {
    let mut dealt: Vec<Vec<BlockIter>> = (0..count).map(|_| Vec::new()).collect();
    for (at, part) in parts.into_iter().enumerate() {
        dealt[at % count].push(part);
    }
    dealt.into_iter().map(Some).collect()
}

impl Scan {
    /// A scan that opens its parts at once, for at most as many partitions as there are threads.
    /// Blocks.
    ///
    /// # Errors
    /// As [`ReadPath::scan`].
    pub(super) fn open(
        source: Source,
        (relation, spec): (Relation, ScanSpec),
        tablets: Tablets,
        limit: Option<usize>,
        watch: Arc<Watch>,
    ) -> crate::Result<Scan> {
        let parts = source.open(&spec, &tablets)?;
        let count = parts.len().clamp(1, source.threads.max(1));
        let dealt = Mutex::new(Some(deal(parts, count)));
        let parts = Parts { source, spec, tablets, count, dealt };
        let batch_rows = parts.batch_rows()?;
        Ok(Scan { batch_rows, ..Scan::new(parts, relation, limit, watch) })
    }

    /// A scan that opens its parts when the first of so many partitions is read.
    pub(super) fn closed(
        source: Source,
        (relation, spec): (Relation, ScanSpec),
        (tablets, count): (Tablets, usize),
        limit: Option<usize>,
        watch: Arc<Watch>,
    ) -> Scan {
        let parts = Parts { source, spec, tablets, count, dealt: Mutex::default() };
        Scan::new(parts, relation, limit, watch)
    }

    fn new(parts: Parts, relation: Relation, limit: Option<usize>, watch: Arc<Watch>) -> Scan {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(relation.schema.clone()),
            Partitioning::UnknownPartitioning(parts.count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        let (source, spec) = (parts.source.clone(), parts.spec.clone());
        let (parts, properties) = (Arc::new(parts), Arc::new(properties));
        let batch_rows = ROWS_AT_ONCE;
        Scan { source, relation, spec, parts, limit, batch_rows, watch, properties }
    }

    /// Whether it may end before the last row.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.is_some()
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl DisplayAs for Scan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = self.spec.time;
        write!(f, "Scan: time={}..{}, series={:?}", time.start, time.end, self.spec.series)
    }
}

impl ExecutionPlan for Scan {
    fn name(&self) -> &str {
        "Scan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion, DataFusionError>,
    ) -> Result<TreeNodeRecursion, DataFusionError> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream, DataFusionError> {
        let reading = Reading {
            parts: self.parts.clone(),
            partition,
            blocks: None,
            relation: self.relation.clone(),
            columns: self.spec.columns.clone(),
            left: self.limit.unwrap_or(usize::MAX),
            watch: self.watch.clone(),
        };
        let batches = futures::stream::try_unfold(reading, |mut reading| async {
            let read = move || reading.next().map(|batches| (batches, reading));
            let (batches, reading) = tokio::task::spawn_blocking(read)
                .await
                .map_err(|error| DataFusionError::External(Box::new(error)))?
                .map_err(external)?;
            let some = (!batches.is_empty()).then_some((batches, reading));
            Ok::<_, DataFusionError>(some)
        });
        let each = |batches: Vec<RecordBatch>| futures::stream::iter(batches.into_iter().map(Ok));
        let batches = batches.map_ok(each).try_flatten();
        let schema = self.relation.schema.clone();
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// How many rows the steps of a plan hold together: as few as any of its scans asks for.
pub(super) fn batch_rows(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan.downcast_ref::<Scan>().map_or(ROWS_AT_ONCE, |scan| scan.batch_rows);
    plan.children().into_iter().map(batch_rows).fold(own, usize::min)
}

/// Takes the steps out of `plan` that deal batches out in turn, where these are of fewer rows than
/// usual. What waits for one thread there is bounded by what the others lack, not by bytes: a thread
/// that gets no processor for a while would gather texts without end.
///
/// # Errors
/// As [`ExecutionPlan::with_new_children`].
pub(super) fn undealt(
    plan: Arc<dyn ExecutionPlan>,
    batch_rows: usize,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    if batch_rows == ROWS_AT_ONCE {
        return Ok(plan);
    }
    plan.transform_up(|node| {
        let dealing = node.downcast_ref::<RepartitionExec>();
        let dealing = dealing.filter(|dealing| is_in_turn(dealing));
        Ok(match dealing.map(|dealing| dealing.input().clone()) {
            Some(input) => Transformed::yes(input),
            None => Transformed::no(node),
        })
    })
    .data()
}

fn is_in_turn(dealing: &RepartitionExec) -> bool {
    matches!(dealing.partitioning(), Partitioning::RoundRobinBatch(_))
}

fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Where the reading of a partition stands. It holds a thread only while blocks are read.
struct Reading {
    parts: Arc<Parts>,
    partition: usize,
    blocks: Option<std::iter::Flatten<std::vec::IntoIter<BlockIter>>>,
    relation: Relation,
    columns: Vec<ColumnRead>,
    /// Rows still wanted.
    left: usize,
    watch: Arc<Watch>,
}

impl Reading {
    /// Some more rows; none at the end.
    fn next(&mut self) -> crate::Result<Vec<RecordBatch>> {
        /// Bytes that are worth a change of threads, too: they are held together.
        const BYTES_AT_ONCE: usize = 4 << 20;
        if self.blocks.is_none() {
            self.blocks = Some(self.parts.take(self.partition)?.into_iter().flatten());
        }
        let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
        while self.left > 0 && rows < ROWS_AT_ONCE && bytes < BYTES_AT_ONCE {
            self.watch.check_between()?;
            let Some(block) = self.blocks.as_mut().and_then(Iterator::next) else { break };
            let batch = self.relation.batch(&block?, &self.columns);
            let batch = batch.map_err(|error| Error::Internal { detail: error.to_string() })?;
            rows += batch.num_rows();
            bytes += batch.get_array_memory_size();
            self.left = self.left.saturating_sub(batch.num_rows());
            batches.push(batch);
        }
        self.watch.check()?;
        Ok(batches)
    }
}
