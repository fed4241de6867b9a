//! Files and log entries of tablets that were dropped.

use super::blocking;
use crate::{
    Result,
    node::{Node, hosting::Dropped},
};
use std::{sync::Arc, time::Duration};

/// When what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(10);

pub(super) async fn run(node: Arc<Node>) {
    while node.until(&node.drop_due, AGAIN).await {
        let dropped = std::mem::take(&mut *node.dropped.lock());
        for one in dropped {
            if let Err(error) = remove(&node, &one).await {
                tracing::warn!(tablet = one.id.0, %error, "cannot remove a dropped tablet yet");
                node.dropped.lock().push(one);
            }
        }
    }
}

/// Waits for what is under way in the tablet, then lets go of what is stored of it.
async fn remove(node: &Arc<Node>, dropped: &Dropped) -> Result<()> {
    if let Some(hosted) = &dropped.hosted {
        hosted.replica.close().await;
    }
    let (node, id, hosted) = (node.clone(), dropped.id, dropped.hosted.clone());
    blocking(move || {
        if let Some(hosted) = hosted {
            hosted.tablet.close();
        }
        node.hosting.remove(id)
    })
    .await?;
    Ok(())
}
