//! How much is on its way to other members: it takes memory here and there until it is answered.

use crate::tasks::timeout;
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Of one group to one member, bytes.
pub(super) const GROUP_BYTES_MAX: usize = 4 << 20;
/// Of all groups to one node, bytes.
const NODE_BYTES_MAX: usize = 32 << 20;
/// What one permit stands for, bytes.
const PERMIT_BYTES: usize = 1 << 10;

/// What is on its way to other nodes, of all groups of this one.
#[derive(Debug, Default)]
pub(super) struct InFlight(Mutex<BTreeMap<NodeId, Arc<Semaphore>>>);

/// What is on its way to one member. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Window {
    group: Arc<Semaphore>,
    node: Arc<Semaphore>,
}

/// Room of something that is on its way, until this goes.
#[derive(Debug)]
pub(super) struct Underway {
    _group: OwnedSemaphorePermit,
    _node: OwnedSemaphorePermit,
}

impl InFlight {
    /// For one group to a member on `node`.
    pub(super) fn window(&self, node: NodeId) -> Window {
        let of = |bytes| Arc::new(Semaphore::new(bytes / PERMIT_BYTES));
        let node = self.0.lock().entry(node).or_insert_with(|| of(NODE_BYTES_MAX)).clone();
        Window { group: of(GROUP_BYTES_MAX), node }
    }
}

impl Window {
    /// Room for so many bytes, in the order of the calls; `None` where none came within `wait`. What is longer
    /// than all room goes alone.
    pub(super) async fn room(&self, bytes: usize, wait: Duration) -> Option<Underway> {
        let permits = (bytes / PERMIT_BYTES + 1).min(GROUP_BYTES_MAX / PERMIT_BYTES) as u32;
        let both = async {
            let group = self.group.clone().acquire_many_owned(permits).await.ok()?;
            let node = self.node.clone().acquire_many_owned(permits).await.ok()?;
            Some(Underway { _group: group, _node: node })
        };
        timeout(wait, both).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const NODE: NodeId = NodeId(2);

    /// Room that is there at once.
    fn room(window: &Window, bytes: usize) -> Option<Underway> {
        window.room(bytes, Duration::from_secs(100)).now_or_never().flatten()
    }

    #[tokio::test]
    async fn a_group_waits_for_its_own_answers_and_others_go_on() {
        let all = InFlight::default();
        let (one, other) = (all.window(NODE), all.window(NODE));
        let first = room(&one, GROUP_BYTES_MAX).unwrap();
        assert!(room(&one, 1).is_none());
        assert!(room(&other, 1).is_some());
        drop(first);
        assert!(room(&one, 100 * GROUP_BYTES_MAX).is_some(), "it is alone");
    }

    #[tokio::test]
    async fn all_groups_share_what_goes_to_a_node() {
        let all = InFlight::default();
        let windows = [(); NODE_BYTES_MAX / GROUP_BYTES_MAX].map(|()| all.window(NODE));
        let underway = windows.each_ref().map(|window| room(window, GROUP_BYTES_MAX).unwrap());
        let one_more = all.window(NODE);
        assert!(room(&one_more, 1).is_none());
        assert!(room(&all.window(NodeId(3)), 1).is_some(), "another node has its own");
        drop(underway);
        assert!(room(&one_more, 1).is_some());
    }

    #[tokio::test]
    async fn room_that_never_comes_is_waited_for_no_longer_than_said() {
        let window = InFlight::default().window(NODE);
        let _all = room(&window, GROUP_BYTES_MAX).unwrap();
        assert!(window.room(1, Duration::from_millis(1)).await.is_none());
    }
}
