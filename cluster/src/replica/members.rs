//! Who belongs to a group, and how that changes.

use super::{
    Replica,
    instance::Instance,
    types::{StoredMembership, TypeConfig},
};
use crate::{Birth, Error, MemberId, Result};
use openraft::{
    ChangeMembers, EmptyNode, async_runtime::WatchReceiver, errors::ClientWriteError,
    errors::RaftError,
};
use oribi_store::log::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::time::timeout;

/// How long a change of members may take; afterwards it may still happen.
const CHANGE_WAIT: Duration = Duration::from_secs(10);
/// A member that lacks so many entries of the leader's or fewer has caught up.
const LAG_ENTRIES_MAX: u64 = 64;
/// One that lacks no more than so many may be given the lead: it has them in a moment.
const MATCHED_LAG_ENTRIES_MAX: u64 = 8;

/// The members of a group by the newest membership in the log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Members {
    /// Those that elect and acknowledge.
    pub voters: BTreeSet<MemberId>,
    /// Those that only follow.
    pub learners: BTreeSet<MemberId>,
    /// Whether no change of voters is half done.
    pub is_settled: bool,
}

impl Members {
    /// Whether a replica is one of them.
    pub fn contains(&self, member: MemberId) -> bool {
        self.voters.contains(&member) || self.learners.contains(&member)
    }
}

fn members_of(membership: &StoredMembership) -> Members {
    let voters: BTreeSet<_> = membership.voter_ids().map(MemberId::from_u64).collect();
    let all = membership.nodes().map(|(id, _)| MemberId::from_u64(*id));
    let learners = all.filter(|member| !voters.contains(member)).collect();
    let is_settled = membership.membership().get_joint_config().len() <= 1;
    Members { voters, learners, is_settled }
}

impl Replica {
    /// Which replica it is.
    pub fn member(&self) -> MemberId {
        self.member
    }

    /// Of which group it is a replica.
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// The members as this replica knows them.
    pub fn members(&self) -> Members {
        members_of(&self.newest_membership())
    }

    /// Whether no change of voters is half done.
    pub(crate) fn is_settled(&self) -> bool {
        self.newest_membership().membership().get_joint_config().len() <= 1
    }

    /// Whether it elects and acknowledges, or is to.
    pub fn is_voter(&self) -> bool {
        let newest = self.newest_membership();
        match (&self.birth, newest.log_id()) {
            (Birth::Founds(voters), None) => voters.contains(&self.member),
            (Birth::Joins, None) => false,
            _ => newest.voter_ids().any(|voter| voter == self.member.to_u64()),
        }
    }

    /// The members by the newest membership that is committed and applied here.
    pub fn committed_members(&self) -> Members {
        members_of(&self.applied.lock().membership)
    }

    /// Whether it elects itself: it is the only voter, or founds the group alone.
    pub fn is_sole_voter(&self) -> bool {
        let newest = self.newest_membership();
        match (&self.birth, newest.log_id()) {
            (Birth::Founds(voters), None) => voters.len() == 1,
            (Birth::Joins, None) => false,
            _ => newest.voter_ids().eq([self.member.to_u64()]),
        }
    }

    /// The members that have nearly all that this replica has, itself included; none where it does
    /// not lead.
    pub fn caught_up(&self) -> BTreeSet<MemberId> {
        self.within(LAG_ENTRIES_MAX)
    }

    /// The members that could lead at once in its place; none where it does not lead.
    pub fn matched(&self) -> BTreeSet<MemberId> {
        self.within(MATCHED_LAG_ENTRIES_MAX)
    }

    fn within(&self, lag_max: u64) -> BTreeSet<MemberId> {
        let Instance::Running(running) = &*self.instance.lock() else { return BTreeSet::new() };
        let metrics = running.raft.metrics();
        let metrics = metrics.borrow_watched();
        let last = metrics.last_log_index.unwrap_or(0);
        let matched = metrics.replication.iter().flatten();
        let near = matched.filter(|(_, at)| {
            at.as_ref().is_some_and(|at| last.saturating_sub(at.index) <= lag_max)
        });
        near.map(|(member, _)| MemberId::from_u64(*member)).collect()
    }

    /// Has a member follow, without a vote. Resolves once the log says so; the member may be far
    /// behind then.
    ///
    /// # Errors
    /// A replica that does not lead, or a change that is under way already.
    pub async fn add_learner(self: &Arc<Replica>, member: MemberId) -> Result<()> {
        let nodes = BTreeMap::from([(member.to_u64(), EmptyNode::default())]);
        self.change_members(ChangeMembers::AddNodes(nodes)).await
    }

    /// Has members that have no vote follow no more.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn forget_learners(self: &Arc<Replica>, gone: &BTreeSet<MemberId>) -> Result<()> {
        let gone = gone.iter().map(|member| member.to_u64()).collect();
        self.change_members(ChangeMembers::RemoveNodes(gone)).await
    }

    /// Makes these members the voters, all of which follow already; who was one before goes on to
    /// follow. To be called only with members that have caught up, or nothing is committed until
    /// they have.
    ///
    /// # Errors
    /// As [`Replica::add_learner`].
    pub async fn change_voters(self: &Arc<Replica>, voters: &BTreeSet<MemberId>) -> Result<()> {
        let voters = voters.iter().map(|voter| voter.to_u64()).collect();
        self.change_members(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    async fn change_members(
        self: &Arc<Replica>,
        change: ChangeMembers<u64, EmptyNode>,
    ) -> Result<()> {
        self.touch();
        let running = self.running().await?;
        let Ok(_permit) = running.writes.acquire().await else {
            return Err(self.unavailable("its instance has ended"));
        };
        let changed = timeout(CHANGE_WAIT, running.raft.change_membership(change, true)).await;
        match changed {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.not_changed(&error)),
            Err(_) => Err(self.unknown("its members were not changed in time".into())),
        }
    }

    fn not_changed(&self, error: &RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Error {
        match error {
            RaftError::APIError(error) => self.unavailable(error),
            RaftError::Fatal(error) => self.unknown(error.to_string()),
        }
    }
}
