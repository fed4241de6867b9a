//! Who leads a group of several, by what liveness says.
//!
//! No group has a clock: a voter lets a candidate pass only once it has itself ended the leader's
//! lease, which it does where its own liveness says that the leader's node is dead. A candidate
//! asks first whether it would be elected, so that one whose log is too short costs no term.

use super::{Replica, instance::Instance, types::Vote, wire::Transfer};
use crate::{
    MemberId, Result,
    elections::{self, Standing},
    tasks::{self, timeout},
};
use openraft::{LinearizerOption, raft::TransferLeaderRequest};
use oribi_model::NodeId;
use std::{sync::Arc, time::Duration};

/// Nobody has this id: incarnations are counted from 0.
const NOBODY: u64 = u64::MAX;
/// How long a request for votes waits for this replica to end the lease of the leader it knows. Two
/// nodes do not hear of a death at the same time, and a request that is refused costs a turn.
const HOLD_WAIT: Duration = Duration::from_millis(50);
/// How long a member that is given a group waits for the entries that it lacks.
const TRANSFER_WAIT: Duration = Duration::from_secs(1);

/// Why a leader is taken for one no more, until its vote has changed or something else was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Deserted {
    /// It has asked for votes.
    ForAsking,
    /// It could not prove that it leads.
    WithoutProof,
}

impl Replica {
    /// For whom the replica has voted last, leader by now or not; `None` where it never has.
    pub fn voted_for(&self) -> Option<MemberId> {
        self.vote().map(|vote| MemberId::from_u64(vote.leader_id().node_id))
    }

    /// How the replica stands in its group.
    pub fn standing(&self) -> Standing {
        let own = self.vote();
        let is_deserted = own.is_some_and(|vote| vote.is_committed() && self.has_deserted(&vote));
        let vote = own.map(|vote| elections::Vote {
            term: vote.leader_id().term,
            member: MemberId::from_u64(vote.leader_id().node_id),
            is_elected: vote.is_committed() && !is_deserted,
        });
        let (newest, leads) = match &*self.instance.lock() {
            Instance::Running(running) => running.membership_and_lead(),
            Instance::Resting | Instance::Closed => (self.membership.lock().clone(), false),
        };
        let voters = self.voters_of(newest);
        Standing { group: self.group, own: self.member, voters, vote, leads, is_deserted }
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
        let request = TransferLeaderRequest::new(vote, NOBODY, None);
        let outcome = running.raft.handle_transfer_leader(request).await;
        // An answer that the vote has changed meanwhile is as good.
        let _ = outcome.map_err(|error| self.unavailable(error))?;
        self.released.send_replace(Some(vote));
        Ok(())
    }

    /// Takes it that the leader which this replica knows leads no more, and ends its lease: it could
    /// not prove that it leads. Does nothing where `leader` is not that one.
    ///
    /// # Errors
    /// As [`Replica::release`].
    pub async fn desert(self: &Arc<Replica>, leader: MemberId) -> Result<()> {
        let Some(vote) = self.vote().filter(|vote| vote.is_committed()) else { return Ok(()) };
        if MemberId::from_u64(vote.leader_id().node_id) != leader {
            return Ok(());
        }
        *self.deserted.lock() = Some((vote, Deserted::WithoutProof));
        self.release(leader.node).await
    }

    /// Notes that the leader which this replica knows has proved that it leads.
    pub fn rejoin(&self) {
        *self.deserted.lock() = None;
    }

    /// Gives the lead to another voter, and waits until this replica leads no more. Whether it has
    /// come to that: until it has, nothing is written, so that another voter is to be tried then, or
    /// [`Replica::restart`].
    ///
    /// # Errors
    /// An instance that cannot start or has ended.
    pub async fn hand_over(self: &Arc<Replica>, to: MemberId, wait: Duration) -> Result<bool> {
        let running = self.running().await?;
        if !running.raft.is_leader() {
            return Ok(true);
        }
        let asked = running.raft.trigger().transfer_leader(to.to_u64()).await;
        asked.map_err(|error| self.unavailable(error))?;
        let gone = running.raft.wait(Some(wait));
        Ok(gone.metrics(|metrics| !metrics.state.is_leader(), "another leads").await.is_ok())
    }

    /// Starts the instance anew, so that it leads no more before it is elected again.
    ///
    /// # Errors
    /// One that cannot start.
    pub async fn restart(self: &Arc<Replica>) -> Result<()> {
        self.rest().await;
        self.running().await.map(drop)
    }

    /// Takes what a leader says that gives its group to a member.
    pub(super) async fn take_transfer(self: &Arc<Replica>, transfer: Transfer) -> Option<bool> {
        let running = self.running().await.ok()?;
        let from = *transfer.from_leader();
        // The one that is to lead waits for entries that may never come.
        let taken = timeout(TRANSFER_WAIT, running.raft.handle_transfer_leader(transfer)).await;
        let is_taken = matches!(taken, Ok(Ok(Ok(()))));
        if is_taken {
            self.released.send_replace(Some(from));
        }
        Some(is_taken)
    }

    /// Waits until the lease of the leader that this replica knows has ended, but not for long.
    pub(super) async fn await_release(&self, candidate: MemberId) {
        let Some(vote) = self.vote().filter(|vote| vote.is_committed()) else { return };
        let leader = MemberId::from_u64(vote.leader_id().node_id);
        if leader == candidate || leader == self.member {
            return;
        }
        let mut released = self.released.subscribe();
        // Where it does not come to that, the request is refused as it should be.
        let _ = timeout(HOLD_WAIT, released.wait_for(|released| *released == Some(vote))).await;
    }

    /// Sends a member on a node at once what it lacks, where this replica leads: whatever stood in
    /// the way is gone.
    pub async fn resume(&self, node: NodeId) {
        let running = match &*self.instance.lock() {
            Instance::Running(running) if running.raft.is_leader() => running.clone(),
            _ => return,
        };
        let ids = running.membership();
        let of_node =
            ids.nodes().map(|(id, _)| *id).filter(|id| MemberId::from_u64(*id).node == node);
        // An instance that has ended sends nothing.
        let _ = running.raft.trigger().reset_backoff(of_node.collect::<Vec<u64>>()).await;
    }

    /// Notes that a member asks for votes: if it is the one that this replica takes for the leader, it
    /// leads no more as far as anybody knows, until it is heard as the leader again. This replica
    /// may have missed who led since.
    pub(super) fn note_asked_by(&self, candidate: MemberId) {
        let Some(vote) = self.vote() else { return };
        let is_leader = MemberId::from_u64(vote.leader_id().node_id) == candidate;
        if is_leader && candidate != self.member {
            *self.deserted.lock() = Some((vote, Deserted::ForAsking));
        }
    }

    /// Ends the lease of a leader that has asked for votes, or this replica would go on to refuse
    /// everybody.
    pub(super) async fn release_deserted(self: &Arc<Replica>) {
        if let Some(vote) = self.vote().filter(|vote| self.has_deserted(vote)) {
            // What stands in the way shows where the request is handed on.
            let _ = self.release(MemberId::from_u64(vote.leader_id().node_id).node).await;
        }
    }

    /// Notes that a leader sends entries: what it has asked for before came to nothing, and it
    /// leads on. One that could not prove that it leads may still send them.
    pub(super) fn note_led_by(&self, vote: &Vote) {
        let mut deserted = self.deserted.lock();
        if *deserted == Some((*vote, Deserted::ForAsking)) {
            *deserted = None;
        }
    }

    /// Whether the leader that was elected with this vote is taken for one no more.
    pub(super) fn has_deserted(&self, vote: &Vote) -> bool {
        self.deserted.lock().is_some_and(|(deserted, _)| deserted == *vote)
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

    /// Stands now, where another one has asked whether it would be elected and lacks entries that
    /// this replica has: it would not, and its turn would be waited for in vain. Does nothing
    /// before the lease of the leader that this replica knows has ended.
    pub(super) fn stand_instead(self: &Arc<Replica>) {
        let is_free = self.vote().is_some_and(|vote| *self.released.borrow() == Some(vote));
        if is_free && self.electors().members().contains(&self.member) {
            let replica = self.clone();
            tasks::spawn(async move {
                // What stands in the way now may not when its turn comes.
                if let Err(error) = replica.stand().await {
                    tracing::debug!(group = replica.group.0, %error, "it could not stand");
                }
            });
        }
    }

    /// Whether a majority takes this replica for their leader now, as far as they say so in time.
    /// What an instance says of its leader is memory; this is proof.
    pub async fn leads(self: &Arc<Replica>, within: Duration) -> bool {
        let Ok(running) = self.running().await else { return false };
        let option = LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(within);
        running.raft.get_read_linearizer(option).await.is_ok()
    }
}
