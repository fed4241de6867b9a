//! An answer: named, typed columns and what it cost.

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use oribi_model::Reading;
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
    /// Tablets asked, where that is known.
    pub tablets: Option<u64>,
    /// Nodes asked, the one that answers among them, where that is known.
    pub nodes: Option<u64>,
    /// How old what was read may be, of a question that allowed it.
    pub staleness: Option<Duration>,
    /// The node that was asked, where the engine knows it.
    pub served_by: Option<u32>,
}

impl Stats {
    /// The same, with what a question says that it has read.
    pub(crate) fn with(self, reading: Option<Reading>) -> Stats {
        let Some(Reading { nodes, tablets, staleness }) = reading else { return self };
        let (nodes, tablets) = (Some(nodes as u64), Some(tablets as u64));
        Stats { nodes, tablets, staleness, ..self }
    }
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
