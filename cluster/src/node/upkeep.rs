//! What a node looks at and writes by itself: free space, troubles, the catalog, the trash.

use super::{
    Node,
    maintain::{self, blocking},
};
use crate::Result;
use oribi_model::TabletId;
use std::{sync::atomic::Ordering, time::Duration};
use tokio::time::Instant;

/// When the catalog was written last, and how long that took.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatalogFlushes {
    last: Instant,
    took: Duration,
}

impl CatalogFlushes {
    /// As if it had been written just now.
    pub(super) fn at(now: Instant) -> CatalogFlushes {
        CatalogFlushes { last: now, took: Duration::ZERO }
    }
}

impl Node {
    pub(super) fn look_at_disk(&self) {
        let path = self.hosting.dir.path();
        match self.hosting.disk.free_bytes(path) {
            Ok(bytes) => self.disk_free_bytes.store(bytes, Ordering::Relaxed),
            Err(error) => tracing::warn!(%error, "cannot ask for the free space of the disk"),
        }
    }

    /// Brings the troubles up to date that are read off elsewhere.
    pub(super) fn look_at_troubles(&self) {
        let (free, reserve) = (self.disk_free_bytes(), self.options.disk_reserve_bytes);
        let full = (free < reserve).then(|| {
            format!(
                "writes are refused: {free} bytes are free, below storage.disk_reserve_bytes ({reserve}); \
                 they resume by themselves"
            )
        });
        self.troubles.update("disk", full);
        self.look_at_log();
    }

    /// As [`Node::look_at_troubles`], of all tablets.
    pub(super) fn look_at_tablets(&self) {
        for hosted in self.hosting.all() {
            let name = || format!("tablet {}", hosted.id());
            if let Some(reason) = hosted.tablet.failure() {
                self.troubles.set(&name(), format!("it takes no more writes: {reason}"));
            }
            if hosted.tablet.is_damaged() {
                let damaged = hosted.tablet.stats().damaged_segments;
                let message = format!("{damaged} of its segments cannot be read in full");
                self.troubles.set(&format!("{}, segments", name()), message);
            }
        }
        let damaged = self.hosting.damaged();
        for (tablet, reason) in &damaged {
            self.troubles.set(&format!("tablet {tablet}"), format!("it is set aside: {reason}"));
        }
    }

    /// Whether the log can be written.
    pub(super) fn look_at_log(&self) {
        let stalled = self.stalled().map(|reason| {
            format!("writes wait: the log cannot be written ({reason}); that is tried again")
        });
        self.troubles.update("log, writing", stalled);
    }

    pub(super) fn log_is_long(&self) -> bool {
        self.hosting.log.stats().bytes > self.options.log_bytes_max
    }

    pub(super) fn compact_soon(&self, tablet: TabletId) {
        self.to_compact.lock().insert(tablet);
        self.compact_due.notify_one();
    }

    pub(super) fn next_to_compact(&self) -> Option<TabletId> {
        self.to_compact.lock().pop_first()
    }

    /// How long what is in the trash stays there.
    pub(super) fn trash_age(&self) -> Duration {
        let short = self.disk_free_bytes() < self.options.disk_reserve_bytes.saturating_mul(2);
        if short { Duration::ZERO } else { Duration::from_secs(self.options.trash_s) }
    }

    /// Deletes what has been in the trash for so long.
    pub(super) async fn empty_trash(&self, age: Duration) {
        let (trash, now_ms) = (self.hosting.options.trash.clone(), self.life_ms());
        let emptied = blocking(move || Ok(trash.empty(now_ms, age)?)).await;
        self.troubles.update("trash", emptied.err().map(|error| error.to_string()));
    }

    /// Writes the catalog soon after it changed, but not so often that it costs much: how far
    /// connectors have got changes all the time, and many tables make it long.
    pub(super) async fn flush_catalog_if_due(&self) {
        const PAUSE_MIN: Duration = Duration::from_secs(1);
        const PAUSE_MAX: Duration = Duration::from_secs(60);
        /// Writing it takes at most this part of the time.
        const SHARE: u32 = 20;
        let flushes = *self.catalog_flushes.lock();
        let pause = match self.catalog.is_restructured() {
            true => (flushes.took * SHARE).max(PAUSE_MIN),
            false => PAUSE_MAX,
        };
        if flushes.last.elapsed() < pause {
            return;
        }
        let outcome = self.flush_catalog().await;
        self.troubles.update("catalog, flush", outcome.err().map(|error| error.to_string()));
    }

    /// Writes the catalog into both of its files, so that the log can let go of all its changes.
    pub(super) async fn settle_catalog(&self) {
        for _ in 0..2 {
            let outcome = self.flush_catalog().await;
            self.troubles.update("catalog, flush", outcome.err().map(|error| error.to_string()));
        }
    }

    /// Waits until the log has let go of what was flushed, but no longer than `wait`: other members
    /// may need it still.
    pub(super) async fn purge_within(&self, wait: Duration) {
        let started = Instant::now();
        if let Err(error) = self.catalog_replica.purge(wait).await {
            tracing::warn!(%error, "the log of the catalog cannot be purged yet");
        }
        for hosted in self.hosting.all() {
            maintain::purge(self, &hosted, wait.saturating_sub(started.elapsed())).await;
        }
    }

    pub(super) async fn flush_catalog(&self) -> Result<()> {
        let mut sealed = None;
        self.catalog_replica.seal(|index, state| sealed = Some((index, state, self.catalog())));
        if let Some((index, state, catalog)) = sealed {
            let (machine, started) = (self.catalog.clone(), Instant::now());
            blocking(move || machine.flush(&catalog, index, state)).await?;
            let (last, took) = (Instant::now(), started.elapsed());
            *self.catalog_flushes.lock() = CatalogFlushes { last, took };
        }
        // Where it is not done yet, the next flush asks again.
        if let Err(error) = self.catalog_replica.purge(Duration::ZERO).await {
            tracing::warn!(%error, "the log of the catalog cannot be purged yet");
        }
        Ok(())
    }
}
