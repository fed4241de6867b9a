//! How much is read for an answer of a few rows.
#![allow(clippy::unwrap_used)]

mod support;

use oribi_model::{ColumnType, ReadPath, ScanSpec, Table, TableId, TableStats, TabletScan, Value};
use oribi_query::{QueryEngine, QueryOptions};
use serde_json::Value as Json;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use support::{Memory, MemoryTable, router};

const ROWS: i64 = 6_000;
const HOSTS: i64 = 3;

/// Counts the blocks that are read.
struct Counted {
    memory: Memory,
    blocks: Arc<AtomicUsize>,
}

impl ReadPath for Counted {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        self.memory.table(db, table)
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        self.memory.tables()
    }

    fn stats(&self, table: TableId) -> TableStats {
        self.memory.stats(table)
    }

    fn scan(
        &self,
        table: TableId,
        spec: &ScanSpec,
        parts_max: usize,
    ) -> oribi_model::Result<Vec<TabletScan>> {
        let mut tablets = self.memory.scan(table, spec, parts_max)?;
        for part in tablets.iter_mut().flat_map(|tablet| &mut tablet.parts) {
            let inner = std::mem::replace(part, Box::new(std::iter::empty()));
            let blocks = self.blocks.clone();
            *part = Box::new(inner.inspect(move |_| {
                blocks.fetch_add(1, Ordering::Relaxed);
            }));
        }
        Ok(tablets)
    }
}

/// A row a host and 10 ns, of which some lack a value; the last host ends early and begins late.
fn counted() -> Counted {
    let fields = [("v", ColumnType::Float), ("w", ColumnType::Int)];
    let mut table = MemoryTable::new(1, "default", "m", &["host"], &fields);
    table.range_ns = 10_000;
    table.block_rows = 50;
    for at in 0..ROWS {
        for host in 0..HOSTS {
            let is_late = host == HOSTS - 1 && !(ROWS / 50..ROWS - ROWS / 50).contains(&at);
            let value = (at % 7 != host && !is_late).then_some(Value::Float(at as f64 * 0.5));
            let whole = (at % 100 == 0).then_some(Value::Int(at));
            let is_end = at == ROWS - 1;
            let whole = if is_end { Some(Value::Int(at)) } else { whole };
            table.put(&[&format!("h{host}")], at * 10, &[value, whole]);
        }
    }
    Counted { memory: Memory(vec![table]), blocks: Arc::default() }
}

/// A node whose reading is counted.
struct Node {
    engine: QueryEngine,
    blocks: Arc<AtomicUsize>,
}

impl Node {
    fn new() -> Node {
        let read = counted();
        let blocks = read.blocks.clone();
        let options = QueryOptions { threads_max: 1, ..QueryOptions::default() };
        Node { engine: QueryEngine::new(Arc::new(read), options), blocks }
    }

    /// Rows, and the blocks read for them.
    async fn ask(&self, path: &str, pairs: &[(&str, &str)]) -> (Vec<Json>, usize) {
        self.blocks.store(0, Ordering::Relaxed);
        let (status, answer) = support::get(router(self.engine.clone()), path, pairs).await;
        assert_eq!(status, 200, "{pairs:?}: {answer}");
        (answer["rows"].as_array().unwrap().clone(), self.blocks.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_limit_ends_the_reading_of_windows() {
    let node = Node::new();
    let base =
        [("table", "m"), ("select", "mean(v), sum(w), count(*), last(w)"), ("window", "20ns")];
    for group_by in ["", "host"] {
        for fill in ["none", "null", "0.5", "previous", "linear"] {
            for order in ["asc", "desc"] {
                let all = [&base[..], &[("group_by", group_by), ("fill", fill), ("order", order)]];
                let all = all.concat();
                let (whole, blocks_whole) = node.ask("/api/v1/query", &all).await;
                for limit in [1usize, 10, 25] {
                    let text = limit.to_string();
                    let some = [&all[..], &[("limit", &text)]].concat();
                    let (rows, blocks) = node.ask("/api/v1/query", &some).await;
                    assert_eq!(rows, whole[..limit], "{some:?}");
                    assert!(2 * blocks < blocks_whole, "{some:?}: {blocks} of {blocks_whole}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_limit_ends_the_reading_of_rows_by_time() {
    let node = Node::new();
    for order in ["ASC", "DESC"] {
        let all = format!("SELECT time, host, v FROM m WHERE host = 'h1' ORDER BY time {order}");
        let (whole, blocks_whole) = node.ask("/api/v1/sql", &[("q", &all)]).await;
        let some = format!("{all} LIMIT 10");
        let (rows, blocks) = node.ask("/api/v1/sql", &[("q", &some)]).await;
        assert_eq!(rows, whole[..10], "{order}");
        assert!(10 * blocks < blocks_whole, "{order}: {blocks} of {blocks_whole}");
    }
    let (_, blocks_whole) = node.ask("/api/v1/sql", &[("q", "SELECT v FROM m")]).await;
    let (rows, blocks) = node.ask("/api/v1/sql", &[("q", "SELECT v FROM m LIMIT 120")]).await;
    assert_eq!(rows.len(), 120);
    assert!(10 * blocks < blocks_whole, "{blocks} of {blocks_whole}");
}

#[tokio::test]
async fn rows_of_one_time_come_by_their_series_whatever_the_limit() {
    let node = Node::new();
    for order in ["ASC", "DESC"] {
        let all = format!("SELECT time, host FROM m ORDER BY time {order}, host");
        let (whole, _) = node.ask("/api/v1/sql", &[("q", &all)]).await;
        for limit in [1, 2, 4, 7, 60] {
            let some = format!("SELECT time, host FROM m ORDER BY time {order} LIMIT {limit}");
            let (rows, _) = node.ask("/api/v1/sql", &[("q", &some)]).await;
            assert_eq!(rows, whole[..limit], "{order} {limit}");
        }
    }
}
