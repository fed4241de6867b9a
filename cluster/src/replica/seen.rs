//! What was made last of a replica's vote and members: both are looked at all the time and hardly
//! ever change.

use super::{
    Replica, forms,
    types::{StoredMembership, Vote},
};
use crate::{MemberId, elections::Voters};
use parking_lot::Mutex;
use std::sync::Arc;

/// What was made of what, last.
#[derive(Default)]
pub(super) struct Seen {
    vote: Mutex<Option<(Arc<[u8]>, Vote)>>,
    voters: Mutex<Option<(Arc<StoredMembership>, Arc<Voters>)>>,
}

impl Replica {
    /// The vote as the log has it, so that it survives a restart.
    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote_in(self.log.vote(self.group)?)
    }

    /// The vote in these bytes of the log.
    pub(super) fn vote_in(&self, bytes: Arc<[u8]>) -> Option<Vote> {
        let mut seen = self.seen.vote.lock();
        match &*seen {
            Some((known, vote)) if Arc::ptr_eq(known, &bytes) => Some(*vote),
            _ => {
                let vote = forms::decode_vote(&bytes).ok()?;
                *seen = Some((bytes, vote));
                Some(vote)
            }
        }
    }

    /// Those that elect, by the newest membership in the log.
    pub(crate) fn electors(&self) -> Arc<Voters> {
        self.voters_of(self.newest_membership())
    }

    pub(super) fn voters_of(&self, newest: Arc<StoredMembership>) -> Arc<Voters> {
        let mut seen = self.seen.voters.lock();
        match &*seen {
            Some((known, voters)) if Arc::ptr_eq(known, &newest) => voters.clone(),
            _ => {
                let voters = newest.voter_ids().map(MemberId::from_u64).collect();
                let voters = Arc::<Voters>::new(voters);
                *seen = Some((newest, voters.clone()));
                voters
            }
        }
    }
}
