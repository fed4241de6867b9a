//! How a window question is read: as little of the table as can be told to be enough.

use crate::{
    QueryOptions, Result,
    answer::Stats,
    figures::{Figures, GroupKey, group_key},
    finish::{Finished, Part, finish, finish_part},
    operator::{self, Limits},
    parallel::Sharing,
    plan::Plan,
    question::{Fill, Order},
    select::{Function, Input, Item},
    target::Out,
    watch::Watch,
    windows::Windows,
};
use axum::body::Bytes;
use hashbrown::HashMap;
use oribi_model::{
    Block, BlockIter, ReadPath, RowsWanted, ScanSpec, SeriesDigests, SeriesFilter, SeriesKey,
    TabletScan, TimeRange,
};
use std::sync::Arc;

/// Scans, folds, finishes and writes a plan; looks at the newest rows first where these may be
/// enough.
pub(crate) fn answer(
    read: &dyn ReadPath,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Arc<Watch>,
    out: &mut Out<'_>,
) -> Result<Stats> {
    let finished = finished(read, plan, options, watch)?;
    finished.write(out)?;
    Ok(finished.stats())
}

/// The figures of the rows that are here, for [`merged`]: of all of them, or of so many that the
/// answer cannot need others.
pub(crate) fn figures(
    read: &dyn ReadPath,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Vec<u8>> {
    if let Some(figures) = last_rows(read, plan, options, watch)? {
        return Ok(figures.to_bytes(plan));
    }
    let span = stored(read, plan);
    if let Some(span) = span
        && let Some(figures) = enough_from_one_end(read, plan, span, options, watch)?
    {
        return Ok(figures);
    }
    Ok(fold(read, plan, plan.range, span, options, watch)?.to_bytes(plan))
}

/// Writes the answer that figures from elsewhere make together.
pub(crate) fn merged(
    plan: &Plan,
    parts: Vec<Bytes>,
    options: &QueryOptions,
    watch: &Watch,
    out: &mut Out<'_>,
) -> Result<Stats> {
    let mut figures = Figures::new(plan, None, options.windows_max);
    for part in parts {
        watch.check()?;
        let part = Figures::from_bytes(plan, &part, options.windows_max, watch)?;
        figures.merge(plan, part, watch)?;
    }
    let finished = finish(plan, figures.settle(plan, watch)?, options, watch)?;
    finished.write(out)?;
    Ok(finished.stats())
}

/// The times of rows that may be wanted; `None` without any.
fn stored(read: &dyn ReadPath, plan: &Plan) -> Option<TimeRange> {
    let stored = read.stats(plan.table.id).time?.intersect(plan.range);
    (!stored.is_empty()).then_some(stored)
}

fn finished<'a>(
    read: &dyn ReadPath,
    plan: &'a Plan,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Finished<'a>> {
    let span = stored(read, plan);
    if let Some(figures) = last_rows(read, plan, options, watch)? {
        return finish(plan, figures.settle(plan, watch)?, options, watch);
    }
    if let Some(span) = span
        && let Some(answer) = from_one_end(read, plan, span, options, watch)?
    {
        return Ok(answer);
    }
    scan(read, plan, plan.range, span, options, watch)
}

/// The figures of a question for nothing but last values, made of the last row of each series. `None`:
/// some series lacks a value there, so all must be read, or it is another question.
fn last_rows(
    read: &dyn ReadPath,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Option<Figures>> {
    let only_last = plan.items.iter().all(|item| item.function == Function::Last);
    let whole = matches!(plan.windows, Windows::Whole) && plan.filter.is_of_series();
    if !only_last || !whole || plan.range.is_empty() {
        return Ok(None);
    }
    let mut found = LastRows::default();
    for (range, unseen) in steps(read, plan, watch) {
        let mut spec = spec(plan, range, RowsWanted::Last, watch);
        if unseen == Unseen::Only {
            let seen = SeriesDigests::of(found.whole.keys().map(SeriesKey::as_bytes));
            spec.series = SeriesFilter::Except(seen);
        }
        found.read(read.scan(plan.table.id, &spec, 1)?, watch)?;
        watch.check()?;
    }
    let LastRows { blocks, whole, tablets } = found;
    if whole.values().any(|whole| !whole) {
        return Ok(None);
    }
    let parts: Vec<BlockIter> = vec![Box::new(blocks.into_iter())];
    let limits = Limits {
        windows_max: options.windows_max,
        sharing: Sharing { threads: 1, ..options.sharing() },
    };
    operator::run(plan, (parts, tablets), Some((0, 0)), limits, watch).map(Some)
}

/// Which series a step reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unseen {
    /// All that are wanted.
    All,
    /// Those that no step before has met.
    Only,
}

/// The newest part of the range, in which most series have their last row, and then the rest for
/// those that have none there.
fn steps(read: &dyn ReadPath, plan: &Plan, watch: &Arc<Watch>) -> Vec<(TimeRange, Unseen)> {
    const SHARE: i64 = 8;
    let everyone = matches!(plan.filter.series(watch), SeriesFilter::All);
    let Some(span) = stored(read, plan).filter(|_| everyone) else {
        return vec![(plan.range, Unseen::All)];
    };
    let cut = span.end - span.end.saturating_sub(span.start) / SHARE;
    vec![
        (TimeRange::new(cut, plan.range.end), Unseen::All),
        (TimeRange::new(plan.range.start, cut), Unseen::Only),
    ]
}

/// The last rows of series, as far as they were read.
#[derive(Default)]
struct LastRows {
    blocks: Vec<oribi_model::Result<Block>>,
    /// Whether each series' last row has all cells.
    whole: HashMap<SeriesKey, bool>,
    tablets: u64,
}

impl LastRows {
    fn read(&mut self, tablets: Vec<TabletScan>, watch: &Watch) -> Result<()> {
        self.tablets += tablets.len() as u64;
        for block in tablets.into_iter().flat_map(|tablet| tablet.parts).flatten() {
            watch.check_between()?;
            let block = block?;
            for (series, rows) in block.runs().filter(|(_, rows)| !rows.is_empty()) {
                let whole = block.columns.iter().all(|column| !column.is_null(rows.end - 1));
                self.whole.insert(series.clone(), whole);
            }
            self.blocks.push(Ok(block));
        }
        Ok(())
    }
}

fn spec(plan: &Plan, time: TimeRange, rows: RowsWanted, watch: &Arc<Watch>) -> ScanSpec {
    let (columns, series) = (plan.scan_columns.clone(), plan.filter.series(watch));
    ScanSpec { columns, time, series, rows }
}

/// Answers a question with a limit from the end of the range that its order wants, in growing
/// steps, as long as that reads but a part of it. `None`: all must be read.
fn from_one_end<'a>(
    read: &dyn ReadPath,
    plan: &'a Plan,
    span: TimeRange,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Option<Finished<'a>>> {
    let Some(limit) = plan.limit else { return Ok(None) };
    let mut ends = ends(plan, span, limit).peekable();
    if ends.peek().is_none() {
        return Ok(None);
    }
    let Some(groups) = live_groups(read, plan, watch)? else { return Ok(None) };
    for (range, bounds) in ends {
        let figures = fold(read, plan, range, Some(range.intersect(span)), options, watch)?;
        let part = Part { first: bounds.0, last: bounds.1, groups: groups.clone() };
        let figures = figures.settle(plan, watch)?;
        let answer = finish_part(plan, figures, Some(part), options, watch)?;
        if let Some(answer) = answer.filter(|answer| answer.rows() >= limit) {
            return Ok(Some(answer));
        }
    }
    Ok(None)
}

/// The figures of so many windows from the end that the order wants that they alone make as many rows
/// as are wanted: rows of elsewhere add to these, and the others come after. `None`: all are needed.
fn enough_from_one_end(
    read: &dyn ReadPath,
    plan: &Plan,
    span: TimeRange,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Option<Vec<u8>>> {
    // What is filled into empty windows may come from beyond.
    let Some(limit) = plan.limit.filter(|_| plan.fill == Fill::None) else { return Ok(None) };
    for (range, _) in ends(plan, span, limit) {
        let figures = fold(read, plan, range, Some(range.intersect(span)), options, watch)?;
        let bytes = figures.to_bytes(plan);
        let rows = finish(plan, figures.settle(plan, watch)?, options, watch)?.rows();
        if rows >= limit {
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

/// Growing parts of the range from the end that the order wants, with their first and last window, as
/// long as they are but a part.
fn ends(
    plan: &Plan,
    span: TimeRange,
    limit: usize,
) -> impl Iterator<Item = (TimeRange, (i64, i64))> {
    /// How much longer each step is than the one before.
    const GROWTH: i64 = 16;
    // Rows may have come since the statistics were taken, so the end stays open.
    let last = plan.windows.at(span.end - 1).index;
    let first = plan.windows.at(span.start).index;
    let least = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    let none = matches!(plan.windows, Windows::Whole) || limit == 0;
    let steps = std::iter::successors((!none).then_some(least), |windows| {
        Some(windows.saturating_mul(GROWTH))
    });
    let is_part = move |windows: &i64| *windows < last.saturating_sub(first) / 4;
    steps.take_while(is_part).map(move |windows| match plan.order {
        Order::Descending => {
            let first = last.saturating_sub(windows);
            let start = plan.windows.start(first).max(plan.range.start);
            (TimeRange::new(start, plan.range.end), (first, last))
        }
        Order::Ascending => {
            let end = plan.windows.start(first.saturating_add(windows));
            let range = TimeRange::new(plan.range.start, end.min(plan.range.end));
            (range, (first, first.saturating_add(windows) - 1))
        }
    })
}

/// The groups that have a value, where empty windows of each are filled; told by the last row of each
/// series. `None`: some group has none there, and may have one earlier.
fn live_groups(
    read: &dyn ReadPath,
    plan: &Plan,
    watch: &Arc<Watch>,
) -> Result<Option<Vec<GroupKey>>> {
    if plan.group.is_empty() || plan.fill == Fill::None {
        return Ok(Some(Vec::new()));
    }
    // Of one value, these functions make one.
    let is_simple = |item: &&Item| {
        !matches!(item.function, Function::Stddev | Function::Rate | Function::Delta)
    };
    let inputs: Vec<Input> = plan.items.iter().filter(is_simple).map(|item| item.input).collect();
    if !plan.filter.is_of_series() || inputs.is_empty() {
        return Ok(None);
    }
    let mut live: HashMap<GroupKey, bool> = HashMap::new();
    let spec = spec(plan, plan.range, RowsWanted::Last, watch);
    let tablets = read.scan(plan.table.id, &spec, 1)?;
    for block in tablets.into_iter().flat_map(|tablet| tablet.parts).flatten() {
        watch.check_between()?;
        let block = block?;
        for (series, rows) in block.runs().filter(|(_, rows)| !rows.is_empty()) {
            let has_value = inputs.iter().any(|input| match *input {
                Input::Rows | Input::Time => true,
                Input::Field { place, .. } => !block.columns[place].is_null(rows.end - 1),
            });
            let key = group_key(plan, series);
            let bytes = key.iter().flatten().map(|tag| tag.len() + 32).sum::<usize>() + 64;
            let group = live.entry(key).or_insert_with(|| false);
            if !*group {
                watch.grow(bytes)?;
            }
            *group |= has_value;
        }
    }
    Ok(live.values().all(|live| *live).then(|| live.into_keys().collect()))
}

fn scan<'a>(
    read: &dyn ReadPath,
    plan: &'a Plan,
    range: TimeRange,
    span: Option<TimeRange>,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Finished<'a>> {
    let figures = fold(read, plan, range, span, options, watch)?;
    finish(plan, figures.settle(plan, watch)?, options, watch)
}

fn fold(
    read: &dyn ReadPath,
    plan: &Plan,
    range: TimeRange,
    span: Option<TimeRange>,
    options: &QueryOptions,
    watch: &Arc<Watch>,
) -> Result<Figures> {
    let hint = span
        .filter(|span| !span.is_empty())
        .map(|span| (plan.windows.at(span.start).index, plan.windows.at(span.end - 1).index));
    let mut parts = Vec::new();
    let mut tablets = 0;
    if !range.is_empty() {
        let spec = spec(plan, range, RowsWanted::All, watch);
        for tablet in read.scan(plan.table.id, &spec, options.threads())? {
            tablets += 1;
            parts.extend(tablet.parts);
        }
        watch.check()?;
    }
    let limits = Limits { windows_max: options.windows_max, sharing: options.sharing() };
    operator::run(plan, (parts, tablets), hint, limits, watch)
}
