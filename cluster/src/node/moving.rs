//! Replicas that leave this node, and those that are made anew here since something is damaged.

use super::{
    Node,
    hosting::{Broken, Moved, group_of},
    maintain::{Looks, blocking},
};
use crate::{Change, ClusterId, command::Command};
use oribi_model::{NodeId, TabletId};
use oribi_store::disk::Disk;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// How long a member may take to lead in the place of one that is damaged.
const HAND_OVER_WAIT: Duration = Duration::from_millis(500);

impl Node {
    /// Leaves the groups of all replicas to this node alone, in its log; the catalog has `then` as its
    /// next command. To be called only on a node that does nothing; blocks.
    pub(crate) fn leave_alone(&self, then: Command) -> crate::Result<()> {
        for hosted in self.hosting.all() {
            hosted.replica.leave_alone(None)?;
        }
        self.catalog_replica.leave_alone(Some(then))
    }

    /// Whether this node has a replica of a tablet, and it can be read.
    pub(crate) fn has_whole(&self, tablet: TabletId) -> bool {
        self.hosting.get(tablet).is_some()
    }

    /// Makes this node one of a cluster of its own, from the next start on. Ends its log; blocks.
    pub(crate) fn begin_cluster(&self, disk: &Arc<dyn Disk>) -> crate::Result<ClusterId> {
        self.hosting.log.close();
        self.hosting.dir.begin_cluster(&**disk)
    }

    /// Lets go of replicas that were removed or that another one follows here.
    pub(super) async fn leave_moved(self: &Arc<Node>, looks: &mut Looks) {
        let has_others = !self.hosting.has_no_others();
        if has_others && looks.look(|| self.hosting.has_misplaced(&self.catalog())) {
            // What this node lacks of the catalog may be that they are wanted.
            let Ok(catalog) = self.catalog_now().await else { return };
            let _one = self.dropping.lock().await;
            let moved = self.hosting.take_moved(&catalog);
            self.moved.lock().extend(moved);
        }
        let moved = std::mem::take(&mut *self.moved.lock());
        for one in moved {
            let tablet = one.id.0;
            match self.let_go_of_moved(&one).await {
                Ok(()) => tracing::info!(tablet, "a replica has left this node"),
                Err(error) => {
                    tracing::warn!(tablet, %error, "cannot put away a replica that has left yet");
                    self.moved.lock().push(one);
                }
            }
        }
    }

    async fn let_go_of_moved(self: &Arc<Node>, moved: &Arc<Moved>) -> crate::Result<()> {
        if let Some(hosted) = &moved.hosted {
            hosted.replica.close().await;
        }
        let (node, moved) = (self.clone(), moved.clone());
        blocking(move || {
            if let Some(hosted) = &moved.hosted {
                hosted.tablet.close();
            }
            node.hosting.let_go(&moved)?;
            node.troubles.clear(&format!("tablet {}", moved.id));
            node.troubles.clear(&format!("tablet {}, segments", moved.id));
            Ok(())
        })
        .await
    }

    /// Has replicas in which something is damaged made anew from the others, where those can do
    /// without them.
    pub(super) async fn replace_broken(self: &Arc<Node>, looks: &mut Looks) {
        if self.hosting.has_no_others() {
            return;
        }
        let catalog = self.catalog();
        let mut broken = looks.look(|| self.hosting.broken());
        broken.retain(|one| {
            let staying = catalog.staying(one.id);
            staying.len() > 1 && staying.contains(&one.member)
        });
        if broken.is_empty() {
            return;
        }
        // One that takes no part may be named as the leader by others that sleep, and one that sleeps may be the leader:
        // whoever leads has to say so now.
        let led = self.prove(broken.iter().map(|one| group_of(one.id)).collect()).await;
        for (broken, _) in broken.into_iter().zip(led).filter(|(_, is_led)| *is_led) {
            if !self.can_spare(&broken).await {
                continue;
            }
            let (tablet, node) = (broken.id, self.hosting.node);
            let change = Change::MoveReplicas { tablet, from: vec![broken.member], to: vec![node] };
            match self.change(change).await {
                Ok(_) => tracing::warn!(
                    tablet = tablet.0, reason = %broken.reason,
                    "a damaged replica is made anew from the others"
                ),
                Err(error) => tracing::debug!(
                    tablet = tablet.0, %error, "a damaged replica cannot be made anew yet"
                ),
            }
        }
    }

    /// Whether the others of a group that is led go on without this one.
    async fn can_spare(&self, broken: &Broken) -> bool {
        let Some(hosted) = &broken.hosted else { return true };
        let replica = &hosted.replica;
        let members = replica.members();
        let own = self.hosting.node;
        let others: BTreeSet<NodeId> = members.voters.iter().map(|voter| voter.node).collect();
        let hears = |node: &NodeId| self.hosting.around.links.hears(&BTreeSet::from([own, *node]));
        if others.len() < 3 || !members.is_settled || !others.iter().all(hears) {
            return false;
        }
        if !replica.standing().leads {
            return true;
        }
        for member in replica.matched().into_iter().filter(|one| members.voters.contains(one)) {
            if member.node == own {
                continue;
            }
            if matches!(replica.hand_over(member, HAND_OVER_WAIT).await, Ok(true)) {
                return true;
            }
        }
        // Nothing is written while somebody is asked to lead.
        let _ = replica.restart().await;
        false
    }
}
