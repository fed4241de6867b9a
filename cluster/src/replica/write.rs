//! Writes: each ends by a deadline, and says whether the command was stored, surely not, or
//! perhaps.

use super::{Raft, Replica, instance::Running, types::TypeConfig};
use crate::{
    Error, Result,
    command::Command,
    planted::{Fault, is_planted},
    route::Hint,
    tasks::{self, timeout_at},
};
use openraft::{
    RaftMetrics,
    async_runtime::WatchReceiver,
    errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError},
};
use oribi_model::LogIndex;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Before a group whose leader is not known is asked again.
const LEADER_PAUSE: Duration = Duration::from_millis(5);
/// A leader that nobody has answered yet since its election refuses for about this long.
const LEASE_PAUSE: Duration = Duration::from_micros(500);
/// How long the answers to a new leader's first entry are waited for before others are asked for.
const ANSWER_PAUSE: Duration = Duration::from_millis(10);
/// How long a leader that nobody answers is tried.
const LEASE_WAIT: Duration = Duration::from_millis(100);

/// How long a command waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// For this replica to lead.
    pub(crate) here: Duration,
    /// In all.
    pub(crate) whole: Duration,
}

impl Patience {
    /// With a replica that nobody else can stand in for.
    pub(crate) const ALONE: Patience =
        Patience { here: Duration::from_secs(10), whole: Duration::from_secs(30) };

    /// With a replica that leads or not: whoever asks may ask another.
    pub(crate) fn of_several(whole: Duration) -> Patience {
        Patience { here: Duration::ZERO, whole }
    }
}

/// Why a replica did not do what only the leader of its group does.
#[derive(Debug)]
pub(crate) enum Missed {
    /// It does not lead, and nothing was appended. Whom it takes for the leader, if it is another.
    Elsewhere(Option<Hint>),
    /// [`Error::outcome`] tells whether it may still be done.
    Failed(Error),
}

impl From<Error> for Missed {
    fn from(error: Error) -> Missed {
        Missed::Failed(error)
    }
}

/// What became of one try.
enum Tried {
    Stored(LogIndex),
    /// The machine's own answer.
    Refused(String),
    /// Nothing was appended.
    NotAppended(ForwardReason),
    /// It may have been appended, and may still be committed.
    Unknown(String),
    /// As [`Tried::Unknown`], and the instance is of no use any more.
    Ended(String),
}

impl Replica {
    /// Commits a command and applies it, where this replica leads. Resolves with its index once it
    /// is synced and visible here.
    ///
    /// # Errors
    /// [`Error::Refused`] is the machine's own answer.
    pub(crate) async fn commit(
        self: &Arc<Replica>,
        command: &Command,
        patience: Patience,
    ) -> Result<LogIndex, Missed> {
        let (started, deadline) = (tasks::now(), tasks::now() + patience.whole);
        loop {
            let late = |_| self.unavailable("no consensus instance took the write in time");
            let running = timeout_at(deadline, self.running()).await.map_err(late)??;
            let tried = {
                let permit = timeout_at(deadline, running.writes.acquire()).await.map_err(late)?;
                let Ok(_permit) = permit else { continue };
                self.usage.lock().note_write();
                self.try_write(&running.raft, command, deadline).await
            };
            let reason = match tried {
                Tried::Stored(index) => return Ok(index),
                Tried::Refused(reason) => return Err(Error::Refused(reason).into()),
                Tried::Unknown(reason) => return Err(self.unknown(reason).into()),
                Tried::Ended(reason) => {
                    self.replace(running, &reason).await;
                    return Err(self.unknown(reason).into());
                }
                Tried::NotAppended(reason) => reason,
            };
            let here = match reason {
                ForwardReason::LeaseExpired => patience.here.max(LEASE_WAIT),
                _ if self.is_alone() => Patience::ALONE.here,
                _ => patience.here,
            };
            if tasks::now() - started >= here.min(patience.whole) {
                return Err(self.elsewhere());
            }
            self.await_leader(&running.raft, reason).await;
        }
    }

    /// That another one leads, if any does.
    pub(super) fn elsewhere(&self) -> Missed {
        Missed::Elsewhere(self.leader().filter(|hint| hint.member != self.member))
    }

    async fn try_write(&self, raft: &Raft, command: &Command, deadline: Instant) -> Tried {
        let answered = timeout_at(deadline, raft.client_write(command.clone())).await;
        let Ok(answered) = answered else {
            if is_planted(Fault::UnknownAsNotStored) {
                return Tried::Refused("it was not committed in time".into());
            }
            return Tried::Unknown("it was not committed in time".into());
        };
        match answered {
            Ok(answer) => {
                let index = LogIndex(answer.log_id.index);
                answer.data.0.map_or_else(Tried::Refused, |()| Tried::Stored(index))
            }
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(leader))) => {
                let ForwardToLeader::<TypeConfig> { reason, .. } = leader;
                Tried::NotAppended(reason)
            }
            Err(error @ RaftError::APIError(_)) => Tried::Unknown(error.to_string()),
            Err(error @ RaftError::Fatal(_)) => Tried::Ended(error.to_string()),
        }
    }

    /// Waits for what may let another try succeed.
    async fn await_leader(&self, raft: &Raft, reason: ForwardReason) {
        if reason == ForwardReason::LeaseExpired {
            if self.was_answered(raft).await {
                return;
            }
            // An answer to it renews the lease. What hinders it shows in the next try.
            let _ = raft.trigger().heartbeat().await;
            tasks::sleep(LEASE_PAUSE).await;
            return;
        }
        let leads = raft.wait(Some(LEADER_PAUSE));
        // Whether it leads by then or not, the next try tells.
        let _ = leads.metrics(|metrics| metrics.state.is_leader(), "it leads").await;
    }

    /// Whether a majority has answered a leader that none had answered yet since its election: to its first entry,
    /// which is on its way.
    async fn was_answered(&self, raft: &Raft) -> bool {
        if raft.metrics().borrow_watched().last_quorum_acked.is_some() {
            return false;
        }
        let answered = raft.wait(Some(ANSWER_PAUSE));
        let is_answered = |metrics: &RaftMetrics<TypeConfig>| metrics.last_quorum_acked.is_some();
        answered.metrics(is_answered, "a majority has answered").await.is_ok()
    }

    /// Ends an instance that broke off, so that the next write starts another.
    async fn replace(self: &Arc<Replica>, ended: Arc<Running>, reason: &str) {
        let is_same = self.is_instance(&ended);
        drop(ended);
        if is_same {
            tracing::error!(group = self.group.0, reason, "a consensus instance ended");
            self.rest().await;
        }
    }
}

/// Writes of tests, which know one replica.
#[cfg(test)]
impl Replica {
    pub(crate) async fn write(self: &Arc<Replica>, command: Command) -> Result<()> {
        let Patience { here, whole } = Patience::ALONE;
        self.write_within(command, here, whole).await
    }

    pub(crate) async fn write_within(
        self: &Arc<Replica>,
        command: Command,
        here: Duration,
        whole: Duration,
    ) -> Result<()> {
        match self.commit(&command, Patience { here, whole }).await {
            Ok(_) => Ok(()),
            Err(Missed::Elsewhere(_)) => Err(self.unavailable("it does not lead")),
            Err(Missed::Failed(error)) => Err(error),
        }
    }
}
