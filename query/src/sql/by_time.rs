//! `ORDER BY time LIMIT n` over rows of one table: read from the end that is wanted, in growing
//! steps, as long as that reads but a part of the table.

use super::plain::Plain;
use crate::{
    Error, QueryOptions, Result, answer::Stats, parallel, question::Order, target::Out,
    watch::Watch,
};
use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;
use oribi_model::{Block, ReadPath, TimeRange};
use std::{
    cmp::Reverse,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Batches of rows with their times.
type Picked = Vec<(Arc<[i64]>, RecordBatch)>;

/// Writes the first `limit` rows in `order`; `None` where too much would have to be read for them.
///
/// # Errors
/// As [`Plain::answer`].
pub(super) fn answer(
    plain: &Plain,
    (order, limit): (Order, usize),
    read: &dyn ReadPath,
    options: &QueryOptions,
    watch: &Arc<Watch>,
    out: &mut Out<'_>,
) -> Result<Option<Stats>> {
    /// How much longer each step is than the one before.
    const GROWTH: i64 = 8;
    /// Share of the table that is read in this way at most.
    const SHARE: i64 = 4;
    let stats = read.stats(plain.table.id);
    let stored = stats.time.map(|stored| stored.intersect(plain.filter.time));
    let Some(span) = stored.filter(|span| !span.is_empty()) else { return Ok(None) };
    if limit == 0 || limit > options.answer_rows_max {
        return Ok(None);
    }
    let length = span.end.saturating_sub(span.start);
    let share = (2 * limit as u64) as f64 / (stats.rows.max(1) as f64);
    let mut step = ((length as f64 * share) as i64).max(1);
    while step < length / SHARE {
        // Rows may have come since the statistics were taken, so the end stays open.
        let range = match order {
            Order::Descending => {
                TimeRange::new(span.end.saturating_sub(step), plain.filter.time.end)
            }
            Order::Ascending => {
                TimeRange::new(plain.filter.time.start, span.start.saturating_add(step))
            }
        };
        let picked = rows(plain, range, read, options, watch)?;
        let count: usize = picked.iter().map(|(times, _)| times.len()).sum();
        if count >= limit {
            let batch = first(picked, order, limit)?;
            out.begin(&plain.relation.schema)?;
            out.rows(batch)?;
            return Ok(Some(Stats::default()));
        }
        step = step.saturating_mul(GROWTH);
    }
    Ok(None)
}

fn rows(
    plain: &Plain,
    range: TimeRange,
    read: &dyn ReadPath,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Picked> {
    let mut spec = plain.spec(watch);
    spec.time = spec.time.intersect(range);
    let tablets = read.scan(plain.table.id, &spec, options.threads())?;
    watch.check()?;
    let parts = tablets.into_iter().flat_map(|tablet| tablet.parts).collect();
    let bytes = AtomicUsize::new(0);
    let take = |picked: &mut Picked, _: usize, block: Block| {
        let block = plain.filter.apply(block, &spec.columns)?;
        if block.rows() > 0 {
            let batch = plain.relation.batch(&block, &spec.columns);
            let batch = batch.map_err(|error| Error::Internal { detail: error.to_string() })?;
            let more = batch.get_array_memory_size() + block.rows() * size_of::<i64>();
            if bytes.fetch_add(more, Ordering::Relaxed) + more > options.memory_bytes_max {
                let memory_bytes_max = options.memory_bytes_max;
                return Err(Error::MemoryLimit { memory_bytes_max });
            }
            picked.push((block.times.to_vec().into(), batch));
        }
        Ok(ControlFlow::Continue(()))
    };
    let picked = parallel::fold(parts, options.sharing(), watch, Vec::new, take)?;
    Ok(picked.into_iter().flatten().collect())
}

fn first(picked: Picked, order: Order, limit: usize) -> Result<RecordBatch> {
    let places = picked.iter().enumerate().flat_map(|(at, (times, _))| {
        times.iter().enumerate().map(move |(row, time)| (*time, at, row))
    });
    let mut places: Vec<(i64, usize, usize)> = places.collect();
    match order {
        Order::Ascending => places.sort_unstable_by_key(|(time, ..)| *time),
        Order::Descending => places.sort_unstable_by_key(|(time, ..)| Reverse(*time)),
    }
    places.truncate(limit);
    let places: Vec<(usize, usize)> = places.into_iter().map(|(_, at, row)| (at, row)).collect();
    let batches: Vec<&RecordBatch> = picked.iter().map(|(_, batch)| batch).collect();
    interleave_record_batch(&batches, &places)
        .map_err(|error| Error::Internal { detail: error.to_string() })
}
