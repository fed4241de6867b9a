//! The leaf of an SQL plan: parts of tablets as streams of Arrow batches.

use crate::{Error, relation::Relation, watch::Watch};
use arrow_array::RecordBatch;
use datafusion::{
    common::{DataFusionError, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::TryStreamExt;
use oribi_model::{BlockIter, ColumnRead, ScanSpec};
use parking_lot::Mutex;
use std::{fmt, sync::Arc};

/// Opens the parts of a scan anew.
pub(crate) type Reopen = Arc<dyn Fn() -> crate::Result<Vec<BlockIter>> + Send + Sync>;

/// Parts of tablets, dealt out over a few partitions.
pub(crate) struct Scan {
    relation: Relation,
    spec: ScanSpec,
    partitions: Vec<Mutex<Option<Vec<BlockIter>>>>,
    /// For plans that read a partition twice.
    reopen: Reopen,
    limit: Option<usize>,
    watch: Arc<Watch>,
    properties: Arc<PlanProperties>,
}

impl Scan {
    /// A scan over `parts` in at most `partitions_max` partitions.
    pub(crate) fn new(
        relation: Relation,
        spec: ScanSpec,
        parts: Vec<BlockIter>,
        reopen: Reopen,
        partitions_max: usize,
        limit: Option<usize>,
        watch: Arc<Watch>,
    ) -> Scan {
        let count = parts.len().clamp(1, partitions_max.max(1));
        let mut partitions: Vec<Vec<BlockIter>> = (0..count).map(|_| Vec::new()).collect();
        for (at, part) in parts.into_iter().enumerate() {
            partitions[at % count].push(part);
        }
        let properties = PlanProperties::new(
            EquivalenceProperties::new(relation.schema.clone()),
            Partitioning::UnknownPartitioning(count),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Scan {
            relation,
            spec,
            partitions: partitions.into_iter().map(|parts| Mutex::new(Some(parts))).collect(),
            reopen,
            limit,
            watch,
            properties: Arc::new(properties),
        }
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
        let opened = self.partitions[partition].lock().take();
        let reading = Reading {
            opened,
            reopen: self.reopen.clone(),
            partition: (partition, self.partitions.len()),
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

fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// Where the reading of a partition stands. It holds a thread only while blocks are read.
struct Reading {
    opened: Option<Vec<BlockIter>>,
    reopen: Reopen,
    /// Which of how many.
    partition: (usize, usize),
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
        /// Rows that are worth a change of threads.
        const ROWS_AT_ONCE: usize = 8_192;
        if self.blocks.is_none() {
            let parts = match self.opened.take() {
                Some(parts) => parts,
                None => {
                    let (partition, count) = self.partition;
                    (self.reopen)()?.into_iter().skip(partition).step_by(count).collect()
                }
            };
            self.blocks = Some(parts.into_iter().flatten());
        }
        let (mut batches, mut rows) = (Vec::new(), 0);
        while self.left > 0 && rows < ROWS_AT_ONCE {
            self.watch.check_between()?;
            let Some(block) = self.blocks.as_mut().and_then(Iterator::next) else { break };
            let batch = self.relation.batch(&block?, &self.columns);
            let batch = batch.map_err(|error| Error::Internal { detail: error.to_string() })?;
            rows += batch.num_rows();
            self.left = self.left.saturating_sub(batch.num_rows());
            batches.push(batch);
        }
        self.watch.check()?;
        Ok(batches)
    }
}
