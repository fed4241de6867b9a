//! Replicas that rest: consensus instances are ended that are idle, worn or too many.

use crate::{
    node::{Node, hosting::Hosted},
    replica::to_rest,
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(node: Arc<Node>) {
    while node.until(node.hosting.instances.crowded(), PAUSE).await {
        loop {
            rest(&node).await;
            if !node.hosting.instances.is_crowded() || node.is_stopping() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn rest(node: &Node) {
    let running = |hosted: Arc<Hosted>| Some((hosted.replica.usage()?, hosted));
    let (usages, hosted): (Vec<_>, Vec<_>) =
        node.hosting.all().into_iter().filter_map(running).unzip();
    for place in to_rest(Instant::now(), &usages, &node.hosting.instances) {
        hosted[place].replica.rest().await;
    }
}
