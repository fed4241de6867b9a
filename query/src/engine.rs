//! The one entry for questions: admission, threads, limits, cancellation.

use crate::{
    Error, QueryOptions, Result,
    answer::Answer,
    filter::FilterCache,
    finish,
    operator::{self, Limits},
    parallel::Sharing,
    plan::{self, Fill, Order, Plan, Question},
    select::Function,
    sql,
    watch::Watch,
    windows::Windows,
};
use hashbrown::HashMap;
use oribi_model::{BlockIter, Clock, ReadPath, RowsWanted, ScanSpec, SystemClock, TimeRange};
use std::{future::Future, sync::Arc};
use tokio::{runtime::Runtime, sync::Semaphore, task::JoinHandle};

/// Answers questions over a read path. Clones share limits and threads.
#[derive(Clone)]
pub struct QueryEngine {
    shared: Arc<Shared>,
}

struct Shared {
    read: Arc<dyn ReadPath>,
    options: QueryOptions,
    clock: Arc<dyn Clock>,
    filters: FilterCache,
    running: Arc<Semaphore>,
    /// Running and waiting queries together.
    admitted: Arc<Semaphore>,
    /// Threads with stacks for deep plans; `None` only while dropping.
    runtime: Option<Runtime>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Stops a query when its asker goes away.
struct StopOnDrop<T> {
    watch: Arc<Watch>,
    task: JoinHandle<T>,
}

impl<T> Drop for StopOnDrop<T> {
    fn drop(&mut self) {
        self.watch.cancel();
        self.task.abort();
    }
}

impl QueryEngine {
    /// An engine over `read`.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn new(read: Arc<dyn ReadPath>, options: QueryOptions) -> QueryEngine {
        QueryEngine::with_clock(read, options, Arc::new(SystemClock))
    }

    /// An engine whose `now` comes from `clock`.
    ///
    /// # Panics
    /// If the system gives no threads.
    pub fn with_clock(
        read: Arc<dyn ReadPath>,
        options: QueryOptions,
        clock: Arc<dyn Clock>,
    ) -> QueryEngine {
        const STACK_BYTES: usize = 32 << 20;
        const BLOCKING_THREADS_MAX: usize = 128;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(options.threads())
            .max_blocking_threads(BLOCKING_THREADS_MAX)
            .thread_stack_size(STACK_BYTES)
            .thread_name("oribi-query")
            .enable_time()
            .build()
            .expect("the system gives threads at start");
        let shared = Shared {
            running: Arc::new(Semaphore::new(options.running_max)),
            admitted: Arc::new(Semaphore::new(options.running_max + options.waiting_max)),
            read,
            options,
            clock,
            filters: FilterCache::default(),
            runtime: Some(runtime),
        };
        QueryEngine { shared: Arc::new(shared) }
    }

    /// The limits.
    pub fn options(&self) -> &QueryOptions {
        &self.shared.options
    }

    /// The read path.
    pub fn read_path(&self) -> &Arc<dyn ReadPath> {
        &self.shared.read
    }

    /// Answers a window question. Dropping the future stops the work at the next block.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn window(&self, question: Question) -> Result<Answer> {
        let shared = self.shared.clone();
        self.admit(move |watch, runtime| {
            runtime.spawn_blocking(move || window(&shared, &question, &watch))
        })
        .await
    }

    /// Answers an SQL text; unqualified tables belong to `db`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sql(&self, db: Option<String>, text: String) -> Result<Answer> {
        let shared = self.shared.clone();
        self.admit(move |watch, runtime| {
            runtime.spawn(async move {
                let Shared { read, options, filters, .. } = shared.as_ref();
                sql::answer(read, options, filters, db, &text, &watch).await
            })
        })
        .await
    }

    async fn admit(
        &self,
        start: impl FnOnce(Arc<Watch>, &Runtime) -> JoinHandle<Result<Answer>>,
    ) -> Result<Answer> {
        let shared = &self.shared;
        let options = &shared.options;
        let admitted = shared.admitted.clone().try_acquire_owned().map_err(|_| Error::Busy {
            running_max: options.running_max,
            waiting_max: options.waiting_max,
        })?;
        let watch = Arc::new(Watch::new(options));
        let runtime = shared.runtime.as_ref().expect("the runtime lives as long as the engine");
        let running = within(&watch, shared.running.clone().acquire_owned())
            .await?
            .map_err(|_| Error::Cancelled)?;
        let mut stop = StopOnDrop { task: start(watch.clone(), runtime), watch: watch.clone() };
        let joined = within(&watch, &mut stop.task).await;
        drop((running, admitted));
        let mut answer = joined?
            .map_err(|error| Error::Internal { detail: format!("a query stopped: {error}") })??;
        answer.stats.elapsed = watch.started().elapsed();
        Ok(answer)
    }
}

async fn within<T>(watch: &Watch, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(watch.remaining(), future).await.map_err(|_| watch.time_limit())
}

fn window(shared: &Shared, question: &Question, watch: &Watch) -> Result<Answer> {
    let options = &shared.options;
    let now_ns = shared.clock.now_ns();
    let plan = plan::plan(question, shared.read.as_ref(), &shared.filters, options, now_ns)?;
    answer_plan(shared.read.as_ref(), &plan, options, watch)
}

/// Scans, folds and finishes a plan; looks at the newest rows first where these may be enough.
pub(crate) fn answer_plan(
    read: &dyn ReadPath,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Answer> {
    let stored = read.stats(plan.table.id).time;
    let span = stored.map(|stored| plan.range.intersect(stored)).filter(|span| !span.is_empty());
    if let Some(answer) = latest(read, plan, options, watch)? {
        return Ok(answer);
    }
    if let Some(span) = span
        && let Some(answer) = newest(read, plan, span, options, watch)?
    {
        return Ok(answer);
    }
    scan(read, plan, plan.range, span, options, watch)
}

/// Answers a question for nothing but last values from the last row of each series. `None`: some
/// series lacks a value there, so all must be read.
fn latest(
    read: &dyn ReadPath,
    plan: &Plan,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Option<Answer>> {
    let only_last = plan.items.iter().all(|item| item.function == Function::Last);
    let whole = matches!(plan.windows, Windows::Whole) && plan.filter.is_of_series();
    if !only_last || !whole || plan.range.is_empty() {
        return Ok(None);
    }
    let spec = spec(plan, plan.range, RowsWanted::Last);
    let mut blocks = Vec::new();
    let mut whole_last_rows = HashMap::new();
    let tablets = read.scan(plan.table.id, &spec, 1)?;
    let count = tablets.len();
    for block in tablets.into_iter().flat_map(|tablet| tablet.parts).flatten() {
        watch.check()?;
        let block = block?;
        for (series, rows) in block.runs().filter(|(_, rows)| !rows.is_empty()) {
            let whole = block.columns.iter().all(|column| !column.is_null(rows.end - 1));
            whole_last_rows.insert(series.clone(), whole);
        }
        blocks.push(Ok(block));
    }
    if whole_last_rows.values().any(|whole| !whole) {
        return Ok(None);
    }
    let parts: Vec<BlockIter> = vec![Box::new(blocks.into_iter())];
    let limits = Limits {
        windows_max: options.windows_max,
        sharing: Sharing { threads: 1, ..options.sharing() },
    };
    let figures = operator::run(plan, parts, Some((0, 0)), limits, watch)?;
    let mut answer = finish::finish(plan, figures, options, watch)?;
    answer.stats.tablets = Some(count as u64);
    Ok(Some(answer))
}

fn spec(plan: &Plan, time: TimeRange, rows: RowsWanted) -> ScanSpec {
    let (columns, series) = (plan.scan_columns.clone(), plan.filter.series.clone());
    ScanSpec { columns, time, series, rows }
}

/// Answers `order=desc` with a limit from the end of the range, in growing steps, as long as that
/// reads but a part of it. `None`: all must be read.
fn newest(
    read: &dyn ReadPath,
    plan: &Plan,
    span: TimeRange,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Option<Answer>> {
    /// How much longer each step is than the one before.
    const GROWTH: i64 = 16;
    let (Some(limit), Order::Descending, Fill::None) = (plan.limit, plan.order, plan.fill) else {
        return Ok(None);
    };
    if matches!(plan.windows, Windows::Whole) || limit == 0 {
        return Ok(None);
    }
    // Rows of the future may have come since the statistics were taken, so the end stays open.
    let last = plan.windows.at(span.end - 1);
    let first = plan.windows.at(span.start).index;
    let mut windows = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
    while windows < last.index.saturating_sub(first) / 4 {
        let start = plan.windows.start(last.index.saturating_sub(windows));
        let part = TimeRange::new(start.max(plan.range.start), plan.range.end);
        let answer = scan(read, plan, part, Some(part.intersect(span)), options, watch)?;
        if answer.rows() >= limit {
            return Ok(Some(answer));
        }
        windows = windows.saturating_mul(GROWTH);
    }
    Ok(None)
}

fn scan(
    read: &dyn ReadPath,
    plan: &Plan,
    range: TimeRange,
    span: Option<TimeRange>,
    options: &QueryOptions,
    watch: &Watch,
) -> Result<Answer> {
    let hint = span
        .filter(|span| !span.is_empty())
        .map(|span| (plan.windows.at(span.start).index, plan.windows.at(span.end - 1).index));
    let mut parts = Vec::new();
    let mut tablets = 0;
    if !range.is_empty() {
        let spec = spec(plan, range, RowsWanted::All);
        for tablet in read.scan(plan.table.id, &spec, options.threads())? {
            tablets += 1;
            parts.extend(tablet.parts);
        }
    }
    let limits = Limits { windows_max: options.windows_max, sharing: options.sharing() };
    let figures = operator::run(plan, parts, hint, limits, watch)?;
    let mut answer = finish::finish(plan, figures, options, watch)?;
    answer.stats.tablets = Some(tablets);
    Ok(answer)
}
