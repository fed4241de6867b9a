//! `ORDER BY time LIMIT n` over rows of one table: read from the end that is wanted, in growing
//! steps, as long as that reads but a part of the table.

use super::{newest, plain::Plain};
use crate::{
    Error, QueryOptions, Result, answer::Stats, filter::select_rows, parallel, question::Order,
    target::Out, watch::Watch,
};
use arrow_array::{BooleanArray, RecordBatch};
use arrow_schema::ArrowError;
use arrow_select::interleave::interleave_record_batch;
use oribi_model::{Block, ReadPath, SeriesFilter, SeriesKey, TimeRange};
use std::{
    cmp::Reverse,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Rows of a block that may be among the first.
struct Candidates {
    /// Times and series, which no two rows of a table share, as they stand in the batch.
    keys: Vec<(i64, SeriesKey)>,
    batch: RecordBatch,
}

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
    if order == Order::Descending
        && let Some((range, series)) = newest::of(plain, limit, span, read, watch)?
    {
        let picked = candidates(plain, (order, limit), (range, series), read, options, watch)?;
        if let Some(stats) = write(plain, &picked, (order, limit), out)? {
            return Ok(Some(stats));
        }
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
        let scanned = (range, plain.filter.series(watch));
        let picked = candidates(plain, (order, limit), scanned, read, options, watch)?;
        if let Some(stats) = write(plain, &picked, (order, limit), out)? {
            return Ok(Some(stats));
        }
        step = step.saturating_mul(GROWTH);
    }
    Ok(None)
}

/// Writes the first rows, where there are enough.
fn write(
    plain: &Plain,
    picked: &[Candidates],
    (order, limit): (Order, usize),
    out: &mut Out<'_>,
) -> Result<Option<Stats>> {
    let count: usize = picked.iter().map(|candidates| candidates.keys.len()).sum();
    if count < limit {
        return Ok(None);
    }
    let batch = first(picked, order, limit)?;
    out.begin(&plain.relation.schema)?;
    out.rows(batch)?;
    Ok(Some(Stats::default()))
}

/// Of the rows of some series in a range, those that may be among the first.
fn candidates(
    plain: &Plain,
    (order, limit): (Order, usize),
    (range, series): (TimeRange, SeriesFilter),
    read: &dyn ReadPath,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Vec<Candidates>> {
    let mut spec = plain.spec(watch);
    spec.time = spec.time.intersect(range);
    spec.series = series;
    let tablets = read.scan(plain.table.id, &spec, options.threads())?;
    watch.check()?;
    let parts = tablets.into_iter().flat_map(|tablet| tablet.parts).collect();
    let bytes = AtomicUsize::new(0);
    let take = |picked: &mut Vec<Candidates>, _: usize, block: Block| {
        let internal = |error: ArrowError| Error::Internal { detail: error.to_string() };
        let mut block = plain.filter.apply(block, &spec.columns)?;
        if let Some(mask) = first_of(&block.times, order, limit) {
            block = select_rows(&block, &mask).map_err(internal)?;
        }
        if block.rows() > 0 {
            let batch = plain.relation.batch(&block, &spec.columns).map_err(internal)?;
            let keys = block.runs().flat_map(|(series, rows)| {
                block.times[rows].iter().map(|time| (*time, series.clone()))
            });
            let keys: Vec<(i64, SeriesKey)> = keys.collect();
            let more = batch.get_array_memory_size() + size_of_val(&keys[..]);
            if bytes.fetch_add(more, Ordering::Relaxed) + more > options.memory_bytes_max {
                let memory_bytes_max = options.memory_bytes_max;
                return Err(Error::MemoryLimit { memory_bytes_max });
            }
            picked.push(Candidates { keys, batch });
        }
        Ok(ControlFlow::Continue(()))
    };
    let picked = parallel::fold(parts, options.sharing(), watch, Vec::new, take)?;
    Ok(picked.into_iter().flatten().collect())
}

/// Of the rows of a block, which are the first `limit` in `order`; of rows of one time those that stand
/// first. `None`: all are.
fn first_of(times: &[i64], order: Order, limit: usize) -> Option<BooleanArray> {
    if times.len() <= limit {
        return None;
    }
    let mut sorted = times.to_vec();
    let at = limit.checked_sub(1)?;
    let last = match order {
        Order::Ascending => *sorted.select_nth_unstable(at).1,
        Order::Descending => *sorted.select_nth_unstable_by_key(at, |time| Reverse(*time)).1,
    };
    let is_before = |time: i64| match order {
        Order::Ascending => time < last,
        Order::Descending => time > last,
    };
    let mut left = limit - times.iter().filter(|time| is_before(**time)).count();
    let is_one = |time: &i64| {
        let is_last = *time == last && left > 0;
        left -= usize::from(is_last);
        is_last || is_before(*time)
    };
    Some(times.iter().map(is_one).map(Some).collect())
}

/// The first rows of all, those of one time by their series, so that the same question has one answer.
fn first(picked: &[Candidates], order: Order, limit: usize) -> Result<RecordBatch> {
    let places = picked.iter().enumerate().flat_map(|(at, candidates)| {
        let keys = candidates.keys.iter().enumerate();
        keys.map(move |(row, (time, series))| (*time, series, (at, row)))
    });
    let mut places: Vec<(i64, &SeriesKey, (usize, usize))> = places.collect();
    match order {
        Order::Ascending => places.sort_unstable(),
        Order::Descending => {
            places.sort_unstable_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(b.1)));
        }
    }
    places.truncate(limit);
    let places: Vec<(usize, usize)> = places.into_iter().map(|(.., place)| place).collect();
    let batches: Vec<&RecordBatch> = picked.iter().map(|candidates| &candidates.batch).collect();
    interleave_record_batch(&batches, &places)
        .map_err(|error| Error::Internal { detail: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_block_no_more_rows_than_wanted_are_kept_and_of_one_time_the_first() {
        let times = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3];
        let kept = |order, limit| {
            let mask = first_of(&times, order, limit).unwrap();
            (0..times.len()).filter(|at| mask.value(*at)).collect::<Vec<_>>()
        };
        assert_eq!(kept(Order::Ascending, 1), [1]);
        assert_eq!(kept(Order::Ascending, 4), [0, 1, 3, 6]);
        assert_eq!(kept(Order::Descending, 3), [4, 5, 7]);
        assert!(first_of(&times, Order::Ascending, times.len()).is_none());
    }
}
