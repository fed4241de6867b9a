//! What is here follows the catalog.

use super::Looks;
use crate::node::Node;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// When a replica that could not be opened or started is tried again, and how many times as long it may be until then.
const AGAIN: (Duration, u32) = (Duration::from_secs(5), 3);
/// After a look, so many times as long as it took passes before the next, but no longer than [`REST_MAX`]: each
/// looks at all tablets, and while many are made the catalog changes all the time.
const REST: u32 = 4;
const REST_MAX: Duration = Duration::from_millis(250);

pub(super) async fn run(node: Arc<Node>) {
    let mut changed = node.catalog.watch();
    let never = Notify::new();
    loop {
        changed.mark_unchanged();
        let began = Instant::now();
        let mut looks = Looks::default();
        node.follow_catalog(&mut looks).await;
        let took = began.elapsed();
        let rest = (took * REST).min(REST_MAX);
        if !node.until(&never, rest).await {
            return;
        }
        let stopped = tokio::select! {
            // The catalog lives as long as the node.
            _ = changed.changed() => node.is_stopping(),
            going = node.until(&never, looks.pause(AGAIN)) => !going,
        };
        if stopped {
            return;
        }
    }
}
