//! Rows by the log entries that they came with, for those who pass them on.

use super::{OpenSegment, Tablet};
use crate::{
    Result,
    scan::{self, Source},
};
use oribi_model::{
    BatchIter, Block, LogIndex, RowBatch, RowsWanted, ScanSpec, SeriesFilter, SeriesKeys, TableId,
    TimeRange,
};

/// The rows of one segment, or of those that end with the same log entry.
pub struct SegmentRows {
    /// The newest log entry whose rows are inside.
    pub last: LogIndex,
    /// The rows, in the order of a scan.
    pub rows: BatchIter,
}

impl Tablet {
    /// The rows of the oldest segment that holds rows of entry `index` or later ones. `None` where
    /// no segment does.
    ///
    /// # Errors
    /// As [`Tablet::scan`].
    pub fn segment_from(&self, index: LogIndex) -> Result<Option<SegmentRows>> {
        let state = self.state.read();
        self.may_read()?;
        let newer = |open: &&OpenSegment| open.entry.last >= index;
        let Some(last) = state.segments.iter().find(newer).map(|open| open.entry.last) else {
            return Ok(None);
        };
        // Where a manifest was made again nobody knows how far each one went.
        let same = state.segments.iter().filter(|open| open.entry.last == last);
        let sources: Vec<Source> = same.map(|open| open.source(&state.deletes)).collect();
        drop(state);
        let spec = ScanSpec {
            columns: scan::columns_of(&sources),
            time: TimeRange::ALL,
            series: SeriesFilter::All,
            rows: RowsWanted::All,
        };
        let parts = scan::parts(self.spec.id, &sources, &spec, 1, None)?;
        let (table, blocks) = (self.spec.table, parts.into_iter().flatten());
        let rows = blocks.map(move |block| Ok(batch_of(table, &spec, block?)));
        Ok(Some(SegmentRows { last, rows: Box::new(rows) }))
    }
}

fn batch_of(table: TableId, spec: &ScanSpec, block: Block) -> RowBatch {
    let mut series = SeriesKeys::default();
    let mut row_series = Vec::with_capacity(block.rows());
    for run in &block.runs {
        let number = series.push_with(|bytes| bytes.extend_from_slice(run.series.as_bytes()));
        row_series.extend(std::iter::repeat_n(number as u32, run.rows));
    }
    let columns = spec.columns.iter().map(|read| read.id).zip(block.columns);
    let mut columns: Vec<_> =
        columns.filter(|(_, values)| values.null_count() < values.len()).collect();
    columns.sort_by_key(|(id, _)| *id);
    RowBatch {
        table,
        schema_version: 0,
        series,
        row_series,
        times: block.times.to_vec(),
        columns,
        cursor: None,
    }
}
