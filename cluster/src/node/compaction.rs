//! Everything flushed and merged on demand.

use super::{
    Node,
    maintain::{self, blocking},
};
use crate::{Error, Result};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

impl Node {
    /// Flushes and compacts every tablet, then rotates, purges and trims the log: what lies on the
    /// disk afterwards is data, and little else.
    ///
    /// # Errors
    /// What the disk answers.
    pub async fn compact(self: &Arc<Node>) -> Result<()> {
        const PURGE_WAIT: Duration = Duration::from_secs(4);
        self.check()?;
        for hosted in self.hosting.all() {
            maintain::flush(self, hosted.clone()).await?;
            match blocking(move || Ok(hosted.tablet.compact_fully()?)).await {
                Err(Error::Store(oribi_store::Error::Dropped(_))) => continue,
                outcome => outcome?,
            }
            self.hosting.compactions.fetch_add(1, Ordering::Relaxed);
        }
        self.settle_catalog().await;
        self.purge_within(PURGE_WAIT).await;
        let (log, trash) = (self.hosting.log.clone(), self.hosting.options.trash.clone());
        let now_ms = self.life_ms();
        blocking(move || {
            log.rotate()?;
            log.trim()?;
            trash.empty(now_ms, Duration::ZERO)?;
            Ok(())
        })
        .await
    }
}
