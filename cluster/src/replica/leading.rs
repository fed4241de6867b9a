//! Who leads a group of several, by what liveness says.
//!
//! No group has a clock: a voter lets a candidate pass only once it has itself ended the leader's
//! lease, which it does where its own liveness says that the leader's node is dead. A candidate
//! asks first whether it would be elected, so that one whose log is too short costs no term.

use super::{Replica, forms, instance::Instance, types::Vote};
use crate::{
    MemberId, Result,
    elections::{self, Standing},
};
use openraft::{LinearizerOption, raft::TransferLeaderRequest};
use oribi_model::NodeId;
use std::{sync::Arc, time::Duration};

/// Nobody has this id: incarnations are counted from 0.
const NOBODY: u64 = u64::MAX;

impl Replica {
    /// For whom the replica has voted last, leader by now or not; `None` where it never has.
    pub fn voted_for(&self) -> Option<MemberId> {
        self.vote().map(|vote| MemberId::from_u64(vote.leader_id().node_id))
    }

    /// How the replica stands in its group.
    pub fn standing(&self) -> Standing {
        let deserted = *self.deserted.lock();
        let vote = self.vote().map(|vote| elections::Vote {
            term: vote.leader_id().term,
            member: MemberId::from_u64(vote.leader_id().node_id),
            is_elected: vote.is_committed() && deserted != Some(vote),
        });
        let voters = self.newest_membership().voter_ids().map(MemberId::from_u64).collect();
        let leads = match &*self.instance.lock() {
            Instance::Running(running) => running.raft.is_leader(),
            Instance::Resting | Instance::Closed => false,
        };
        Standing { group: self.group, own: self.member, voters, vote, leads }
    }

    /// Ends the lease of a leader on a node that is dead, so that another member may stand. Does
    /// nothing where the vote is another node's.
    ///
    /// # Errors
    /// An instance that cannot start or has ended.
    pub async fn release(self: &Arc<Replica>, dead: NodeId) -> Result<()> {
        let Some(vote) = self.vote() else { return Ok(()) };
        if MemberId::from_u64(vote.leader_id().node_id).node != dead {
            return Ok(());
        }
        let running = self.running().await?;
        // An answer that the vote has changed meanwhile is as good.
        let request = TransferLeaderRequest::new(vote, NOBODY, None);
        let outcome = running.raft.handle_transfer_leader(request).await;
        outcome.map(drop).map_err(|error| self.unavailable(error))
    }

    /// Notes that a member asks for votes: if it is the one that this replica takes for the leader, it
    /// leads no more as far as anybody knows, until it is heard as the leader again. This replica
    /// may have missed who led since.
    pub(super) fn note_asked_by(&self, candidate: MemberId) {
        let Some(vote) = self.vote() else { return };
        let is_leader = MemberId::from_u64(vote.leader_id().node_id) == candidate;
        if is_leader && candidate != self.member {
            *self.deserted.lock() = Some(vote);
        }
    }

    /// Ends the lease of a leader that has asked for votes, or this replica would go on to refuse
    /// everybody.
    pub(super) async fn release_deserted(self: &Arc<Replica>) {
        let deserted = *self.deserted.lock();
        if let Some(vote) = deserted.filter(|vote| self.vote() == Some(*vote)) {
            // What stands in the way shows where the request is handed on.
            let _ = self.release(MemberId::from_u64(vote.leader_id().node_id).node).await;
        }
    }

    /// Notes that a leader sends entries: what it has asked for before came to nothing, and it
    /// leads on.
    pub(super) fn note_led_by(&self, vote: &Vote) {
        let mut deserted = self.deserted.lock();
        if deserted.as_ref() == Some(vote) {
            *deserted = None;
        }
    }

    /// Stands for the lead of the group, if the other voters would have it. To be called again and
    /// again: what stands in the way of one try says nothing of the next.
    ///
    /// # Errors
    /// An instance that cannot start or has ended.
    pub async fn stand(self: &Arc<Replica>) -> Result<()> {
        let running = self.running().await?;
        running.raft.trigger().elect(true).await.map_err(|error| self.unavailable(error))
    }

    /// Whether a majority takes this replica for their leader now, as far as they say so in time.
    /// What an instance says of its leader is memory; this is proof.
    pub async fn leads(self: &Arc<Replica>, within: Duration) -> bool {
        let Ok(running) = self.running().await else { return false };
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(within);
        running.raft.get_read_linearizer(option).await.is_ok()
    }

    /// The vote as the log has it, so that it survives a restart.
    pub(super) fn vote(&self) -> Option<Vote> {
        let bytes = self.log.group(self.group)?.vote?;
        forms::decode_vote(&bytes).ok()
    }
}
