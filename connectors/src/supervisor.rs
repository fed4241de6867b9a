//! Starts connectors, starts them again when they fail, and stops them.

mod entry;

use crate::{
    Error, Result,
    connector::{Parts, Progress, RunContext, State},
    sparkplug_store::EdgeNodes,
    spec::{ConnectorSpec, Described, files},
};
use entry::{Entry, Origin};
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Connectors at most.
const CONNECTORS_MAX: usize = 256;
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A connector that ran for so long begins with the shortest pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(30);

/// All connectors of a node. Clones are the same connectors.
#[derive(Clone)]
pub struct Connectors {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    running: Mutex<BTreeMap<String, Running>>,
    stop: CancellationToken,
    /// Held while connectors are made or dropped.
    changing: tokio::sync::Mutex<()>,
}

struct Running {
    entry: Entry,
    origin: Origin,
    progress: Arc<Progress>,
    /// `None` while paused.
    task: Option<(CancellationToken, JoinHandle<()>)>,
}

impl Connectors {
    /// Starts the connectors of the configuration file and those that the store remembers. Of those
    /// that the store remembers one that cannot be has the state `failed`, and so has one whose name
    /// stands in the file too.
    ///
    /// # Errors
    /// [`Error::Config`]: connectors of the file that cannot be.
    pub fn start(
        file: Vec<ConnectorSpec>,
        parts: Parts,
        stop: CancellationToken,
    ) -> Result<Connectors> {
        let mut entries: BTreeMap<String, (Entry, Origin)> = BTreeMap::new();
        for (at, spec) in file.into_iter().enumerate() {
            let key = format!("connectors[{at}]");
            spec.validate_with(&*parts.windows, &key)?;
            if entries.contains_key(&spec.common.name) {
                let reason = format!("{:?} names two connectors", spec.common.name);
                return Err(Error::config(format!("{key}.name"), reason));
            }
            entries
                .insert(spec.common.name.clone(), (Entry::Readable(Arc::new(spec)), Origin::File));
        }
        for (name, json) in parts.store.connectors() {
            let entry = match entries.remove(&name) {
                Some((Entry::Readable(spec), origin)) => (Entry::Doubled(spec), origin),
                _ => (Entry::kept(&name, &json, &parts.files), Origin::Http),
            };
            entries.insert(name, entry);
        }
        let (paused, changing) = (parts.store.paused(), tokio::sync::Mutex::default());
        let inner = Arc::new(Inner { parts, running: Mutex::default(), stop, changing });
        for (name, (entry, origin)) in entries {
            let mut running = Running::paused(entry, origin);
            if !paused.contains(&name) {
                inner.resume(&name, &mut running);
            }
            inner.running.lock().insert(name, running);
        }
        Ok(Connectors { inner })
    }

    /// All connectors by name.
    pub fn list(&self) -> Vec<Described> {
        self.inner.running.lock().values().map(Running::describe).collect()
    }

    /// The connector of this name.
    pub fn get(&self, name: &str) -> Option<Described> {
        self.inner.running.lock().get(name).map(Running::describe)
    }

    /// The connector of this name as configured.
    pub fn spec(&self, name: &str) -> Option<Arc<ConnectorSpec>> {
        self.inner.running.lock().get(name).and_then(|running| running.entry.spec().cloned())
    }

    /// An entry that came over HTTP, with its files found in the folder that holds them.
    ///
    /// # Errors
    /// [`Error::Config`]: it names other files, or addresses that are not for such entries.
    pub fn placed(&self, spec: ConnectorSpec) -> Result<ConnectorSpec> {
        let folder = &self.inner.parts.files;
        let spec = files::placed(spec, folder, "connector")?;
        files::check(&spec, folder, "connector")?;
        Ok(spec)
    }

    /// Makes a connector out of JSON, or replaces one that was made so, and remembers it.
    ///
    /// # Errors
    /// [`Error::Config`]: JSON that is no connector, or a name of the configuration file;
    /// [`Error::Store`].
    pub async fn put(&self, json: &str) -> Result<Described> {
        let spec: ConnectorSpec = serde_json::from_str(json)
            .map_err(|wrong| Error::config("connector", wrong.to_string()))?;
        let spec = self.placed(spec)?;
        spec.validate_with(&*self.inner.parts.windows, "connector")?;
        let _one = self.inner.changing.lock().await;
        let name = spec.common.name.clone();
        let count = {
            let running = self.inner.running.lock();
            if running.get(&name).is_some_and(|running| running.origin == Origin::File) {
                let reason = format!("{name:?} stands in the configuration file");
                return Err(Error::config("connector.name", reason));
            }
            running.len()
        };
        if count >= CONNECTORS_MAX {
            let reason = format!("there are {count} connectors, which is the most there may be");
            return Err(Error::config("connector", reason));
        }
        self.inner.parts.store.put(&name, json).await.map_err(Error::Store)?;
        let before = self.inner.running.lock().remove(&name);
        if let Some(before) = before {
            before.end().await;
        }
        let mut running = Running::paused(Entry::Readable(Arc::new(spec)), Origin::Http);
        self.inner.resume(&name, &mut running);
        let described = running.describe();
        self.inner.running.lock().insert(name, running);
        Ok(described)
    }

    /// Stops a connector that was made at run time, and forgets it and how far it has got. `false`
    /// where there is none of this name.
    ///
    /// # Errors
    /// [`Error::Config`] for one of the configuration file; [`Error::Store`].
    pub async fn delete(&self, name: &str) -> Result<bool> {
        let _one = self.inner.changing.lock().await;
        let running = {
            let mut running = self.inner.running.lock();
            match running.get(name) {
                None => return Ok(false),
                Some(Running { entry: Entry::Doubled(_), .. }) => None,
                Some(running) if running.origin == Origin::File => {
                    let reason =
                        format!("{name:?} stands in the configuration file; remove it there");
                    return Err(Error::config("connector", reason));
                }
                Some(_) => running.remove(name),
            }
        };
        if let Some(running) = running {
            running.end().await;
        }
        self.inner.parts.store.delete(name).await.map_err(Error::Store)?;
        // What stands in the file has its name alone from here on.
        if let Some(running) = self.inner.running.lock().get_mut(name)
            && let Entry::Doubled(spec) = &running.entry
        {
            running.entry = Entry::Readable(spec.clone());
            self.inner.resume(name, running);
        }
        Ok(true)
    }

    /// Stops a connector until it is resumed, even if the node starts anew. `None` where there is
    /// none of this name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn pause(&self, name: &str) -> Result<Option<Described>> {
        let _one = self.inner.changing.lock().await;
        if self.get(name).is_none() {
            return Ok(None);
        }
        self.inner.parts.store.pause(name).await.map_err(Error::Store)?;
        let task = self.inner.running.lock().get_mut(name).and_then(|running| running.task.take());
        if let Some((stop, task)) = task {
            end(stop, task).await;
        }
        let running = self.inner.running.lock();
        Ok(running.get(name).map(|running| {
            running.progress.enter(State::Paused);
            running.describe()
        }))
    }

    /// Starts a paused connector. `None` where there is none of this name.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub async fn resume(&self, name: &str) -> Result<Option<Described>> {
        let _one = self.inner.changing.lock().await;
        if self.get(name).is_none() {
            return Ok(None);
        }
        self.inner.parts.store.resume(name).await.map_err(Error::Store)?;
        let mut running = self.inner.running.lock();
        Ok(running.get_mut(name).map(|running| {
            self.inner.resume(name, running);
            running.describe()
        }))
    }

    /// Waits until all have stopped, after the token given to [`Connectors::start`] said so.
    pub async fn join(&self) {
        let all = std::mem::take(&mut *self.inner.running.lock());
        for running in all.into_values() {
            running.end().await;
        }
    }
}

impl Inner {
    /// Starts a connector that does not run, if it can.
    fn resume(&self, name: &str, running: &mut Running) {
        if running.task.is_some() {
            return;
        }
        let spec = match running.entry.runs() {
            Ok(spec) => spec.clone(),
            Err(reason) => {
                tracing::error!(connector = name, reason, "a connector cannot run");
                running.progress.failed(&reason);
                running.progress.enter(State::Failed);
                return;
            }
        };
        running.progress.enter(State::Starting);
        let stop = self.stop.child_token();
        let name: Arc<str> = name.into();
        let context = RunContext {
            nodes: Arc::new(EdgeNodes::of(name.clone())),
            name,
            parts: self.parts.clone(),
            progress: running.progress.clone(),
            stop: stop.clone(),
        };
        let origin = running.origin;
        running.task = Some((stop, tokio::spawn(supervise(spec, origin, context))));
    }
}

impl Running {
    fn paused(entry: Entry, origin: Origin) -> Running {
        let progress = Arc::new(Progress::new(State::Paused));
        Running { entry, origin, progress, task: None }
    }

    fn describe(&self) -> Described {
        let origin = match self.origin {
            Origin::File => "file",
            Origin::Http => "http",
        };
        Described::new(self.entry.shown(), origin, &self.progress)
    }

    async fn end(self) {
        if let Some((stop, task)) = self.task {
            end(stop, task).await;
        }
    }
}

async fn end(stop: CancellationToken, task: JoinHandle<()>) {
    stop.cancel();
    if let Err(wrong) = task.await {
        tracing::error!(%wrong, "a connector ended abnormally");
    }
}

/// Runs a connector, and again whenever it fails, until it is told to stop.
async fn supervise(spec: Arc<ConnectorSpec>, origin: Origin, context: RunContext) {
    let mut backoff = BACKOFF_MIN;
    while !context.stop.is_cancelled() {
        context.progress.enter(State::Starting);
        let started = tokio::time::Instant::now();
        let Err(wrong) = run_once(spec.clone(), origin, context.clone()).await else { continue };
        if context.stop.is_cancelled() {
            return;
        }
        if started.elapsed() > HEALTHY_AFTER {
            backoff = BACKOFF_MIN;
        }
        context.progress.failed(&wrong.to_string());
        context.progress.enter(State::Retrying);
        let pause = jittered(backoff);
        let pause_ms = pause.as_millis() as u64;
        tracing::warn!(connector = %context.name, %wrong, pause_ms, "a connector failed");
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = context.stop.cancelled() => return,
        }
        context.progress.restarted();
        backoff = (backoff * 2).min(BACKOFF_MAX);
    }
}

/// Runs a connector until it ends. That it panics is a failure like others.
async fn run_once(spec: Arc<ConnectorSpec>, origin: Origin, context: RunContext) -> Result<()> {
    if origin == Origin::Http {
        // What lies in the folder may have changed.
        files::check(&spec, &context.parts.files, "connector")?;
    }
    let target = spec.common.url.clone();
    let run = tokio::spawn(async move { spec.run(&context).await });
    run.await.unwrap_or_else(|wrong| {
        Err(Error::Broker { action: "work with", target, reason: panic_text(wrong) })
    })
}

fn panic_text(wrong: tokio::task::JoinError) -> String {
    let said = wrong.try_into_panic().ok().and_then(|said| {
        let text = said.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| said.downcast_ref::<String>().cloned())
    });
    format!("the connector panicked: {}", said.unwrap_or_default())
}

/// Somewhere between three quarters of a pause and all of it, so that connectors that failed
/// together do not come back together.
fn jittered(pause: Duration) -> Duration {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let share = f64::from(now.unwrap_or_default().subsec_micros() % 1_000) / 1_000.0;
    pause.mul_f64(0.75 + share / 4.0)
}

#[cfg(test)]
mod tests;
