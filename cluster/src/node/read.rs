//! The node as a read path.

use super::{
    Node,
    question::AskedNode,
    view::{Only, View},
};
use crate::route::scan::AsOf;
use oribi_model::{
    Consistency, LogIndex, ReadPath, Result, ScanSpec, Table, TableId, TableStats, TabletScan,
};
use std::sync::Arc;

impl ReadPath for Node {
    fn begin(&self, consistency: Consistency) -> Result<Option<Arc<dyn ReadPath>>> {
        let stopping = || oribi_model::Error::Behind(crate::Error::Stopping.to_string());
        let node = self.me.upgrade().ok_or_else(stopping)?;
        let mut asked = AskedNode::new(node, Only::All, self.as_of(consistency));
        asked.find_tables()?;
        Ok(Some(Arc::new(asked)))
    }

    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.catalog().table(db, table).cloned()
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.catalog().tables().cloned().collect()
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.stats_of(&self.view(), table)
    }

    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>> {
        self.scan_of(&self.view(), table, spec, parts_max)
    }
}

impl Node {
    fn as_of(&self, consistency: Consistency) -> AsOf {
        AsOf { consistency, clock_ns: self.clock.now_ns(), catalog: LogIndex(0) }
    }

    /// The view of a question that is asked without a beginning.
    fn view(&self) -> View {
        View::new(Only::All, self.as_of(Consistency::Linearizable))
    }
}
