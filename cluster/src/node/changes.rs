//! Changes of the catalog, and the tablets that rows need.

use super::{
    CATALOG_GROUP, Node,
    maintain::{Looks, blocking},
    route::Errand,
};
use crate::{
    Catalog, Change, Error, Replica, Result,
    command::Command,
    partition::{Cutting, ends_soon},
};
use futures::{StreamExt, stream};
use oribi_model::{LogIndex, TableId, TimeRange, time::NS_PER_SECOND};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long the catalog that is here may take to follow the one that was changed.
const FOLLOW_WAIT: Duration = Duration::from_secs(5);

/// How long the start of a replica is waited for.
const START_WAIT: Duration = Duration::from_secs(10);

/// What [`Node::cover`] did.
#[derive(Debug)]
pub struct Cover {
    /// The catalog with the new tablets.
    pub catalog: Arc<Catalog>,
    /// New time ranges that it would have taken beyond those allowed.
    pub missing: usize,
}

/// New time ranges that rows of one table take.
#[derive(Debug, Clone, Copy)]
pub struct RangesWanted {
    /// How many.
    pub count: usize,
    /// Whether the table has none yet.
    pub is_first: bool,
}

impl Node {
    /// Commits a change of the catalog. Resolves with a catalog that has it.
    ///
    /// # Errors
    /// [`Error::Refused`] says why the catalog does not allow it.
    pub async fn change(&self, change: Change) -> Result<Arc<Catalog>> {
        self.check()?;
        if matches!(change, Change::CreateTablets { .. })
            && self.catalog().last_tablet() < self.unowned
        {
            let skip = Change::SkipTablets { upto: self.unowned };
            self.commit_change(skip).await?;
        }
        let before = self.catalog();
        let index = self.commit_change(change).await?;
        self.take_dropped().await;
        let before = self.catalog.before_drop(index).unwrap_or(before);
        self.end_dropped(&before, index).await?;
        Ok(self.catalog())
    }

    /// Commits a change, and waits until the catalog that is here has it.
    async fn commit_change(&self, change: Change) -> Result<LogIndex> {
        let errand = Errand::Commit(Command::change(change));
        let index = self.run_one(CATALOG_GROUP, errand).await?.index;
        if self.catalog_replica.reaches(index, FOLLOW_WAIT).await {
            return Ok(index);
        }
        let reason = "it is committed, but this node has not followed in time".to_owned();
        Err(Error::Unknown { group: CATALOG_GROUP.0, reason })
    }

    /// Takes out the tablets that the catalog no longer has. Their files go later.
    pub(super) async fn take_dropped(&self) {
        let _one = self.dropping.lock().await;
        let dropped = self.hosting.take_dropped(&self.catalog);
        if dropped.is_empty() {
            return;
        }
        let replicas: Vec<_> = dropped.iter().filter_map(|one| one.hosted.clone()).collect();
        self.dropped.lock().extend(dropped);
        self.routes.forget_gone(&self.catalog());
        self.drop_due.notify_one();
        self.room.notify_waiters();
        for hosted in replicas {
            hosted.replica.close().await;
        }
    }

    /// Brings what is here in step with the catalog: takes out what was dropped, and opens what this
    /// node is to have with other nodes. What it alone has is opened once it is written to.
    pub(super) async fn follow_catalog(self: &Arc<Node>, looks: &mut Looks) {
        const OPENED_AT_ONCE_MAX: usize = 64;
        self.take_dropped().await;
        self.replace_broken(looks).await;
        self.leave_moved(looks).await;
        let missing = looks.look(|| self.hosting.missing(&self.catalog()));
        let opened = missing.into_iter().map(|tablet| {
            let node = self.clone();
            async move {
                let open = move || node.hosting.serving(tablet, &node.catalog);
                // One that was dropped meanwhile is not there; one that cannot be opened is told
                // with the troubles.
                if let Err(error) = blocking(open).await {
                    tracing::warn!(tablet = tablet.0, %error, "a tablet was not opened");
                }
            }
        });
        stream::iter(opened).buffer_unordered(OPENED_AT_ONCE_MAX).collect::<Vec<()>>().await;
        // The others wake when anything is asked of them.
        let is_due = |replica: &Arc<Replica>| !replica.is_running() && replica.is_unfinished();
        let unfinished: Vec<_> = looks.look(|| {
            let all = self.hosting.all().into_iter().map(|hosted| hosted.replica.clone());
            all.filter(is_due).collect()
        });
        let replicas = unfinished.into_iter().chain([self.catalog_replica.clone()]);
        let woken = replicas.map(|replica| async move {
            let group = replica.group().0;
            match timeout(START_WAIT, replica.wake()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(group, %error, "a replica was not started"),
                // It goes on by itself, and holds up no other.
                Err(_) => tracing::warn!(group, "a replica has not started in time"),
            }
        });
        stream::iter(woken).buffer_unordered(OPENED_AT_ONCE_MAX).collect::<Vec<()>>().await;
    }

    /// Makes tablets for those of `times` that lie in none, in at most as many new ranges as `grant`
    /// gives when it is told how many it takes; no other call chooses ranges meanwhile.
    ///
    /// # Errors
    /// [`Error::Refused`] where the table is gone, or as [`Node::change`].
    pub async fn cover(
        &self,
        table: TableId,
        times: &[i64],
        grant: impl FnOnce(RangesWanted) -> usize,
    ) -> Result<Cover> {
        let _one = self.covering.lock().await;
        let catalog = self.catalog();
        let Some((cutting, buckets)) = self.cutting(&catalog, table) else {
            return Err(Error::Refused("the table was dropped".into()));
        };
        let present = catalog.ranges_of(table);
        let mut ranges = cutting.cover(times, &present, self.clock.now_ns());
        if ranges.is_empty() {
            return Ok(Cover { catalog, missing: 0 });
        }
        let granted = grant(RangesWanted { count: ranges.len(), is_first: present.is_empty() });
        let missing = ranges.len().saturating_sub(granted);
        ranges.truncate(granted);
        if ranges.is_empty() {
            return Ok(Cover { catalog, missing });
        }
        let catalog = self
            .change(Change::CreateTablets { table, ranges, buckets, away: self.away() })
            .await?;
        Ok(Cover { catalog, missing })
    }

    /// How a table is cut, and into how many buckets.
    pub(super) fn cutting(&self, catalog: &Catalog, table: TableId) -> Option<(Cutting, u32)> {
        /// Rows over less time say little of the rate.
        const SPAN_NS_MIN: i64 = 600 * NS_PER_SECOND;
        let options = &catalog.table_by_id(table)?.options;
        let newest = self.hosting.of_table(catalog, table).pop();
        let rows_per_s = newest.and_then(|hosted| {
            let stats = hosted.tablet.stats();
            let span = stats.time.map(|time| time.end.saturating_sub(time.start))?;
            let rate = stats.rows as f64 / (span / NS_PER_SECOND).max(1) as f64;
            (span >= SPAN_NS_MIN).then_some(rate)
        });
        let (set_ns, retention_ns) = (options.range_ns, options.retention_ns);
        let cutting = Cutting { set_ns, retention_ns, rows_per_s };
        Some((cutting, options.buckets.unwrap_or(1)))
    }

    /// Ranges to make before the clock reaches them.
    pub(super) fn ranges_ahead(&self) -> Vec<(TableId, TimeRange, u32)> {
        let catalog = self.catalog();
        let now_ns = self.clock.now_ns();
        let ahead = |table: TableId| {
            let present = catalog.ranges_of(table);
            // How it is cut is asked for once that is needed: this is looked at all the time.
            ends_soon(&present, now_ns)?;
            let (cutting, buckets) = self.cutting(&catalog, table)?;
            let range = cutting.ahead(&present, now_ns)?;
            Some((table, range, buckets))
        };
        catalog.tables().filter_map(|table| ahead(table.id)).collect()
    }
}
