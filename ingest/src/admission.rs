//! Who may write now: bounds on what is in flight, and on the disk.

use crate::{Error, IngestOptions, Result};
use oribi_cluster::Node;
use oribi_model::Pressure;
use std::{sync::Arc, task::Poll, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for, bytes.
const PERMIT_BYTES: usize = 1_024;
/// What a refused client is told to wait.
const RETRY_AFTER_S: u32 = 1;
/// Between two looks at how much memory the process holds.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Admission {
    options: IngestOptions,
    inflight: Arc<Semaphore>,
    permits: usize,
    pressure: Pressure,
    /// Taken while the process holds all the memory that it may.
    narrow: Arc<Semaphore>,
}

/// A write that was let in, until this goes.
#[must_use = "it counts until this is dropped"]
pub(crate) struct Admitted {
    _inflight: OwnedSemaphorePermit,
    _turn: Option<OwnedSemaphorePermit>,
}

impl Admission {
    pub(crate) fn new(options: IngestOptions, pressure: Pressure) -> Admission {
        let permits = (options.inflight_bytes_max / PERMIT_BYTES).max(1);
        let (inflight, narrow) = (Arc::new(Semaphore::new(permits)), Arc::new(Semaphore::new(1)));
        Admission { options, inflight, permits, pressure, narrow }
    }

    /// Lets a write of so many bytes in, after a bounded wait; it counts until the answer is
    /// dropped.
    pub(crate) async fn admit(&self, node: &Node, bytes: usize) -> Result<Admitted> {
        if let Some(reason) = node.failure() {
            return Err(Error::Storage(reason));
        }
        if let Some(reason) = node.stalled() {
            return Err(Error::Storage(format!("the log cannot be written at present: {reason}")));
        }
        if node.is_short_of_disk() {
            return Err(Error::DiskFull { free_bytes: node.disk_free_bytes() });
        }
        let wanted = (bytes / PERMIT_BYTES + 1).min(self.permits) as u32;
        let wait = Duration::from_millis(self.options.wait_ms_max);
        let admitted = async {
            let inflight = self.permits(wanted).await?;
            node.room().await;
            Ok(Admitted { _inflight: inflight, _turn: self.memory().await })
        };
        match tokio::time::timeout(wait, self.counted(admitted)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Error::Busy { reason: self.reason(), retry_after_s: RETRY_AFTER_S }),
        }
    }

    /// Waits until memory is left. Until then one write at a time goes on: what waits to be written holds
    /// memory too, and all would wait for each other.
    async fn memory(&self) -> Option<OwnedSemaphorePermit> {
        let left = async {
            while self.pressure.is_full() {
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            () = left => None,
            turn = self.narrow.clone().acquire_owned() => turn.ok(),
        }
    }

    async fn permits(&self, wanted: u32) -> Result<OwnedSemaphorePermit> {
        let permit = self.inflight.clone().acquire_many_owned(wanted).await;
        permit.map_err(|_| Error::Stopping)
    }

    /// Counts a write among those that wait, unless it need not.
    async fn counted<T>(&self, admitted: impl Future<Output = T>) -> T {
        let mut admitted = std::pin::pin!(admitted);
        match futures::poll!(&mut admitted) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => {
                let _waiting = self.pressure.wait_for_room();
                admitted.await
            }
        }
    }

    fn reason(&self) -> &'static str {
        match self.pressure.is_full() {
            true => "the process holds as much memory as memory_bytes_max allows",
            false => "too much is being written at once",
        }
    }
}
