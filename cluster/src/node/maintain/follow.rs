//! What is here follows the catalog.

use crate::node::Node;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

/// A replica that could not be opened or started is tried again after so long.
const AGAIN: Duration = Duration::from_secs(5);

pub(super) async fn run(node: Arc<Node>) {
    let mut changed = node.catalog.watch();
    let never = Notify::new();
    loop {
        changed.mark_unchanged();
        node.follow_catalog().await;
        let stopped = tokio::select! {
            // The catalog lives as long as the node.
            _ = changed.changed() => node.is_stopping(),
            going = node.until(&never, AGAIN) => !going,
        };
        if stopped {
            return;
        }
    }
}
