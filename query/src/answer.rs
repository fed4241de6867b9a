//! An answer: named, typed columns and what it cost.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use std::time::Duration;

/// What an answer cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Stats {
    /// Time from the request to the end of the answer.
    pub elapsed: Duration,
    /// Rows of the answer.
    pub rows: u64,
    /// Rows read, after the filter; absent for SQL.
    pub rows_scanned: Option<u64>,
    /// Series read, counted once a tablet; absent for SQL.
    pub series: Option<u64>,
    /// Tablets read; absent for SQL.
    pub tablets: Option<u64>,
    /// The node that was asked, where the engine knows it.
    pub served_by: Option<u32>,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Names and types.
    pub schema: SchemaRef,
    /// The rows in order.
    pub batches: Vec<RecordBatch>,
    /// What it cost.
    pub stats: Stats,
}

impl Answer {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}
