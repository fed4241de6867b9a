//! How a replica says that it is.

use super::{Replica, instance::Instance};
use crate::MemberId;
use crate::{elections::Vote, route::sounding::Sounding};
use oribi_model::LogIndex;

impl Replica {
    /// How the replica is now. What it says of its newest entry and of its vote is true at one
    /// moment, and where it says that it leads it did so at that moment, too.
    pub(crate) fn sounding(&self) -> Sounding {
        let leads = match &*self.instance.lock() {
            Instance::Running(running) => running.raft.is_leader(),
            Instance::Resting | Instance::Closed => false,
        };
        // An elected vote for this replica that is still there afterwards was there before.
        let known = self.log.group(self.group).unwrap_or_default();
        let vote = known.vote.and_then(|bytes| self.vote_in(bytes));
        let vote = vote.map(|vote| Vote {
            term: vote.leader_id().term,
            member: MemberId::from_u64(vote.leader_id().node_id),
            is_elected: vote.is_committed(),
        });
        let members_at = self.newest_membership().log_id().map(|id| LogIndex(id.index));
        Sounding {
            group: self.group,
            incarnation: self.member.incarnation,
            vote,
            leads,
            members_at,
            last: known.entries.end.checked_sub(1).map(LogIndex),
            applied: self.applied_index(),
            ..Sounding::default()
        }
    }
}
