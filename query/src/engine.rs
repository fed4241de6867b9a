//! The one entry for questions: admission, limits, cancellation.

mod for_others;

use crate::{
    Error, QueryOptions, Result,
    allotment::Allotment,
    answer::Stats,
    delivery::{Inlet, Outlet, Place, deliver},
    encode::{self, Format},
    filter::FilterCache,
    places, plan,
    pools::Pools,
    question::{Question, WindowPlan},
    rows::Rows,
    sql::{self, Planned, Said, Shortcut},
    strategy,
    target::{Out, Target, Whole},
    turns::Turns,
    watch::Watch,
};
use axum::body::Bytes;
use oribi_access::{Access, reading};
use oribi_model::{Clock, Consistency, NodeId, Pressure, ReadPath, SystemClock};
use std::sync::Arc;
use tokio::{sync::Semaphore, task::JoinError};

/// What is asked.
pub(crate) enum Asked {
    /// The windows of a table.
    Windows(Box<WindowPlan>),
    /// The windows of a table of which others have the figures.
    Merged(Box<WindowPlan>, Vec<Bytes>),
    /// One SQL statement.
    Sql {
        /// The database of unqualified tables.
        db: Option<String>,
        /// The statement.
        text: String,
    },
}

/// Answers questions over a read path. Clones share limits and threads.
#[derive(Clone)]
pub struct QueryEngine {
    shared: Arc<Shared>,
    served_by: Option<NodeId>,
    consistency: Consistency,
}

#[derive(Clone)]
struct Shared {
    read: Arc<dyn ReadPath>,
    options: Arc<QueryOptions>,
    clock: Arc<dyn Clock>,
    filters: Arc<FilterCache>,
    /// Of questions that were asked here.
    places: Places,
    /// Of parts of questions that were asked of other nodes. Apart from those, as whoever has one of
    /// those may wait for another node, and that one for this one; a part waits for nobody.
    places_for_others: Places,
    pools: Arc<Pools>,
    allotment: Arc<Allotment>,
    turns: Arc<Turns>,
}

/// Where queries run, or wait for that.
#[derive(Clone)]
struct Places {
    running: Arc<Semaphore>,
    /// Running and waiting queries together.
    admitted: Arc<Semaphore>,
}

impl Places {
    fn new(options: &QueryOptions) -> Places {
        let (running, waiting) = (options.running_max, options.waiting_max);
        let places = |count| Arc::new(Semaphore::new(count));
        Places { running: places(running), admitted: places(running + waiting) }
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
            places: Places::new(&options),
            places_for_others: Places::new(&options),
            pools: Arc::new(Pools::new(&options)),
            allotment: Arc::new(Allotment::new(options.memory_total_bytes_max)),
            turns: Arc::new(Turns::new(Pressure::default(), options.running_max)),
            read,
            options: Arc::new(options),
            clock,
            filters: Arc::default(),
        };
        QueryEngine {
            shared: Arc::new(shared),
            served_by: None,
            consistency: Consistency::default(),
        }
    }

    /// The same engine, which takes few questions while `pressure` is high.
    pub fn under(self, pressure: Pressure) -> QueryEngine {
        let turns = Arc::new(Turns::new(pressure, self.shared.options.running_max));
        QueryEngine { shared: Arc::new(Shared { turns, ..Shared::clone(&self.shared) }), ..self }
    }

    /// Memory that questions hold, bytes.
    pub fn held_bytes(&self) -> usize {
        self.shared.allotment.held_bytes()
    }

    /// The same engine, whose answers say that this node gave them.
    pub fn on(self, node: NodeId) -> QueryEngine {
        QueryEngine { served_by: Some(node), ..self }
    }

    /// The same engine, whose questions may read what is so old.
    pub fn reading(self, consistency: Consistency) -> QueryEngine {
        QueryEngine { consistency, ..self }
    }

    /// The same engine, for which there is only what who asks may read.
    pub fn seen_by(self, access: &Access) -> QueryEngine {
        if access.is_unlimited() {
            return self;
        }
        let read = reading(self.shared.read.clone(), access);
        QueryEngine { shared: Arc::new(Shared { read, ..Shared::clone(&self.shared) }), ..self }
    }

    /// The limits.
    pub fn options(&self) -> &QueryOptions {
        &self.shared.options
    }

    /// The read path.
    pub fn read_path(&self) -> &Arc<dyn ReadPath> {
        &self.shared.read
    }

    /// Answers a window question. Dropping the future, or the rows, stops the work at the next
    /// block. The rows keep the query's place, so that who waits for another answer while it holds
    /// some may wait for itself.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn window(&self, question: Question) -> Result<Rows> {
        self.planned(self.meaning(&question)?).await
    }

    /// Answers what [`Question::plan`] gives, or another dialect, as [`QueryEngine::window`] does.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn planned(&self, plan: WindowPlan) -> Result<Rows> {
        self.rows(Asked::Windows(Box::new(plan))).await
    }

    /// The figures of the rows that are here, as bytes for [`QueryEngine::merged`]. The rows of a
    /// tablet are all here or none is.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn figures(&self, plan: WindowPlan) -> Result<Bytes> {
        let (watch, place) = self.admit(&self.shared.places).await?;
        let (shared, watching) = (self.shared.clone(), watch.clone());
        let runtime = self.shared.pools.windows().handle();
        let mut parts = deliver(&watch, place, runtime, |outlet| {
            runtime.spawn_blocking(move || {
                let figures = || {
                    outlet.put(figures(&shared, &plan, &watching)?.into())?;
                    outlet.end(Stats::default())
                };
                figures().unwrap_or_else(|error| watching.fail(error));
            })
        });
        let nothing = || Error::Internal { detail: "a query has no figures".into() };
        parts.next().await?.ok_or_else(nothing)
    }

    /// Answers `plan` from the figures of those who have its rows, in any order.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn merged(&self, plan: WindowPlan, figures: Vec<Bytes>) -> Result<Rows> {
        self.rows(Asked::Merged(Box::new(plan), figures)).await
    }

    /// What a question means now.
    ///
    /// # Errors
    /// Names the parameter that is wrong and what was expected.
    pub(crate) fn meaning(&self, question: &Question) -> Result<WindowPlan> {
        question.plan(self.shared.clock.now_ns())
    }

    /// Answers an SQL text, as [`QueryEngine::window`] does; unqualified tables belong to `db`.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn sql(&self, db: Option<String>, text: String) -> Result<Rows> {
        self.rows(Asked::Sql { db, text }).await
    }

    async fn rows(&self, asked: Asked) -> Result<Rows> {
        Rows::begun(self.ask(asked, |outlet| Box::new(Whole(outlet))).await?).await
    }

    /// Answers in a format.
    pub(crate) async fn written(&self, asked: Asked, format: Format) -> Result<Inlet<Bytes>> {
        let bytes_max = self.shared.options.answer_bytes_max;
        self.ask(asked, move |outlet| encode::target(format, outlet, bytes_max)).await
    }

    /// Waits for a place.
    async fn admit(&self, places: &Places) -> Result<(Arc<Watch>, Place)> {
        let shared = &self.shared;
        let options = &shared.options;
        self.give_way(places)?;
        let admitted = places.admitted.clone().try_acquire_owned().map_err(|_| Error::Busy {
            running_max: options.running_max,
            waiting_max: options.waiting_max,
        })?;
        let watch = Watch::new(options).within_all(shared.allotment.clone());
        let watch = watch.in_turn(shared.turns.clone());
        let watch = Arc::new(watch.on(self.served_by).reading(self.consistency));
        let running = watch.within(places.running.clone().acquire_owned()).await?;
        let running = running.map_err(|_| Error::Cancelled)?;
        Ok((watch, Place::new(vec![running, admitted])))
    }

    /// Under pressure few questions run, and none waits.
    fn give_way(&self, places: &Places) -> Result<()> {
        let Shared { options, turns, .. } = &*self.shared;
        let runs = options.running_max.saturating_sub(places.running.available_permits());
        match turns.are_needed() && runs >= turns.most() {
            true => Err(Error::Shed),
            false => Ok(()),
        }
    }

    /// Waits for a place and starts to answer.
    async fn ask<T: Send + 'static>(
        &self,
        asked: Asked,
        target: impl FnOnce(Outlet<T>) -> Box<dyn Target> + Send + 'static,
    ) -> Result<Inlet<T>> {
        let (watch, place) = self.admit(&self.shared.places).await?;
        let (shared, watching) = (self.shared.clone(), watch.clone());
        let pools = &self.shared.pools;
        let (plan, parts) = match asked {
            Asked::Windows(plan) => (plan, None),
            Asked::Merged(plan, parts) => (plan, Some(parts)),
            Asked::Sql { db, text } => {
                let runtime = pools.sql().handle();
                let said = Said { db, text, now_ns: shared.clock.now_ns() };
                return Ok(deliver(&watch, place, runtime, |outlet| {
                    runtime.spawn(sql(shared, said, watching, target(outlet)))
                }));
            }
        };
        let runtime = pools.windows().handle();
        Ok(deliver(&watch, place, runtime, |outlet| {
            runtime.spawn_blocking(move || {
                let mut target = target(outlet);
                windows(&shared, &plan, parts, &watching, target.as_mut())
                    .unwrap_or_else(|error| watching.fail(error));
            })
        }))
    }
}

fn windows(
    shared: &Shared,
    asked: &WindowPlan,
    parts: Option<Vec<Bytes>>,
    watch: &Arc<Watch>,
    target: &mut dyn Target,
) -> Result<()> {
    let Shared { options, filters, .. } = shared;
    let read = begun(shared, watch)?;
    let mut out = Out::new(target, options, watch);
    let plan = plan::bind(asked, read.as_ref(), filters, options)?;
    let parts = match parts {
        Some(parts) => Some(parts),
        None => places::figures(read.as_ref(), asked, &plan, options, watch)?,
    };
    let stats = match parts {
        None => strategy::answer(read.as_ref(), &plan, options, watch, &mut out)?,
        Some(parts) => strategy::merged(&plan, parts, options, watch, &mut out)?,
    };
    out.end(stats.with(read.reading()))
}

/// The read path of a question that begins now.
fn begun(shared: &Shared, watch: &Watch) -> Result<Arc<dyn ReadPath>> {
    Ok(shared.read.begin(watch.consistency())?.unwrap_or_else(|| shared.read.clone()))
}

fn figures(shared: &Shared, asked: &WindowPlan, watch: &Arc<Watch>) -> Result<Vec<u8>> {
    let Shared { options, filters, .. } = shared;
    let read = begun(shared, watch)?;
    let plan = plan::bind(asked, read.as_ref(), filters, options)?;
    strategy::figures(read.as_ref(), &plan, options, watch)
}

async fn sql(shared: Arc<Shared>, said: Said, watch: Arc<Watch>, target: Box<dyn Target>) {
    let answer = async {
        let said = Arc::new(said);
        let mut target = target;
        for shortcut in [Shortcut::Try, Shortcut::Leave] {
            let (planned, read) = planned(&shared, &said, shortcut, &watch).await?;
            let (sharing, watching) = (shared.clone(), watch.clone());
            let write = move || {
                let mut out = Out::new(target.as_mut(), &sharing.options, &watching);
                let Some(stats) = planned.answer(&read, &sharing.options, &watching, &mut out)?
                else {
                    return Ok(Some(target));
                };
                out.end(stats.with(read.reading())).map(|()| None)
            };
            match tokio::task::spawn_blocking(write).await.map_err(stopped)?? {
                Some(unused) => target = unused,
                None => return Ok(()),
            }
        }
        Err(Error::Internal { detail: "no plan answers the statement".into() })
    };
    answer.await.unwrap_or_else(|error| watch.fail(error));
}

/// Plans a statement, and gives what it is to be answered from. What this holds on to is given back when it ends, whether or not anybody
/// waits.
async fn planned(
    shared: &Arc<Shared>,
    said: &Arc<Said>,
    shortcut: Shortcut,
    watch: &Arc<Watch>,
) -> Result<(Planned, Arc<dyn ReadPath>)> {
    let permit = shared.pools.planning().await;
    let (shared, said, watch) = (shared.clone(), said.clone(), watch.clone());
    let runtime = tokio::runtime::Handle::current();
    let plan = move || {
        let _permit = permit;
        let Shared { options, filters, .. } = shared.as_ref();
        let read = begun(&shared, &watch)?;
        let plan = sql::plan(&read, options, filters, &said, shortcut, &watch);
        Ok((runtime.block_on(plan)?, read))
    };
    tokio::task::spawn_blocking(plan).await.map_err(stopped)?
}

fn stopped(error: JoinError) -> Error {
    Error::Internal { detail: format!("a query stopped: {error}") }
}
