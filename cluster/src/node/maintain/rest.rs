//! Replicas that rest: consensus instances are ended that are idle, worn or too many.

use crate::{
    node::{Node, hosting::Hosted},
    replica::to_rest,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn run(node: Arc<Node>) {
    while node.until(node.hosting.instances.crowded(), PAUSE).await {
        let running = |hosted: Arc<Hosted>| Some((hosted.replica.usage()?, hosted));
        let (usages, hosted): (Vec<_>, Vec<_>) =
            node.hosting.all().into_iter().filter_map(running).unzip();
        for place in to_rest(Instant::now(), &usages) {
            hosted[place].replica.rest().await;
        }
    }
}
