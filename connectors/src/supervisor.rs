//! Starts connectors, starts them again when they fail, and stops them. Of the nodes of a cluster
//! one runs each.

mod entry;
mod keep;
mod run;

use crate::{
    Error, Result,
    connector::{Parts, Progress, Seat, State},
    spec::{ConnectorSpec, Described, files, sealed},
};
use entry::{Entry, Origin};
use parking_lot::Mutex;
use run::end;
use std::{collections::BTreeMap, sync::Arc};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

/// Connectors at most.
const CONNECTORS_MAX: usize = 256;

/// All connectors of a cluster, and those that run on this node. Clones are the same connectors.
#[derive(Clone)]
pub struct Connectors {
    inner: Arc<Inner>,
}

struct Inner {
    parts: Parts,
    /// Those of the configuration file, by name.
    file: BTreeMap<String, Arc<ConnectorSpec>>,
    known: Mutex<BTreeMap<String, Known>>,
    stop: CancellationToken,
    /// Held while connectors are made, dropped, started or stopped.
    changing: tokio::sync::Mutex<()>,
    keeper: Mutex<Option<JoinHandle<()>>>,
}

/// A connector that there is.
struct Known {
    entry: Entry,
    origin: Origin,
    /// The JSON under which it is kept.
    kept: Option<String>,
    progress: Arc<Progress>,
    task: Option<Task>,
    /// Since when no node has had it.
    free_since: Option<Instant>,
}

/// A run of a connector on this node.
struct Task {
    epoch: u64,
    stop: CancellationToken,
    run: JoinHandle<()>,
}

impl Connectors {
    /// Starts the connectors of the configuration file and those that the store remembers, as far as
    /// they are this node's. Of those that the store remembers one that cannot be has the state
    /// `failed`, and so has one whose name stands in the file too.
    ///
    /// # Errors
    /// [`Error::Config`]: connectors of the file that cannot be.
    pub fn start(
        file: Vec<ConnectorSpec>,
        parts: Parts,
        stop: CancellationToken,
    ) -> Result<Connectors> {
        let mut by_name = BTreeMap::new();
        for (at, spec) in file.into_iter().enumerate() {
            let key = format!("connectors[{at}]");
            spec.validate_with(&*parts.windows, &key)?;
            if by_name.contains_key(&spec.common.name) {
                let reason = format!("{:?} names two connectors", spec.common.name);
                return Err(Error::config(format!("{key}.name"), reason));
            }
            by_name.insert(spec.common.name.clone(), Arc::new(spec));
        }
        let inner = Arc::new(Inner {
            parts,
            file: by_name,
            known: Mutex::default(),
            stop,
            changing: tokio::sync::Mutex::default(),
            keeper: Mutex::default(),
        });
        inner.look();
        *inner.keeper.lock() = Some(tokio::spawn(keep::keep(inner.clone())));
        Ok(Connectors { inner })
    }

    /// All connectors by name.
    pub fn list(&self) -> Vec<Described> {
        self.inner.known.lock().values().map(Known::describe).collect()
    }

    /// The connector of this name.
    pub fn get(&self, name: &str) -> Option<Described> {
        self.inner.known.lock().get(name).map(Known::describe)
    }

    /// The connector of this name as configured.
    pub fn spec(&self, name: &str) -> Option<Arc<ConnectorSpec>> {
        self.inner.known.lock().get(name).and_then(|known| known.entry.spec().cloned())
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
        let name = spec.common.name;
        if self.inner.file.contains_key(&name) {
            let reason = format!("{name:?} stands in the configuration file");
            return Err(Error::config("connector.name", reason));
        }
        let count = self.inner.known.lock().len();
        if count >= CONNECTORS_MAX {
            let reason = format!("there are {count} connectors, which is the most there may be");
            return Err(Error::config("connector", reason));
        }
        let sealed = self.inner.sealed(&name, json).await.map_err(Error::Store)?;
        let json = sealed.as_deref().unwrap_or(json);
        self.inner.parts.store.put(&name, json).await.map_err(Error::Store)?;
        self.inner.replace(&name).await;
        self.inner.settle().await;
        self.get(&name).ok_or_else(|| Error::Store(format!("{name:?} was dropped meanwhile")))
    }

    /// Stops a connector that was made at run time, and forgets it and how far it has got. `false`
    /// where there is none of this name.
    ///
    /// # Errors
    /// [`Error::Config`] for one of the configuration file; [`Error::Store`].
    pub async fn delete(&self, name: &str) -> Result<bool> {
        let _one = self.inner.changing.lock().await;
        match self.inner.known.lock().get(name) {
            None => return Ok(false),
            Some(Known { entry: Entry::Doubled(_), .. }) => {}
            Some(known) if known.origin == Origin::File => {
                let reason = format!("{name:?} stands in the configuration file; remove it there");
                return Err(Error::config("connector", reason));
            }
            Some(_) => {}
        }
        self.inner.replace(name).await;
        self.inner.parts.store.delete(name).await.map_err(Error::Store)?;
        self.inner.settle().await;
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
        self.inner.settle().await;
        Ok(self.get(name))
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
        self.inner.settle().await;
        Ok(self.get(name))
    }

    /// Waits until all have stopped, after the token given to [`Connectors::start`] said so.
    pub async fn join(&self) {
        let keeper = self.inner.keeper.lock().take();
        if let Some(keeper) = keeper
            && let Err(wrong) = keeper.await
        {
            tracing::error!(%wrong, "who starts connectors ended abnormally");
        }
        let all = std::mem::take(&mut *self.inner.known.lock());
        for task in all.into_values().filter_map(|known| known.task) {
            end(task.stop, task.run).await;
        }
    }
}

impl Inner {
    /// JSON with its secrets sealed; `None` where it has none.
    async fn sealed(&self, name: &str, json: &str) -> std::result::Result<Option<String>, String> {
        if !sealed::has_secrets(json) {
            return Ok(None);
        }
        self.parts.vault.ready().await?;
        sealed::seal(name, json, &*self.parts.vault)
    }
}

impl Known {
    fn describe(&self) -> Described {
        let origin = match self.origin {
            Origin::File => "file",
            Origin::Http => "http",
        };
        Described::new(self.entry.shown(), origin, &self.progress)
    }
}

#[cfg(test)]
mod tests;
