//! Rows as batches in their log form. Those of a block have columns that are numbered from 1 in the order asked for.

use bytes::Bytes;
use oribi_model::{
    Block, ColumnId, ColumnRead, RowBatch, Run, SeriesFilter, SeriesKey, SeriesKeys, TableId,
};
use oribi_store::codec;
use std::ops::Range;

/// A block as it travels: in pieces of at most `bytes_max`, as far as its rows can be parted.
pub(crate) fn encode_block(block: &Block, bytes_max: usize) -> Vec<Bytes> {
    parted(block.rows(), bytes_max, |rows| encoded(&batch_of(block, rows)))
}

/// Committed rows as they travel: in pieces of at most `bytes_max`, as far as they can be parted.
pub(crate) fn encode_rows(batch: &RowBatch, bytes_max: usize) -> Vec<Bytes> {
    parted(batch.rows(), bytes_max, |rows| {
        if rows.len() == batch.rows() {
            return encoded(batch);
        }
        encoded(&batch.take((rows.start as u32..rows.end as u32).collect()))
    })
}

/// Reads what [`encode_rows`] gave.
pub(crate) fn decode_rows(bytes: &[u8]) -> Option<RowBatch> {
    codec::decode_batch(bytes).ok()
}

fn parted(rows: usize, bytes_max: usize, encode: impl Fn(Range<usize>) -> Bytes) -> Vec<Bytes> {
    let mut done = Vec::new();
    let mut parts: Vec<Range<usize>> = std::iter::once(0..rows).collect();
    while let Some(part) = parts.pop() {
        let encoded = encode(part.clone());
        if encoded.len() <= bytes_max || part.len() <= 1 {
            done.push(encoded);
            continue;
        }
        let middle = part.start + part.len() / 2;
        parts.extend([middle..part.end, part.start..middle]);
    }
    done
}

fn encoded(batch: &RowBatch) -> Bytes {
    let mut out = Vec::new();
    codec::encode_batch(batch, &mut out);
    out.into()
}

fn batch_of(block: &Block, rows: Range<usize>) -> RowBatch {
    let mut series = SeriesKeys::default();
    let mut row_series = Vec::with_capacity(rows.len());
    for (key, of_run) in block.runs() {
        let shared = of_run.start.max(rows.start)..of_run.end.min(rows.end);
        if !shared.is_empty() {
            let at = series.len() as u32;
            series.push_bytes(key.as_bytes());
            row_series.extend(std::iter::repeat_n(at, shared.len()));
        }
    }
    let columns = block.columns.iter().map(|values| values.slice(rows.start, rows.len()));
    RowBatch {
        table: TableId(0),
        schema_version: 0,
        series,
        row_series,
        times: block.times[rows.clone()].to_vec(),
        columns: (1..).map(ColumnId).zip(columns).collect(),
        cursor: None,
    }
}

/// Reads what [`encode_block`] gave; `columns` are those that were asked for.
pub(crate) fn decode_block(bytes: &[u8], columns: &[ColumnRead]) -> Option<Block> {
    let batch = codec::decode_batch(bytes).ok()?;
    let types = batch.columns.iter().map(|(_, values)| values.column_type());
    if !types.eq(columns.iter().map(|read| read.column_type)) {
        return None;
    }
    let mut runs: Vec<Run> = Vec::with_capacity(batch.series.len());
    let mut last = None;
    for at in &batch.row_series {
        if last != Some(*at) {
            // Each series has its rows in one run.
            if last.is_some_and(|last| last > *at) {
                return None;
            }
            runs.push(Run { series: batch.series.key(*at as usize), rows: 0 });
            last = Some(*at);
        }
        runs.last_mut()?.rows += 1;
    }
    let columns = batch.columns.into_iter().map(|(_, values)| values).collect();
    Some(Block { runs, times: batch.times.into(), columns })
}

/// The rows of a block whose series a filter wants, in blocks of their own where that is not all.
pub(crate) fn wanted(block: Block, filter: &SeriesFilter) -> Vec<Block> {
    if block.runs.iter().all(|run| filter.wants(&run.series)) {
        return vec![block];
    }
    let wanted = block.runs().filter(|(series, _)| filter.wants(series));
    let alone = |(series, rows): (&SeriesKey, Range<usize>)| Block {
        runs: vec![Run { series: series.clone(), rows: rows.len() }],
        times: block.times.slice(rows.start, rows.len()),
        columns: block.columns.iter().map(|values| values.slice(rows.start, rows.len())).collect(),
    };
    wanted.map(alone).collect()
}
