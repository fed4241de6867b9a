//! The one entry for questions: admission, limits, cancellation.

use crate::{
    Error, QueryOptions, Result,
    answer::Answer,
    encode::{Encoded, Format, encode},
    filter::FilterCache,
    plan::{self, Question},
    pools::Pools,
    sql::{self, Shortcut},
    strategy,
    watch::Watch,
};
use oribi_model::{Clock, ReadPath, SystemClock};
use std::{future::Future, sync::Arc};
use tokio::{sync::Semaphore, task::JoinHandle};

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
    pools: Pools,
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
        let shared = Shared {
            running: Arc::new(Semaphore::new(options.running_max)),
            admitted: Arc::new(Semaphore::new(options.running_max + options.waiting_max)),
            pools: Pools::new(&options),
            read,
            options,
            clock,
            filters: FilterCache::default(),
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
        self.admit(move |watch, pools| {
            pools.windows().spawn_blocking(move || window(&shared, &question, &watch))
        })
        .await
    }

    /// Answers a window question in a format, as [`QueryEngine::window`] does.
    pub(crate) async fn window_as(&self, question: Question, format: Format) -> Result<Encoded> {
        let shared = self.shared.clone();
        self.admit(move |watch, pools| {
            pools.windows().spawn_blocking(move || {
                let answer = window(&shared, &question, &watch)?;
                encode(answer, format, shared.options.answer_bytes_max, &watch)
            })
        })
        .await
    }

    /// Answers an SQL text; unqualified tables belong to `db`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sql(&self, db: Option<String>, text: String) -> Result<Answer> {
        let shared = self.shared.clone();
        self.admit(move |watch, pools| {
            pools.sql().spawn(async move { sql(&shared, db, text, &watch).await })
        })
        .await
    }

    /// Answers an SQL text in a format, as [`QueryEngine::sql`] does.
    pub(crate) async fn sql_as(
        &self,
        db: Option<String>,
        text: String,
        format: Format,
    ) -> Result<Encoded> {
        let shared = self.shared.clone();
        self.admit(move |watch, pools| {
            pools.sql().spawn(async move {
                let answer = sql(&shared, db, text, &watch).await?;
                let bytes_max = shared.options.answer_bytes_max;
                let write = move || encode(answer, format, bytes_max, &watch);
                tokio::task::spawn_blocking(write).await.unwrap_or_else(|error| {
                    Err(Error::Internal { detail: format!("an answer was not written: {error}") })
                })
            })
        })
        .await
    }

    async fn admit<T>(
        &self,
        start: impl FnOnce(Arc<Watch>, &Pools) -> JoinHandle<Result<T>>,
    ) -> Result<T> {
        let shared = &self.shared;
        let options = &shared.options;
        let admitted = shared.admitted.clone().try_acquire_owned().map_err(|_| Error::Busy {
            running_max: options.running_max,
            waiting_max: options.waiting_max,
        })?;
        let watch = Arc::new(Watch::new(options));
        let running = within(&watch, shared.running.clone().acquire_owned())
            .await?
            .map_err(|_| Error::Cancelled)?;
        let task = start(watch.clone(), &shared.pools);
        let mut stop = StopOnDrop { task, watch: watch.clone() };
        let joined = within(&watch, &mut stop.task).await;
        drop((running, admitted));
        joined?.map_err(|error| Error::Internal { detail: format!("a query stopped: {error}") })?
    }
}

async fn within<T>(watch: &Watch, future: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(watch.remaining(), future).await.map_err(|_| watch.time_limit())
}

fn window(shared: &Shared, question: &Question, watch: &Arc<Watch>) -> Result<Answer> {
    let options = &shared.options;
    let now_ns = shared.clock.now_ns();
    let plan = plan::plan(question, shared.read.as_ref(), &shared.filters, options, now_ns)?;
    let mut answer = strategy::answer(shared.read.as_ref(), &plan, options, watch)?;
    answer.stats.elapsed = watch.started().elapsed();
    Ok(answer)
}

async fn sql(
    shared: &Arc<Shared>,
    db: Option<String>,
    text: String,
    watch: &Arc<Watch>,
) -> Result<Answer> {
    let statement = Arc::new((db, text));
    for shortcut in [Shortcut::Try, Shortcut::Leave] {
        // What planning holds on to is given back when it ends, whether or not anybody waits.
        let permit = shared.pools.planning().await;
        let (planner, statement, watching) = (shared.clone(), statement.clone(), watch.clone());
        let handle = tokio::runtime::Handle::current();
        let plan = move || {
            let _permit = permit;
            let Shared { read, options, filters, .. } = planner.as_ref();
            let (db, text) = statement.as_ref();
            let plan = sql::plan(read, options, filters, db.clone(), text, shortcut, &watching);
            handle.block_on(plan)
        };
        let planned = tokio::task::spawn_blocking(plan)
            .await
            .map_err(|error| Error::Internal { detail: format!("planning stopped: {error}") })??;
        if let Some(mut answer) = planned.answer(&shared.read, &shared.options, watch).await? {
            answer.stats.elapsed = watch.started().elapsed();
            return Ok(answer);
        }
    }
    Err(Error::Internal { detail: "no plan answers the statement".into() })
}
