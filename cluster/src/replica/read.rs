//! Up to where a replica has to be so that a read of it is current, and waiting until it is there.

use super::{
    Replica,
    instance::Instance,
    types::{TypeConfig, Vote},
    write::Missed,
};
use crate::{
    MemberId, Result,
    planted::{Fault, is_planted},
    route::Hint,
    tasks::{self, timeout},
};
use openraft::{
    LinearizerOption,
    async_runtime::WatchReceiver,
    errors::{LinearizableReadError, RaftError},
};
use oribi_model::LogIndex;
use std::{sync::Arc, time::Duration};

impl Replica {
    /// Whether it is the only voter of its group.
    pub(crate) fn is_alone(&self) -> bool {
        self.electors().members().len() == 1
    }

    /// Whether its group has other voters, as far as it knows.
    pub(crate) fn has_others(&self) -> bool {
        self.electors().are_several()
    }

    /// The index up to which every write is that was acked before this call, wherever it was. A
    /// majority is asked whether this replica still leads; where it is alone nobody is. `None` where
    /// nothing was ever written.
    ///
    /// # Errors
    /// It does not lead, or cannot prove it in time.
    pub(crate) async fn read_index(
        self: &Arc<Replica>,
        wait: Duration,
    ) -> Result<Option<LogIndex>, Missed> {
        if self.is_alone() {
            return Ok(self.applied_index());
        }
        if is_planted(Fault::ReadWithoutMajority) && self.standing().leads {
            return Ok(self.applied_index());
        }
        self.touch();
        let proof = async {
            loop {
                let running = self.running().await?;
                let option =
                    LinearizerOption::new(Some(Duration::ZERO), true).with_wait_timeout(wait);
                return match running.raft.get_read_linearizer(option).await {
                    Ok(linearizer) => Ok(Some(LogIndex(linearizer.read_log_id().index()))),
                    Err(RaftError::APIError(error)) => Err(self.no_proof(&error)),
                    // It was about to sleep when it was asked.
                    Err(RaftError::Fatal(_)) if !self.is_instance(&running) => continue,
                    Err(RaftError::Fatal(error)) => Err(self.unavailable(error).into()),
                };
            }
        };
        let late = |_| Missed::from(self.unavailable("a majority did not answer in time"));
        timeout(wait, proof).await.unwrap_or_else(|error| Err(late(error)))
    }

    fn no_proof(&self, error: &LinearizableReadError<TypeConfig>) -> Missed {
        match error {
            LinearizableReadError::ForwardToLeader(_) => self.elsewhere(),
            LinearizableReadError::QuorumNotEnough(_) => Missed::Elsewhere(None),
        }
    }

    /// Whether all that was committed before this term is known to be applied.
    pub(crate) fn is_marked_in(&self, term: Option<u64>) -> bool {
        term.is_some() && *self.marked.lock() == term
    }

    /// Notes that it is.
    pub(crate) fn mark_in(&self, term: Option<u64>) {
        *self.marked.lock() = term;
    }

    /// The newest entry that was applied; `None` where none was.
    pub(crate) fn applied_index(&self) -> Option<LogIndex> {
        self.applied.lock().index()
    }

    /// Waits until what is applied here reaches `index`. Whether it does in time.
    pub(crate) async fn reaches(self: &Arc<Replica>, index: LogIndex, wait: Duration) -> bool {
        timeout(wait, self.until_at(index, wait)).await.unwrap_or(false) || self.is_at(index)
    }

    /// Waits as [`Replica::reaches`] does. `false`: no instance runs, or one that does stood still for
    /// so long or broke off.
    async fn until_at(self: &Arc<Replica>, index: LogIndex, wait: Duration) -> bool {
        while !self.is_at(index) {
            let Ok(running) = self.running().await else { return false };
            let applied = running.raft.wait(Some(wait));
            // What is applied is looked at itself.
            let _ = applied.applied_index_at_least(Some(index.0), "a read needs it").await;
            // One that ended, as it does where rows of another replica are taken over, is followed by another.
            if !running.has_ended() {
                return self.is_at(index);
            }
        }
        true
    }

    fn is_at(&self, index: LogIndex) -> bool {
        self.applied_index() >= Some(index) || is_planted(Fault::ReadBeforeApplied)
    }

    /// Who was elected last, as far as this replica has heard. One that is taken for a leader
    /// no more does not count.
    pub(crate) fn leader(&self) -> Option<Hint> {
        let vote = match &*self.instance.lock() {
            Instance::Running(running) => Some(running.raft.metrics().borrow_watched().vote),
            Instance::Resting | Instance::Closed => None,
        };
        let vote = vote.or_else(|| self.vote())?;
        elected(&vote).filter(|_| !self.has_deserted(&vote))
    }

    /// Waits until this replica has heard of another leader than `known`, but no longer than
    /// `wait`.
    pub(crate) async fn hears_of_another(&self, known: Option<Hint>, wait: Duration) {
        let running = match &*self.instance.lock() {
            Instance::Running(running) => Some(running.clone()),
            Instance::Resting | Instance::Closed => None,
        };
        let Some(running) = running else { return tasks::sleep(wait).await };
        let waiting = running.raft.wait(Some(wait));
        let _ = waiting.metrics(|metrics| elected(&metrics.vote) > known, "a leader").await;
    }
}

fn elected(vote: &Vote) -> Option<Hint> {
    let leader = vote.leader_id();
    let member = MemberId::from_u64(leader.node_id);
    vote.is_committed().then_some(Hint { term: leader.term, member })
}
