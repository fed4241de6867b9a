//! The write path on this node: admit, fit to the schema, cut by tablet, commit, answer.

mod making;
mod writing;

use crate::{
    Error, Ingest, Receipt, Result, admission::Admission, budget::Budget, fit, part::Part,
    reject::Rejects,
};
use futures::{StreamExt, future::BoxFuture, stream};
use making::{Making, Missing};
use oribi_cluster::{Change, ColumnSpec, Node};
use oribi_model::{
    Column, ColumnId, ColumnRead, Ints, Name, Points, Pressure, ReadPath, RejectReason, Rejection,
    RowBatch, RowsWanted, ScanSpec, Schema, SeriesFilter, Table, TableId, TableOptions, TimeRange,
};
use serde::Deserialize;
use std::sync::Arc;

/// Tables of one write for which ranges are made at once: writes take turns, so that one with
/// thousands of new tables does not make another with a single one wait for all of them.
const MAKING_MAX: usize = 16;
/// Tables of one write that are written at once, so that they share syncs; each takes some KiB meanwhile.
const WRITING_MAX: usize = 1_024;

/// Bounds of the write path, `[ingest]` in the configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IngestOptions {
    /// Rows in flight, as bytes of their batches; past it writes wait.
    pub inflight_bytes_max: usize,
    /// How long a write waits for room before it is refused, ms.
    pub wait_ms_max: u64,
    /// New time ranges that writes may cause in a minute: of one table, and first ones of all
    /// tables together.
    pub tablets_per_minute_max: u32,
}

impl Default for IngestOptions {
    fn default() -> IngestOptions {
        IngestOptions {
            inflight_bytes_max: 128 << 20,
            wait_ms_max: 10_000,
            tablets_per_minute_max: 600,
        }
    }
}

impl IngestOptions {
    /// Checks that the bounds let something through.
    ///
    /// # Errors
    /// Names the key that does not, and what was expected.
    pub fn validate(&self) -> Result<(), String> {
        if self.inflight_bytes_max < 1 << 20 {
            return Err("inflight_bytes_max is below 1 MiB; expected 1048576 or more".into());
        }
        if self.tablets_per_minute_max == 0 {
            return Err("tablets_per_minute_max is 0; expected at least 1".into());
        }
        Ok(())
    }
}

/// The write path on this node.
pub struct Ingestor {
    node: Arc<Node>,
    admission: Admission,
    budget: Budget,
}

/// A table as a write found it.
enum Grown {
    /// With every column that the rows need.
    Ready(Arc<Table>),
    /// It changed meanwhile.
    Changed,
    /// It is not there.
    Deferred,
}

/// The rows that fit a table.
struct Fitted {
    batch: RowBatch,
    /// Which rows of the points these are; `None`: all.
    kept: Option<Vec<u32>>,
    rejected: Vec<Rejection>,
}

impl Ingestor {
    /// A write path into `node`.
    pub fn new(node: Arc<Node>, options: IngestOptions) -> Ingestor {
        Ingestor::under(Pressure::default(), node, options)
    }

    /// A write path into `node` whose writes wait while `pressure` says that memory is used up, and
    /// that says there when they wait.
    pub fn under(pressure: Pressure, node: Arc<Node>, options: IngestOptions) -> Ingestor {
        let budget = Budget::new(options.tablets_per_minute_max as usize);
        Ingestor { node, admission: Admission::new(options, pressure), budget }
    }

    /// Writes what has tables and ranges at once, and then, table by table, what has none.
    async fn write_all(&self, points: Vec<Points>) -> Result<Receipt> {
        let bytes = points.iter().map(Points::bytes_held).sum();
        let _admitted = self.admission.admit(&self.node, bytes).await?;
        let mut part = self.write_admitted(points).await;
        let missing = std::mem::take(&mut part.receipt.deferred);
        if missing.is_empty() {
            return part.acked();
        }
        let turn = self.budget.turn();
        let make = async |points: Points| {
            if turn.is_spent() && !points.table.is_system() && self.is_new(&points) {
                return Part::deferred(points);
            }
            let making = Making::new(&turn);
            self.write_table(points, Missing::Make(&making)).await
        };
        let made = missing.into_iter().map(make);
        let mut made = stream::iter(made).buffered(MAKING_MAX);
        while let Some(more) = made.next().await {
            part.add(more);
        }
        part.acked()
    }

    fn is_new(&self, points: &Points) -> bool {
        self.node.catalog().table(&points.db, &points.table).is_none()
    }

    async fn write_those_present(&self, points: Vec<Points>) -> Result<Receipt> {
        let bytes = points.iter().map(Points::bytes_held).sum();
        let _admitted = self.admission.admit(&self.node, bytes).await?;
        self.write_admitted(points).await.acked()
    }

    /// Many tables side by side, and each to its end: what became of one says nothing of another.
    async fn write_admitted(&self, points: Vec<Points>) -> Part {
        let written = points.into_iter().map(|points| self.write_table(points, Missing::Defer));
        let mut written = stream::iter(written).buffered(WRITING_MAX);
        let mut all = Part::default();
        while let Some(part) = written.next().await {
            all.add(part);
        }
        all
    }

    /// The table with every column that the rows need.
    async fn grown_table(&self, points: &Points, missing: Missing<'_>) -> Result<Grown> {
        let catalog = self.node.catalog();
        let table = catalog.table(&points.db, &points.table);
        if table.is_none() {
            match missing {
                Missing::Defer => return Ok(Grown::Deferred),
                Missing::Make(making) if !self.may_make(&points.table, making) => {
                    return Ok(Grown::Deferred);
                }
                Missing::Make(_) => {}
            }
        }
        let schema = table.map(|table| table.schema.clone()).unwrap_or_default();
        let mut columns = fit::wanted(points, &schema);
        if let Some(table) = table {
            for column in fit::unknown(points, &schema) {
                columns.push(self.look_at_ints(table.id, column).await?);
            }
        }
        if let (Some(table), true) = (table, columns.is_empty()) {
            return Ok(Grown::Ready(table.clone()));
        }
        let (db, table) = (points.db.clone(), points.table.clone());
        match self.node.change(Change::EnsureColumns { db, table, columns }).await {
            Ok(_) => Ok(Grown::Changed),
            // Another write gave a column of this name another kind: look again.
            Err(oribi_cluster::Error::Refused(_)) => Ok(Grown::Changed),
            Err(error) => Err(translate(error)),
        }
    }

    /// What the stored integers of a column are, which was not noted when they were written.
    async fn look_at_ints(&self, table: TableId, column: Column) -> Result<ColumnSpec> {
        let node = self.node.clone();
        let look = move || {
            let read = ColumnRead { id: column.id, column_type: column.column_type };
            let spec = ScanSpec {
                columns: vec![read],
                time: TimeRange::ALL,
                series: SeriesFilter::All,
                rows: RowsWanted::All,
            };
            let mut ints = Ints::Exact;
            let parts = node.scan(table, &spec, 1)?.into_iter().flat_map(|scan| scan.parts);
            for block in parts.flatten() {
                ints = ints.max(fit::ints_in(&block?.columns[0]));
            }
            let Column { name, kind, column_type, .. } = column;
            Ok::<_, oribi_model::Error>(ColumnSpec { name, kind, column_type, ints })
        };
        let looked = tokio::task::spawn_blocking(look).await.map_err(|_| Error::Stopping)?;
        looked.map_err(|error| Error::Storage(error.to_string()))
    }

    /// The table as it would be with every column that the rows need.
    fn imagined_table(&self, points: &Points) -> Table {
        let catalog = self.node.catalog();
        let mut table = match catalog.table(&points.db, &points.table) {
            Some(found) => Table::clone(found),
            None => Table {
                id: TableId(u32::MAX),
                db: points.db.clone(),
                name: points.table.clone(),
                schema: Schema::default(),
                options: TableOptions::default(),
            },
        };
        let ids = (0..u32::MAX).rev().map(ColumnId);
        for (wanted, id) in fit::wanted(points, &table.schema).into_iter().zip(ids) {
            let ColumnSpec { name, kind, column_type, ints } = wanted;
            let columns = &mut table.schema.columns;
            match columns.iter_mut().find(|column| column.name == name) {
                Some(column) => (column.column_type, column.ints) = (column_type, ints),
                None => columns.push(Column { id, name, kind, column_type, ints }),
            }
        }
        table
    }

    /// The rows that fit the table, and the others with their reasons.
    fn fit(&self, points: &Points, table: &Table) -> Fitted {
        let mut rejects = Rejects::default();
        let tags = fit::tags(points, &table.schema, &mut rejects);
        let series = points.series.renumbered(&tags);
        let mut columns = fit::fields(points, &table.schema, &mut rejects);
        let kept = self.node.kept(&self.node.catalog(), table.id);
        if kept != TimeRange::ALL {
            for (row, _) in points.times.iter().enumerate().filter(|(_, time)| **time < kept.start)
            {
                rejects.add(row, RejectReason::Time, || "the time is past the retention".into());
            }
        }
        if points.times.contains(&i64::MAX) {
            for (row, _) in points.times.iter().enumerate().filter(|(_, time)| **time == i64::MAX) {
                let detail = || "no range of time holds the last time that there is".into();
                rejects.add(row, RejectReason::Time, detail);
            }
        }
        columns.retain(|(_, values)| values.null_count() < values.len());
        let mut batch = RowBatch {
            table: table.id,
            schema_version: table.schema.version,
            series,
            row_series: points.row_series.clone(),
            times: points.times.clone(),
            columns,
            cursor: points.cursor.clone(),
        };
        let kept = (!rejects.is_empty()).then(|| rejects.kept(points.rows()));
        if let Some(kept) = &kept {
            batch = batch.take(kept.clone());
        }
        Fitted { batch, kept, rejected: rejects.into_rejections(points).collect() }
    }
}

fn translate(error: oribi_cluster::Error) -> Error {
    match error {
        oribi_cluster::Error::Stopping => Error::Stopping,
        oribi_cluster::Error::Refused(reason) => Error::Invalid(reason),
        other => Error::Storage(other.to_string()),
    }
}

impl Ingest for Ingestor {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(self.write_all(points))
    }

    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        Box::pin(self.write_those_present(points))
    }

    fn refused(&self, points: &[Points]) -> Vec<Rejection> {
        let of_table = |points: &Points| self.fit(points, &self.imagined_table(points)).rejected;
        points.iter().filter(|points| points.rows() > 0).flat_map(of_table).collect()
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.node.catalog().table(db, table).cloned()
    }

    fn databases(&self) -> Vec<Name> {
        self.node.catalog().databases().cloned().collect()
    }

    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        let change = Change::CreateDatabase { db };
        Box::pin(async { self.node.change(change).await.map(drop).map_err(translate) })
    }

    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>> {
        let change = Change::DropDatabase { db };
        Box::pin(async { self.node.change(change).await.map(drop).map_err(translate) })
    }
}
