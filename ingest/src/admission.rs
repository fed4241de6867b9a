//! Who may write now: bounds on what is in flight, and on the disk.

use crate::{Error, IngestOptions, Result};
use oribi_cluster::Node;
use std::{sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What one permit stands for, bytes.
const PERMIT_BYTES: usize = 1_024;
/// What a refused client is told to wait.
const RETRY_AFTER_S: u32 = 1;

pub(crate) struct Admission {
    options: IngestOptions,
    inflight: Arc<Semaphore>,
    permits: usize,
}

impl Admission {
    pub(crate) fn new(options: IngestOptions) -> Admission {
        let permits = (options.inflight_bytes_max / PERMIT_BYTES).max(1);
        Admission { options, inflight: Arc::new(Semaphore::new(permits)), permits }
    }

    /// Lets a write of so many bytes in, after a bounded wait; it counts until the answer is
    /// dropped.
    pub(crate) async fn admit(&self, node: &Node, bytes: usize) -> Result<OwnedSemaphorePermit> {
        if let Some(reason) = node.failure() {
            return Err(Error::Storage(reason));
        }
        if let Some(reason) = node.stalled() {
            return Err(Error::Storage(format!("the log cannot be written at present: {reason}")));
        }
        let free_bytes = node.disk_free_bytes();
        if free_bytes < node.options().disk_reserve_bytes {
            return Err(Error::DiskFull { free_bytes });
        }
        let wanted = (bytes / PERMIT_BYTES + 1).min(self.permits) as u32;
        let wait = Duration::from_millis(self.options.wait_ms_max);
        let busy = |reason| Error::Busy { reason, retry_after_s: RETRY_AFTER_S };
        let admitted = async {
            let permit = self.inflight.clone().acquire_many_owned(wanted).await;
            node.room().await;
            permit.map_err(|_| Error::Stopping)
        };
        match tokio::time::timeout(wait, admitted).await {
            Ok(outcome) => outcome,
            Err(_) => Err(busy("too much is being written at once")),
        }
    }
}
