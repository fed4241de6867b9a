//! When a drop is done: once no commit of what was dropped is possible any more.
//!
//! A node that has not heard of a drop goes on to lead and to ack. So whoever drops waits until of
//! each tablet a majority of the replicas are closed: what any leader acks needs one of them.

use super::{CATALOG_GROUP, Node, hosting::group_of};
use crate::{
    Catalog, Error, Result,
    route::scan::{AsOf, Piece, Wish},
};
use futures::{StreamExt, stream::FuturesUnordered};
use oribi_model::{LogIndex, NodeId, TabletId};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};

/// How long the nodes of what was dropped may take to let go of it.
const LET_GO_WAIT: Duration = Duration::from_secs(5);
/// Before a node is asked again that could not be.
const AGAIN: Duration = Duration::from_millis(20);

/// Tablets that are gone and the nodes that had them, and who of those has let go.
struct Dropped {
    tablets: Vec<Gone>,
    closed: BTreeSet<NodeId>,
}

/// A tablet that is gone.
struct Gone {
    tablet: TabletId,
    /// Those that had it, or were about to.
    nodes: Vec<NodeId>,
    /// How many of these have to let go: where it is not known who voted, all.
    needed: usize,
}

impl Dropped {
    fn nodes(&self) -> BTreeSet<NodeId> {
        self.tablets.iter().flat_map(|gone| gone.nodes.iter().copied()).collect()
    }

    /// A tablet of which too few replicas are closed.
    fn open(&self) -> Option<TabletId> {
        let is_open = |gone: &&Gone| {
            let closed = gone.nodes.iter().filter(|node| self.closed.contains(node)).count();
            closed < gone.needed
        };
        self.tablets.iter().find(is_open).map(|gone| gone.tablet)
    }
}

impl Node {
    /// Waits until nothing can be committed any more to what the catalog had in `before` and has no
    /// longer, by entry `index` of it.
    ///
    /// # Errors
    /// [`Error::Unknown`]: it is dropped, but rows may still be acked to it.
    pub(super) async fn end_dropped(&self, before: &Catalog, index: LogIndex) -> Result<()> {
        if self.hosting.has_no_others() {
            return Ok(());
        }
        let mut dropped = self.dropped_since(before);
        let deadline = Instant::now() + LET_GO_WAIT;
        let others = dropped.nodes().into_iter().filter(|node| *node != self.hosting.node);
        let mut asked: FuturesUnordered<_> =
            others.map(|node| async move { self.lets_go(node, index, deadline).await }).collect();
        while let Some(tablet) = dropped.open() {
            match asked.next().await {
                Some(Some(node)) => dropped.closed.insert(node),
                Some(None) => false,
                None => {
                    let reason = format!(
                        "it is committed, but too few nodes have let go of tablet {tablet} in time"
                    );
                    return Err(Error::Unknown { group: CATALOG_GROUP.0, reason });
                }
            };
        }
        Ok(())
    }

    /// What the catalog had then and has no longer; this node has let go of it.
    fn dropped_since(&self, before: &Catalog) -> Dropped {
        let catalog = self.catalog();
        let nodes = |tablet: TabletId| -> Vec<NodeId> {
            let members = match &self.hosting.around.assign {
                Some(assign) => assign(group_of(tablet)).voters().into_iter().collect(),
                None => before.replicas_of(tablet).to_vec(),
            };
            members.iter().map(|member| member.node).collect()
        };
        let gone = before.tablets().filter(|spec| catalog.tablet(spec.id).is_none());
        let tablets = gone.map(|spec| {
            let (tablet, nodes) = (spec.id, nodes(spec.id));
            let needed = match before.is_settled(tablet) {
                true => nodes.len() / 2 + 1,
                false => nodes.len(),
            };
            Gone { tablet, nodes, needed }
        });
        let tablets = tablets.collect();
        Dropped { tablets, closed: BTreeSet::from([self.hosting.node]) }
    }

    /// The node, once it has let go of what the catalog dropped up to `index`.
    async fn lets_go(&self, node: NodeId, index: LogIndex, deadline: Instant) -> Option<NodeId> {
        loop {
            let wish = Wish::Follow(index);
            match timeout_at(deadline, self.ask(node, &wish, AsOf::default())).await {
                Ok(Ok(Piece::Blocks { .. })) => return Some(node),
                Ok(_) if Instant::now() + AGAIN < deadline => sleep(AGAIN).await,
                Ok(_) | Err(_) => return None,
            }
        }
    }

    /// Waits until the catalog that is here has entry `index`, and closes what it dropped.
    pub(super) async fn let_go_of_dropped(&self, index: LogIndex) -> Result<()> {
        if !self.catalog_replica.reaches(index, LET_GO_WAIT).await {
            let reason = "this node has not followed in time".to_owned();
            return Err(Error::Unavailable { group: CATALOG_GROUP.0, reason });
        }
        self.take_dropped().await;
        Ok(())
    }
}
