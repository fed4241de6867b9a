//! Merges of the tablets that were flushed, one at a time.

use super::blocking;
use crate::{
    Error,
    node::{Node, hosting::Hosted},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// When tablets whose merge could not be begun or failed are looked at again.
const AGAIN: Duration = Duration::from_secs(60);

pub(super) async fn run(node: Arc<Node>) {
    // What an earlier run of the process left is looked at once.
    node.to_compact.lock().extend(node.hosting.all().iter().map(|hosted| hosted.id()));
    let mut again = Vec::new();
    loop {
        while let Some(tablet) = node.next_to_compact() {
            if let Some(hosted) = node.hosting.get(tablet)
                && !compact(&node, &hosted).await
            {
                again.push(tablet);
            }
            if node.is_stopping() {
                return;
            }
        }
        if !node.until(&node.compact_due, AGAIN).await {
            return;
        }
        if node.to_compact.lock().is_empty() {
            node.to_compact.lock().extend(again.drain(..));
        }
    }
}

/// Merges what is worth it. `false`: it could not, and may later.
async fn compact(node: &Node, hosted: &Arc<Hosted>) -> bool {
    let name = format!("tablet {}, compaction", hosted.id());
    let mut emptied = false;
    loop {
        let compacting = hosted.clone();
        match blocking(move || Ok(compacting.tablet.compact()?)).await {
            Ok(true) => {
                node.hosting.compactions.fetch_add(1, Ordering::Relaxed);
            }
            Ok(false) => {
                node.troubles.clear(&name);
                return true;
            }
            Err(Error::Store(oribi_store::Error::Dropped(_))) => {
                node.troubles.clear(&name);
                return true;
            }
            // What was merged before may lie in the trash still.
            Err(Error::Store(oribi_store::Error::NoRoom { .. })) if !emptied => {
                node.empty_trash(Duration::ZERO).await;
                emptied = true;
            }
            Err(error) => {
                node.troubles.set(&name, error.to_string());
                return false;
            }
        }
        if node.is_stopping() {
            return true;
        }
    }
}
