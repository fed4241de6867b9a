//! The leaf of an SQL plan: parts of tablets as streams of Arrow batches.

use crate::{relation::Relation, watch::Watch};
use datafusion::{
    common::{DataFusionError, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::EquivalenceProperties,
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PhysicalExpr, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchReceiverStreamBuilder,
    },
};
use oribi_model::{BlockIter, ScanSpec};
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
        const BATCHES_AHEAD_MAX: usize = 2;
        let opened = self.partitions[partition].lock().take();
        let (reopen, count) = (self.reopen.clone(), self.partitions.len());
        let mut stream =
            RecordBatchReceiverStreamBuilder::new(self.relation.schema.clone(), BATCHES_AHEAD_MAX);
        let sender = stream.tx();
        let (relation, columns, watch) =
            (self.relation.clone(), self.spec.columns.clone(), self.watch.clone());
        let mut left = self.limit.unwrap_or(usize::MAX);
        let external = |error: crate::Error| DataFusionError::External(Box::new(error));
        stream.spawn_blocking(move || {
            let parts = match opened {
                Some(parts) => parts,
                None => {
                    let all = reopen().map_err(external)?.into_iter();
                    all.skip(partition).step_by(count).collect()
                }
            };
            for block in parts.into_iter().flatten() {
                watch.check().map_err(external)?;
                let block = block.map_err(|error| external(error.into()))?;
                let batch = relation.batch(&block, &columns)?;
                left = left.saturating_sub(batch.num_rows());
                if sender.blocking_send(Ok(batch)).is_err() || left == 0 {
                    break;
                }
            }
            Ok(())
        });
        Ok(stream.build())
    }
}
