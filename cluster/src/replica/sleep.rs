//! Replicas of groups of several that sleep: no instance runs, and nothing else of them but what can be
//! read. Whatever is asked of one starts its instance again, with the vote and the log that it has on
//! its disk, as the start of its node does. So one that sleeps refuses and grants what it would
//! awake; what it has led it is elected for again.

use super::{
    Replica, forms,
    instance::{Instance, Running, WRITES_MAX},
    types::Vote,
};
use crate::{
    MemberId, Result,
    planted::{Fault, is_planted},
    route::sounding::Sounding,
    tasks,
};
use openraft::async_runtime::WatchReceiver;
use oribi_model::{LogIndex, NodeId};
use oribi_store::log::Op;
use std::{collections::BTreeSet, sync::Arc, time::Duration};

impl Replica {
    /// Whether it is of a group of several, and nothing of it runs.
    pub(crate) fn is_asleep(&self) -> bool {
        matches!(*self.instance.lock(), Instance::Resting) && self.is_of_several()
    }

    /// Whether something is left to do that nobody asks a replica for which has just been recovered: its
    /// group is not founded, has no leader or changes its members, or not all entries are
    /// known to be committed.
    pub(crate) fn is_unfinished(&self) -> bool {
        let last = self.last_index();
        let is_elected = self.standing().vote.is_some_and(|vote| vote.is_elected);
        let is_done = last.is_some() && self.applied_index() == last;
        self.is_of_several()
            && !(is_done && is_elected && self.is_settled() && self.members().learners.is_empty())
    }

    /// Has it sleep where nothing was asked of it for as long as `quiet`, and no member lacks anything
    /// but those on nodes that are `absent`. Whether it sleeps from now on.
    pub(crate) async fn sleep(
        self: &Arc<Replica>,
        quiet: Duration,
        absent: &Arc<BTreeSet<NodeId>>,
    ) -> bool {
        if !self.may_sleep(quiet, absent) {
            return false;
        }
        let (replica, absent) = (self.clone(), absent.clone());
        let sleeping = tasks::spawn(async move {
            let _one = replica.switching.lock().await;
            // What came meanwhile keeps it awake.
            let sleeps = replica.may_sleep(quiet, &absent);
            if sleeps {
                replica.inbox.lock().take();
                replica.end_held(Instance::Resting).await;
                replica.instances.count_sleep();
                if is_planted(Fault::VoteSleptAway) {
                    let none = forms::encode_vote(&Vote::new(0, replica.member.to_u64()));
                    replica.log.submit(replica.group, Op::Vote(none), Box::new(|_| {}));
                }
            }
            sleeps
        });
        sleeping.await.unwrap_or(false)
    }

    /// Starts the instance of a group of several, where none runs.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::Error::Closed), or why it cannot start.
    pub(crate) async fn wake(self: &Arc<Replica>) -> Result<()> {
        match self.is_of_several() {
            true => self.running().await.map(drop),
            false => Ok(()),
        }
    }

    /// Whether one that sleeps is needed although nobody asks for it: it would lead, and a member is
    /// behind by what its node has `said`; or `is_dead` says so of the node of the leader.
    pub(crate) fn is_missed(
        &self,
        said: &[(NodeId, Sounding)],
        is_dead: impl FnOnce(NodeId, &BTreeSet<NodeId>) -> bool,
    ) -> bool {
        let (standing, last) = (self.standing(), self.last_index());
        let Some(vote) = standing.vote.filter(|vote| vote.is_elected) else { return true };
        if vote.member != self.member {
            return vote.member.node != self.member.node
                && is_dead(vote.member.node, standing.voters.nodes());
        }
        said.iter().any(|(node, said)| {
            let member = MemberId { node: *node, incarnation: said.incarnation };
            let is_other = member != self.member && standing.voters.members().contains(&member);
            is_other && !said.is_damaged && said.applied != last
        })
    }

    /// Notes that something is asked of it.
    pub(super) fn touch(&self) {
        self.usage.lock().last = tasks::now();
    }

    fn last_index(&self) -> Option<LogIndex> {
        let known = self.log.group(self.group).unwrap_or_default();
        known.entries.end.checked_sub(1).map(LogIndex)
    }

    fn may_sleep(&self, quiet: Duration, absent: &BTreeSet<NodeId>) -> bool {
        let running = match &*self.instance.lock() {
            Instance::Running(running) => running.clone(),
            Instance::Resting | Instance::Closed => return false,
        };
        let is_quiet = tasks::now().saturating_duration_since(self.usage.lock().last) >= quiet;
        is_quiet
            && self.is_of_several()
            && running.writes.available_permits() == WRITES_MAX as usize
            && running.is_at_rest(absent)
            && !self.incoming.is_running()
            && self.origin.held_index().is_none()
    }
}

impl Running {
    /// Whether nothing is under way: all entries are applied here, and where this replica leads, all
    /// members have them but those on nodes that are `absent`.
    fn is_at_rest(&self, absent: &BTreeSet<NodeId>) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let (members, last) = (metrics.membership_config.membership(), metrics.last_log_index);
        let is_settled =
            members.get_joint_config().len() <= 1 && members.learner_ids().next().is_none();
        let applied = metrics.last_applied.map(|applied| applied.index);
        let is_absent = |member: u64| absent.contains(&MemberId::from_u64(member).node);
        let others_have = metrics.replication.iter().flatten().all(|(member, matched)| {
            matched.map(|matched| matched.index) == last || is_absent(*member)
        });
        let has_leader = metrics.vote.is_committed() && !metrics.state.is_candidate();
        last.is_some() && applied == last && is_settled && others_have && has_leader
    }
}
