//! From the thread that makes an answer to whoever wants it, a few parts at a time.

use crate::{Error, Result, answer::Stats, watch::Watch};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    task::JoinHandle,
};

/// Parts that wait for their reader at most.
const PARTS_MAX: usize = 4;

#[derive(Debug)]
enum Sent<T> {
    Part(T),
    End(Stats),
}

/// Where an answer is put, part by part. Dropping it gives the query's place up.
#[derive(Debug)]
pub(crate) struct Outlet<T> {
    sender: mpsc::Sender<Sent<T>>,
    watch: Arc<Watch>,
    runtime: Handle,
    place: Arc<Place>,
}

/// Where an answer is taken from. Dropping it stops the query and gives its place up.
pub(crate) struct Inlet<T> {
    parts: mpsc::Receiver<Sent<T>>,
    watch: Arc<Watch>,
    stats: Option<Stats>,
    /// Until its end was waited for.
    task: Option<JoinHandle<()>>,
    place: Arc<Place>,
}

/// The place that a query has among those that run and those that wait.
#[derive(Debug)]
pub(crate) struct Place(Mutex<Vec<OwnedSemaphorePermit>>);

impl Place {
    /// A place of these permits.
    pub(crate) fn new(permits: Vec<OwnedSemaphorePermit>) -> Place {
        Place(Mutex::new(permits))
    }

    fn give_up(&self) {
        self.0.lock().clear();
    }
}

/// Both ends for one query. `start` starts the task that makes the answer.
pub(crate) fn deliver<T: Send + 'static>(
    watch: &Arc<Watch>,
    place: Place,
    runtime: &Handle,
    start: impl FnOnce(Outlet<T>) -> JoinHandle<()>,
) -> Inlet<T> {
    let (sender, parts) = mpsc::channel(PARTS_MAX);
    let (watch, runtime) = (watch.clone(), runtime.clone());
    let place = Arc::new(place);
    let task = start(Outlet { sender, watch: watch.clone(), runtime, place: place.clone() });
    Inlet { parts, watch, stats: None, task: Some(task), place }
}

impl<T: Send> Outlet<T> {
    /// Puts a part, waiting for the reader where several wait for it. Blocks.
    ///
    /// # Errors
    /// [`Error::Cancelled`] where nobody reads any more, [`Error::Unread`] where nobody did for too
    /// long.
    pub(crate) fn put(&self, part: T) -> Result<()> {
        self.send(Sent::Part(part))
    }

    /// Ends the answer once all of it was taken. Without this it is one that broke off.
    ///
    /// # Errors
    /// As [`Outlet::put`].
    pub(crate) fn end(&self, stats: Stats) -> Result<()> {
        let all_taken = self.sender.reserve_many(PARTS_MAX);
        self.wait(async { all_taken.await.is_ok() })?;
        self.send(Sent::End(stats))
    }

    fn send(&self, sent: Sent<T>) -> Result<()> {
        match self.sender.try_send(sent) {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(Error::Cancelled),
            Err(mpsc::error::TrySendError::Full(sent)) => {
                self.wait(async { self.sender.send(sent).await.is_ok() })
            }
        }
    }

    /// Waits for the reader, who is there as long as `read` says so.
    fn wait(&self, read: impl Future<Output = bool>) -> Result<()> {
        let unread = self.watch.unread();
        let wait_max = unread.remaining();
        match self.runtime.block_on(async { tokio::time::timeout(wait_max, read).await }) {
            Ok(true) => Ok(()),
            Ok(false) => Err(Error::Cancelled),
            Err(_) => Err(unread.error()),
        }
    }
}

impl<T> Drop for Outlet<T> {
    fn drop(&mut self) {
        self.place.give_up();
    }
}

impl<T> Inlet<T> {
    /// The next part; `None` at the end.
    ///
    /// # Errors
    /// What the query failed by.
    pub(crate) async fn next(&mut self) -> Result<Option<T>> {
        if self.stats.is_some() {
            return Ok(None);
        }
        let sent = match self.watch.within(self.parts.recv()).await {
            Ok(sent) => sent,
            // What was put before the failure comes before it.
            Err(error) => match self.parts.try_recv() {
                Ok(sent) => Some(sent),
                Err(_) => {
                    self.watch.fail(error.clone());
                    return Err(error);
                }
            },
        };
        match sent {
            Some(Sent::Part(part)) => Ok(Some(part)),
            Some(Sent::End(stats)) => {
                self.stats = Some(stats);
                Ok(None)
            }
            None => Err(self.failure().await),
        }
    }

    /// Why the answer broke off, which is known once the task has ended.
    async fn failure(&mut self) -> Error {
        if let Some(task) = self.task.take() {
            // It has nothing left to do.
            let _ = task.await;
        }
        let unknown = || Error::Internal { detail: "a query stopped before its end".into() };
        self.watch.failure().unwrap_or_else(unknown)
    }

    /// What the answer cost, once it has ended.
    pub(crate) fn stats(&self) -> Option<Stats> {
        self.stats
    }
}

impl<T> Drop for Inlet<T> {
    fn drop(&mut self) {
        self.watch.cancel();
        if let Some(task) = &self.task {
            task.abort();
        }
        self.place.give_up();
    }
}
