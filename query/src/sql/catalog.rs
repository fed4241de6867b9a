//! Databases as schemas and tables as table providers.

use crate::{
    filter, pushdown,
    pushdown::Part,
    relation::Relation,
    sql::scan::{Scan, Source, Tablets},
    watch::Watch,
};
use arrow_schema::SchemaRef;
use async_trait::async_trait;
use datafusion::{
    catalog::{CatalogProvider, SchemaProvider, Session, TableProvider},
    common::DataFusionError,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType},
    physical_plan::ExecutionPlan,
};
use oribi_model::{ReadPath, RowsWanted, ScanSpec, Table};
use std::{collections::BTreeSet, fmt, sync::Arc};

/// Of fewer partitions an aggregate is made at once, without partial ones.
const PARTITIONS_MIN: usize = 2;

/// What all providers of one query share.
#[derive(Clone)]
struct Shared {
    read: Arc<dyn ReadPath>,
    watch: Arc<Watch>,
    threads: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

/// All databases.
#[derive(Debug)]
pub(crate) struct Catalog(Shared);

impl Catalog {
    /// The databases of `read`, for one query.
    pub(crate) fn new(read: Arc<dyn ReadPath>, watch: Arc<Watch>, threads: usize) -> Catalog {
        Catalog(Shared { read, watch, threads })
    }
}

impl CatalogProvider for Catalog {
    fn schema_names(&self) -> Vec<String> {
        let tables = self.0.read.tables();
        let names: BTreeSet<String> = tables.iter().map(|table| table.db.to_string()).collect();
        names.into_iter().collect()
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        Some(Arc::new(Database { shared: self.0.clone(), name: name.to_owned() }))
    }
}

#[derive(Debug)]
struct Database {
    shared: Shared,
    name: String,
}

#[async_trait]
impl SchemaProvider for Database {
    fn table_names(&self) -> Vec<String> {
        let tables = self.shared.read.tables();
        let own = tables.iter().filter(|table| table.db.as_str() == self.name);
        own.map(|table| table.name.to_string()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let table = self.shared.read.table(&self.name, name);
        Ok(table.map(|table| -> Arc<dyn TableProvider> {
            let relation = Relation::of(&table);
            Arc::new(Rows { shared: self.shared.clone(), table, relation })
        }))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.shared.read.table(&self.name, name).is_some()
    }
}

#[derive(Debug)]
struct Rows {
    shared: Shared,
    table: Arc<Table>,
    relation: Relation,
}

#[async_trait]
impl TableProvider for Rows {
    fn schema(&self) -> SchemaRef {
        self.relation.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let support = |expr: &&Expr| match pushdown::part(expr, &self.relation) {
            Part::Row => TableProviderFilterPushDown::Unsupported,
            _ => TableProviderFilterPushDown::Exact,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let pushed = pushdown::split(filters, &self.relation);
        let residual = filter::series_residual(&pushed, &self.relation)?;
        let series = filter::series_filter(pushed.tags, residual, &self.shared.watch);
        let relation = match projection {
            Some(places) => self.relation.project(places),
            None => self.relation.clone(),
        };
        let spec = ScanSpec {
            columns: relation.reads(),
            time: pushed.time,
            series,
            rows: RowsWanted::All,
        };
        let Shared { read, watch, threads } = self.shared.clone();
        let places = read.places(self.table.id, spec.time);
        let source = Source { read, table: self.table.clone(), threads };
        let whole = (relation, spec);
        if !places.is_empty() {
            // What other nodes make of their rows may do instead of these rows.
            let parts = (Tablets::All, threads.max(PARTITIONS_MIN));
            return Ok(Arc::new(Scan::closed(source, whole, parts, limit, watch)));
        }
        // Opening a scan may touch the disk.
        let open = move || Scan::open(source, whole, Tablets::All, limit, watch);
        let scan = tokio::task::spawn_blocking(open)
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(Arc::new(scan))
    }
}
