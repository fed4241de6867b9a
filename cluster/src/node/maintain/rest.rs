//! Replicas that rest: consensus instances are ended that are idle, worn or too many.

use crate::{
    node::{CATALOG_GROUP, Node},
    replica::{Replica, to_rest},
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
    let of_tablet = |replica: &Arc<Replica>| replica.group() != CATALOG_GROUP;
    let running = node.hosting.instances.running().into_iter().filter(of_tablet);
    let used = |replica: Arc<Replica>| Some((replica.usage()?, replica));
    let (usages, replicas): (Vec<_>, Vec<_>) = running.filter_map(used).unzip();
    for place in to_rest(Instant::now(), &usages, &node.hosting.instances) {
        replicas[place].rest().await;
    }
}
