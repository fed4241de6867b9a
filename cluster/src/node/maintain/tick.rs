//! What the clock brings: free space, retention, ranges ahead, replicas that rest, the catalog on
//! disk, the trash.

use crate::{
    Change, Result,
    node::{Node, hosting::Hosted, retention::Waiting},
};
use oribi_model::{TabletId, TimeRange};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const TICK: Duration = Duration::from_secs(1);
/// A replica that was not written to for so long rests, ms.
const REST_MS: u64 = 60_000;
/// Beyond so many running replicas those rest that were not written to for longest.
const RUNNING_MAX: usize = 1_024;

pub(super) async fn run(node: Arc<Node>) {
    let never = tokio::sync::Notify::new();
    let mut waiting = Waiting::default();
    while node.until(&never, TICK).await {
        node.look_at_disk();
        node.take_dropped().await;
        drop_expired(&node, &mut waiting).await;
        for (table, range, buckets) in node.ranges_ahead() {
            let ranges = vec![range];
            let outcome = node.change(Change::CreateTablets { table, ranges, buckets }).await;
            report("make a tablet ahead of the clock", outcome);
        }
        rest(&node).await;
        node.flush_catalog_if_due().await;
        node.empty_trash(node.trash_age()).await;
        node.look_at_troubles();
    }
}

/// Drops the tablets that were past their retention for long enough.
async fn drop_expired(node: &Node, waiting: &mut Waiting) {
    let (expired, before) = (node.expired(), waiting.count());
    let wait_ms = node.options.retention_wait_s.saturating_mul(1_000);
    let now = (node.clock.now_ns(), node.life_ms());
    let tablets = waiting.look(&expired, now, wait_ms);
    if waiting.count() > before {
        let (tablets, wait_s) = (waiting.count(), node.options.retention_wait_s);
        tracing::info!(tablets, wait_s, "tablets are past their retention, and go after a wait");
    }
    if !tablets.is_empty() {
        tracing::info!(tablets = tablets.len(), "dropping tablets past their retention");
        let outcome = node.change(Change::DropTablets { tablets }).await;
        report("drop tablets past their retention", outcome);
    }
}

/// Ends the consensus instances of replicas that were not written to for a while.
async fn rest(node: &Node) {
    let now_ms = node.life_ms();
    let mut running: Vec<(u64, Arc<Hosted>)> = node
        .hosting
        .all()
        .into_iter()
        .map(|hosted| (hosted.idle_ms(now_ms), hosted))
        .filter(|(_, hosted)| hosted.replica.is_running())
        .collect();
    running.sort_unstable_by_key(|(idle_ms, _)| std::cmp::Reverse(*idle_ms));
    let beyond = running.len().saturating_sub(RUNNING_MAX);
    let started = Instant::now();
    for (at, (idle_ms, hosted)) in running.iter().enumerate() {
        if (at >= beyond && *idle_ms < REST_MS) || started.elapsed() > TICK {
            return;
        }
        hosted.replica.rest().await;
    }
}

fn report<T>(action: &str, outcome: Result<T>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "cannot {action}");
    }
}

impl Node {
    /// Tablets all of whose rows are past the retention of their table, by id.
    fn expired(&self) -> Vec<TabletId> {
        let catalog = self.catalog();
        let expired = |table: &oribi_model::TableId, range: TimeRange| {
            range.end <= self.kept(&catalog, *table).start
        };
        catalog
            .tablets()
            .filter(|tablet| expired(&tablet.table, tablet.range))
            .map(|tablet| tablet.id)
            .collect()
    }
}
