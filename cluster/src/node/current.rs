//! Reads that have every row acked before they began, wherever it was acked.

use super::{
    CATALOG_GROUP, Node,
    hosting::group_of,
    route::{Done, Errand, WHOLE_WAIT},
};
use crate::{
    Catalog, Error, Result,
    beside::waiting,
    replica::{Missed, Replica},
};
use futures::future::join_all;
use oribi_model::{LogIndex, TabletId};
use oribi_store::log::GroupId;
use std::sync::{Arc, mpsc};
use tokio::time::Instant;

impl Node {
    /// A catalog with every change that was acked before this call, at whichever node.
    ///
    /// # Errors
    /// That cannot be told in time.
    pub async fn catalog_now(&self) -> Result<Arc<Catalog>> {
        self.follow(vec![CATALOG_GROUP]).await?;
        Ok(self.catalog())
    }

    /// Waits until the replicas that this node has of these tablets hold every row that was acked
    /// before this call. Tablets that are only on other nodes are left out.
    ///
    /// # Errors
    /// The first one of which that cannot be told in time.
    pub async fn current(&self, tablets: &[TabletId]) -> Result<()> {
        let groups = tablets.iter().map(|tablet| group_of(*tablet));
        self.follow(groups.filter(|group| self.is_on_others_too(*group)).collect()).await
    }

    /// As [`Node::current`], from a thread that may block.
    pub(super) fn wait_until_current(&self, tablets: Vec<TabletId>) -> Result<()> {
        match tablets.iter().any(|tablet| self.is_on_others_too(group_of(*tablet))) {
            true => self.block_on(|node| async move { node.current(&tablets).await }),
            false => Ok(()),
        }
    }

    /// As [`Node::catalog_now`], from a thread that may block.
    pub(super) fn wait_for_catalog(&self) -> Result<()> {
        match self.is_only_here(CATALOG_GROUP) {
            true => Ok(()),
            false => self.block_on(|node| async move { node.catalog_now().await.map(drop) }),
        }
    }

    /// The entry up to which the catalog is here.
    pub(super) fn catalog_index(&self) -> LogIndex {
        self.catalog_replica.applied_index().unwrap_or(LogIndex(0))
    }

    /// Waits until the catalog that is here is as far as that of another node, from a thread that may
    /// block.
    pub(super) fn wait_for_catalog_at(&self, index: LogIndex) -> Result<()> {
        if self.catalog_index() >= index {
            return Ok(());
        }
        self.block_on(move |node| async move {
            if node.catalog_replica.reaches(index, WHOLE_WAIT).await {
                return Ok(());
            }
            let reason = "this node has not followed the catalog in time".to_owned();
            Err(Error::Unavailable { group: CATALOG_GROUP.0, reason })
        })
    }

    /// Does `work` on the node's own runtime, and waits for it on this thread.
    pub(super) fn block_on<T, F>(&self, work: impl FnOnce(Arc<Node>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (Some(node), Some(runtime)) = (self.me.upgrade(), self.routes.runtime.clone()) else {
            return Err(Error::Stopping);
        };
        let (sender, receiver) = mpsc::sync_channel(1);
        let work = work(node);
        // Begun only once other tasks have a thread: on this one they would wait, too.
        waiting(|| {
            runtime.spawn(async move { sender.send(work.await) });
            receiver.recv().unwrap_or(Err(Error::Stopping))
        })
    }

    /// Whether this node has a replica of a group that is not the only one.
    fn is_on_others_too(&self, group: GroupId) -> bool {
        if self.hosting.has_no_others() {
            return false;
        }
        let own = |node| node == self.hosting.node;
        let is_here = self.replica(group).is_some()
            || self.assignment(group).voters().iter().any(|voter| own(voter.node));
        is_here && !self.is_only_here(group)
    }

    /// Whether nobody but this node knows of any write of a group.
    pub(super) fn is_only_here(&self, group: GroupId) -> bool {
        self.hosting.has_no_others()
            || self.is_alone(group)
                && self.replica(group).is_none_or(|replica| !replica.has_others())
    }

    /// Waits, once in each term in which this node leads, until all that was committed before is
    /// applied: only then are the marks of sources those that a record is counted by.
    pub(super) async fn apply_all_once(&self, replica: &Arc<Replica>) -> Result<(), Missed> {
        let term = replica.standing().vote.map(|vote| vote.term);
        if self.is_alone(replica.group()) || replica.is_marked_in(term) {
            return Ok(());
        }
        let index = replica.read_index(WHOLE_WAIT).await?.unwrap_or(LogIndex(0));
        if !replica.reaches(index, WHOLE_WAIT).await {
            let reason = "what was committed before is not applied in time".to_owned();
            return Err(Error::Unavailable { group: replica.group().0, reason }.into());
        }
        replica.mark_in(term);
        Ok(())
    }

    /// Asks the leaders how far they are, and waits until the replicas that are here are there.
    pub(super) async fn follow(&self, groups: Vec<GroupId>) -> Result<()> {
        if groups.iter().all(|group| self.is_only_here(*group)) {
            return Ok(());
        }
        let began = Instant::now();
        let groups = self.lacking(groups, began).await;
        let errands = groups.iter().map(|group| (*group, Errand::Read)).collect();
        let led = self.run(errands).await;
        let reach = |(group, led)| self.reach(group, began, led);
        let followed = groups.into_iter().zip(led).map(reach);
        join_all(followed).await.into_iter().collect()
    }

    async fn reach(&self, group: GroupId, began: Instant, led: Result<Done>) -> Result<()> {
        let (index, replica) = (led?.index, self.able(group)?);
        self.soundings.note(group, began, index);
        if replica.reaches(index, WHOLE_WAIT).await {
            return Ok(());
        }
        let reason = "this node has not followed its leader in time".to_owned();
        Err(Error::Unavailable { group: group.0, reason })
    }
}
