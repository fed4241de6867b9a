//! Writes: each ends by a deadline, and says whether the command was stored, surely not, or
//! perhaps.

use super::{Raft, Replica, instance::Running, types::TypeConfig};
use crate::{
    Error, Result,
    command::Command,
    tasks::{self, timeout_at},
};
use openraft::errors::{ClientWriteError, ForwardReason, ForwardToLeader, RaftError};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a write looks for a leader that takes it.
const LEADER_WAIT: Duration = Duration::from_secs(10);
/// How long a write may take in all.
const WRITE_WAIT: Duration = Duration::from_secs(30);
/// Before a group whose leader is not known is asked again.
const LEADER_PAUSE: Duration = Duration::from_millis(5);
/// A leader that nobody has answered yet since its election refuses for about this long.
const LEASE_PAUSE: Duration = Duration::from_micros(500);

/// What became of one try.
enum Tried {
    Stored,
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
    /// Commits a command and applies it. Resolves once it is synced and visible.
    ///
    /// # Errors
    /// [`Error::Refused`] is the machine's own answer. [`Error::outcome`](crate::Error::outcome)
    /// tells whether the command may still be applied.
    pub(crate) async fn write(self: &Arc<Replica>, command: Command) -> Result<()> {
        self.write_within(command, LEADER_WAIT, WRITE_WAIT).await
    }

    /// As [`Replica::write`]: looks for a leader for `leader_wait`, and takes `wait` in all.
    pub(crate) async fn write_within(
        self: &Arc<Replica>,
        command: Command,
        leader_wait: Duration,
        wait: Duration,
    ) -> Result<()> {
        let (started, deadline) = (tasks::now(), tasks::now() + wait);
        loop {
            let late = |_| self.unavailable("no consensus instance took the write in time");
            let running = timeout_at(deadline, self.running()).await.map_err(late)??;
            let tried = {
                let permit = timeout_at(deadline, running.writes.acquire()).await.map_err(late)?;
                let Ok(_permit) = permit else { continue };
                self.usage.lock().note_write();
                self.try_write(&running.raft, &command, deadline).await
            };
            let reason = match tried {
                Tried::Stored => return Ok(()),
                Tried::Refused(reason) => return Err(Error::Refused(reason)),
                Tried::Unknown(reason) => return Err(self.unknown(reason)),
                Tried::Ended(reason) => {
                    self.replace(running, &reason).await;
                    return Err(self.unknown(reason));
                }
                Tried::NotAppended(reason) => reason,
            };
            if tasks::now() - started >= leader_wait.min(wait) {
                return Err(self.unavailable(format!("it has no leader here ({reason:?})")));
            }
            self.await_leader(&running.raft, reason).await;
        }
    }

    async fn try_write(&self, raft: &Raft, command: &Command, deadline: Instant) -> Tried {
        let answered = timeout_at(deadline, raft.client_write(command.clone())).await;
        let Ok(answered) = answered else {
            return Tried::Unknown("it was not committed in time".into());
        };
        match answered {
            Ok(answer) => answer.data.0.map_or_else(Tried::Refused, |()| Tried::Stored),
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
            // An answer to it renews the lease. What hinders it shows in the next try.
            let _ = raft.trigger().heartbeat().await;
            tasks::sleep(LEASE_PAUSE).await;
            return;
        }
        let leads = raft.wait(Some(LEADER_PAUSE));
        // Whether it leads by then or not, the next try tells.
        let _ = leads.metrics(|metrics| metrics.state.is_leader(), "it leads").await;
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
