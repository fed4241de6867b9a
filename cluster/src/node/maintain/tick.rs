//! What the clock brings: free space, retention, ranges ahead, the catalog on disk, the trash.

use super::Looks;
use crate::{
    Change, Result,
    node::{
        Node,
        retention::{Waiting, may_judge},
    },
};
use oribi_model::{TabletId, TimeRange};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const TICK: Duration = Duration::from_secs(1);
/// How often there is a look at all tables and tablets, and how many times as long it may be until the next one.
const ALL_PAUSE: (Duration, u32) = (Duration::from_secs(5), 3);

pub(super) async fn run(node: Arc<Node>) {
    let never = tokio::sync::Notify::new();
    let (mut waiting, mut all_due) = (Waiting::default(), Instant::now());
    while node.until(&never, TICK).await {
        node.look_at_disk();
        node.note_arrivals().await;
        if Instant::now() >= all_due {
            let mut looks = Looks::default();
            drop_expired(&node, &mut waiting, &mut looks).await;
            make_ahead(&node, &mut looks).await;
            looks.look(|| node.look_at_tablets());
            all_due = Instant::now() + looks.pause(ALL_PAUSE);
        }
        node.flush_catalog_if_due().await;
        node.empty_trash(node.trash_age()).await;
        node.look_at_troubles();
        node.scans.sweep();
        node.backups.expire();
    }
}

/// Makes tablets for what comes next in each table.
async fn make_ahead(node: &Node, looks: &mut Looks) {
    for (table, range, buckets) in looks.look(|| node.ranges_ahead()) {
        let (ranges, away) = (vec![range], node.away());
        let outcome = node.change(Change::CreateTablets { table, ranges, buckets, away }).await;
        report("make a tablet ahead of the clock", outcome);
    }
}

/// Drops the tablets that were past their retention for long enough.
async fn drop_expired(node: &Node, waiting: &mut Waiting, looks: &mut Looks) {
    if !node.judges_retention() {
        // Whoever comes to judge waits anew.
        *waiting = Waiting::default();
        return;
    }
    let (expired, before) = (looks.look(|| node.expired()), waiting.count());
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

fn report<T>(action: &str, outcome: Result<T>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "cannot {action}");
    }
}

impl Node {
    /// Whether this node decides what is past its retention: the one that leads the catalog, as long
    /// as its clock is not far from those of the others.
    fn judges_retention(&self) -> bool {
        if self.hosting.has_no_others() {
            return true;
        }
        let catalog = &self.catalog_replica;
        let leads = catalog.is_sole_voter() || catalog.standing().leads;
        let may_judge = may_judge(&self.soundings.clocks_ahead_ns());
        let reason = "nothing is dropped by its retention: this node's clock is far from those of the \
             other nodes, or none of them was heard of lately";
        self.troubles.update("clock", (leads && !may_judge).then(|| reason.to_owned()));
        leads && may_judge
    }

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
