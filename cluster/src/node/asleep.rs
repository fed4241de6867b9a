//! Reads of replicas that sleep, without waking anybody.
//!
//! Whatever was acked is in the logs of a majority of the voters. So where a majority says, asked after a
//! read began, that its newest entry is one that is applied here, nothing behind that was acked
//! before the read; who leads does not matter.

use super::Node;
use crate::{MemberId, replica::Replica};
use futures::future::join_all;
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};
use tokio::time::Instant;

/// A group whose replica here sleeps.
struct Asleep {
    replica: Arc<Replica>,
    /// The newest entry here; it is applied.
    last: LogIndex,
    /// Voters that have no newer one.
    agree: BTreeSet<MemberId>,
}

impl Node {
    /// Of these groups, those that may lack here what was acked before `began`, as far as those tell
    /// whose replicas sleep; of the others nobody is asked. Notes what that proves.
    pub(super) async fn lacking(&self, groups: Vec<GroupId>, began: Instant) -> Vec<GroupId> {
        let mut asleep: HashMap<GroupId, Asleep> =
            groups.iter().filter_map(|group| Some((*group, self.asleep(*group)?))).collect();
        if asleep.is_empty() {
            return groups;
        }
        let mut asked = BTreeMap::<NodeId, Vec<TabletId>>::new();
        for (group, one) in &asleep {
            let nodes = one.replica.electors().nodes().clone();
            for node in nodes.into_iter().filter(|node| *node != self.hosting.node) {
                asked.entry(node).or_default().push(TabletId(group.0));
            }
        }
        let asked = asked
            .into_iter()
            .map(|(node, tablets)| async move { Some((node, self.hear_of(node, tablets).await?)) });
        for (node, report) in join_all(asked).await.into_iter().flatten() {
            for said in report.replicas {
                let Some(one) = asleep.get_mut(&said.group) else { continue };
                let member = MemberId { node, incarnation: said.incarnation };
                if said.last == Some(one.last) && !said.is_damaged {
                    one.agree.insert(member);
                }
            }
        }
        let lacks = |group: &GroupId| {
            let Some(one) = asleep.get(group).filter(|one| one.is_whole()) else { return true };
            self.soundings.note(*group, began, one.last);
            false
        };
        groups.into_iter().filter(lacks).collect()
    }

    fn asleep(&self, group: GroupId) -> Option<Asleep> {
        let replica = self.replica(group).filter(|one| one.is_asleep() && one.is_settled())?;
        let last = replica.sounding().last?;
        let agree = BTreeSet::from([replica.member()]);
        (replica.applied_index() == Some(last)).then_some(Asleep { replica, last, agree })
    }
}

impl Asleep {
    fn is_whole(&self) -> bool {
        let electors = self.replica.electors();
        let voters = electors.members();
        self.agree.intersection(voters).count() > voters.len() / 2
    }
}
