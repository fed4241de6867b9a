//! How a node ends, and what its work waits for meanwhile.

use super::{Node, route::Errand};
use crate::{Error, NodeState, Result};
use oribi_store::log::GroupId;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::sync::Notify;

/// Whether a node wants to lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// It wants to lead nothing.
    Leaves,
    /// It leads its share.
    Stays,
}

impl Node {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(reason) = self.failure() {
            return Err(oribi_store::Error::Poisoned(reason).into());
        }
        if self.is_stopping() { Err(Error::Stopping) } else { Ok(()) }
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Whether this node wants to lead nothing that others can lead: it was told so, or its disk has
    /// no room for more rows.
    pub fn leaves_lead(&self) -> bool {
        let catalog = self.catalog();
        let record = catalog.node(self.identity().node);
        let is_leaving = record
            .is_some_and(|record| matches!(record.state, NodeState::Draining | NodeState::Removed));
        is_leaving || self.is_short_of_disk() || self.leaving_lead.load(Ordering::Acquire)
    }

    /// Has this node give away what it leads and take nothing to lead, as far as others can, or not
    /// any more; until it ends.
    pub(crate) fn leave_lead(&self, leaves: Leaving) {
        self.leaving_lead.store(leaves == Leaving::Leaves, Ordering::Release);
    }

    /// Stops taking writes and ends all background work. Everything acked is safe.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.room.notify_waiters();
        // It may hold on to the node.
        self.answerer.lock().take();
        self.hosting.instances.close();
        let mut ending = std::pin::pin!(self.end_work());
        loop {
            tokio::select! {
                () = &mut ending => break,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            // Whoever waits for a log that cannot be written would wait for ever.
            if self.stalled().is_some() {
                self.close_log().await;
            }
        }
        self.close_log().await;
    }

    pub(super) async fn end_work(&self) {
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "background work ended abnormally");
            }
        }
        self.note_arrivals().await;
        let hosted = self.hosting.all();
        futures::future::join_all(hosted.iter().map(|hosted| hosted.replica.rest())).await;
        if let Err(error) = self.flush_catalog().await {
            tracing::warn!(%error, "the catalog was not written; the log has its changes");
        }
        self.catalog_replica.rest().await;
    }

    pub(super) async fn close_log(&self) {
        let log = self.hosting.log.clone();
        let closed = tokio::task::spawn_blocking(move || log.close()).await;
        if let Err(error) = closed {
            tracing::error!(%error, "closing the log ended abnormally");
        }
    }

    /// Whether the leaders of these groups can prove that they lead, wherever they are; in their order.
    pub(crate) async fn prove(&self, groups: Vec<GroupId>) -> Vec<bool> {
        let errands = groups.into_iter().map(|group| (group, Errand::Read)).collect();
        self.run(errands).await.iter().map(|outcome| outcome.is_ok()).collect()
    }

    pub(super) fn life_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for `due` or `pause`; `false` once the node stops.
    pub(super) async fn until(&self, due: &Notify, pause: Duration) -> bool {
        let stopped = self.stop.notified();
        if self.is_stopping() {
            return false;
        }
        tokio::select! {
            () = stopped => {}
            () = due.notified() => {}
            () = tokio::time::sleep(pause) => {}
        }
        !self.is_stopping()
    }
}
