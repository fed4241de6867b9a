//! One member of one consensus group. No other module names openraft.
//!
//! A replica without writes runs no consensus instance: it is recovered from the log, can be read
//! and flushed, and starts an instance with its first write.

mod applied;
mod forms;
mod log_store;
mod machine;
mod peers;
mod recover;
#[cfg(test)]
mod tests;
mod types;

use crate::{Error, Result, command::Command, machine::Machine};
use applied::Applied;
use log_store::GroupLog;
use machine::MachineAdapter;
use openraft::{
    Config, EntryPayload, SnapshotPolicy,
    errors::{ClientWriteError, RaftError},
};
use oribi_model::{LogIndex, NodeId};
use oribi_store::log::{GroupId, Log, Op};
use parking_lot::Mutex;
use peers::NoPeers;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::RwLock;
use types::TypeConfig;

type Raft = openraft::Raft<TypeConfig, MachineAdapter>;

/// How long a write waits for a leader.
const LEADER_WAIT: Duration = Duration::from_secs(10);
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// One member of one consensus group.
pub(crate) struct Replica {
    node: NodeId,
    group: GroupId,
    log: Arc<Log>,
    machine: Arc<dyn Machine>,
    applied: Arc<Mutex<Applied>>,
    raft: RwLock<Option<Raft>>,
}

impl Replica {
    /// The replica as the log and its machine's last flush left it, with everything committed
    /// applied. Blocks.
    ///
    /// # Errors
    /// Entries that cannot be read, or that are missing.
    pub(crate) fn recover(
        node: NodeId,
        group: GroupId,
        log: Arc<Log>,
        machine: Arc<dyn Machine>,
    ) -> Result<Replica> {
        let applied = recover::recover(node, group, &log, &*machine)?;
        let applied = Arc::new(Mutex::new(applied));
        Ok(Replica { node, group, log, machine, applied, raft: RwLock::default() })
    }

    /// Commits a command and applies it. Resolves once it is synced and visible.
    ///
    /// # Errors
    /// [`Error::Refused`] is the machine's own answer; after any other error it is unknown whether
    /// the command will be applied.
    pub(crate) async fn write(&self, command: Command) -> Result<()> {
        let started = Instant::now();
        loop {
            let guard = self.raft.read().await;
            let Some(raft) = &*guard else {
                drop(guard);
                self.start().await?;
                continue;
            };
            match raft.client_write(command.clone()).await {
                Ok(answer) => return answer.data.0.map_err(Error::Refused),
                // Nothing was appended: there is no leader yet, or it waits for its own election.
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))
                    if started.elapsed() < LEADER_WAIT =>
                {
                    drop(guard);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => return Err(self.unavailable(error)),
            }
        }
    }

    /// Has `freeze` called with the newest applied index and what to store with a flush up to it,
    /// while nothing is being applied. Not called where nothing was ever applied.
    pub(crate) fn seal(&self, freeze: impl FnOnce(LogIndex, Vec<u8>)) {
        let applied = self.applied.lock();
        if let Some(index) = applied.index() {
            freeze(index, applied.encode());
        }
    }

    /// Commands applied from entry `first` on, with their indexes, and the index after the last
    /// entry looked at; at least one entry, and no more than `bytes_max` otherwise. `None` where
    /// the log has let the entry go. Blocks.
    ///
    /// # Errors
    /// Entries that cannot be read.
    pub(crate) fn committed(
        &self,
        first: u64,
        bytes_max: usize,
    ) -> Result<Option<(Vec<Command>, u64)>> {
        /// Entries read at once.
        const CHUNK_ENTRIES: u64 = 8;
        let end = self.applied.lock().index().map_or(0, |index| index.0 + 1);
        let known = self.log.group(self.group).unwrap_or_default();
        if first < known.entries.start {
            return Ok(None);
        }
        let (mut commands, mut next, mut bytes) = (Vec::new(), first, 0);
        while next < end && bytes < bytes_max {
            let entries = self.log.read(self.group, next..end.min(next + CHUNK_ENTRIES));
            for (index, entry) in entries? {
                let decoded = forms::decode_entry(index, &entry);
                let entry = decoded.map_err(|reason| self.unavailable(reason))?;
                if let EntryPayload::Normal(command) = entry.payload {
                    bytes += command.encoded().len();
                    commands.push(command);
                }
                next = index + 1;
            }
        }
        Ok(Some((commands, next)))
    }

    /// Lets the log forget what the machine has flushed.
    ///
    /// # Errors
    /// A log that has stopped.
    pub(crate) async fn purge(&self) -> Result<()> {
        let Some(flushed) = self.machine.flushed() else { return Ok(()) };
        let upto = flushed.index.0;
        let known = self.log.group(self.group).unwrap_or_default();
        if known.purged.is_some_and(|(purged, _)| purged >= upto) {
            return Ok(());
        }
        let guard = self.raft.read().await;
        if let Some(raft) = &*guard {
            raft.trigger().snapshot().await.map_err(|error| self.unavailable(error))?;
            let built = raft
                .wait(Some(LEADER_WAIT))
                .metrics(
                    |metrics| metrics.snapshot.as_ref().is_some_and(|last| last.index >= upto),
                    "the flush is the snapshot",
                )
                .await;
            built.map_err(|error| self.unavailable(error))?;
            raft.trigger().purge_log(upto).await.map_err(|error| self.unavailable(error))?;
            return self.purged(upto).await;
        }
        let applied =
            Applied::decode(&flushed.raft_state).map_err(|reason| self.unavailable(reason))?;
        let Some(mark) = applied.last_mark() else { return Ok(()) };
        // The log's writer runs on its own thread, and nobody waits for this step.
        self.log.submit(self.group, Op::Purge { upto, mark }, Box::new(|_| {}));
        Ok(())
    }

    /// Waits until the log knows of a purge that was asked for.
    async fn purged(&self, upto: u64) -> Result<()> {
        let asked = Instant::now();
        while asked.elapsed() < LEADER_WAIT {
            let known = self.log.group(self.group).unwrap_or_default();
            if known.purged.is_some_and(|(purged, _)| purged >= upto) {
                return Ok(());
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Err(self.unavailable("the log was not purged in time"))
    }

    /// Ends the consensus instance, if one runs, after the writes under way. The next write starts
    /// another.
    pub(crate) async fn rest(&self) {
        if let Some(raft) = self.raft.write().await.take()
            && let Err(error) = raft.shutdown().await
        {
            tracing::error!(group = self.group.0, %error, "a consensus instance ended abnormally");
        }
    }

    /// Whether a consensus instance runs.
    pub(crate) async fn is_running(&self) -> bool {
        self.raft.read().await.is_some()
    }

    async fn start(&self) -> Result<()> {
        let mut guard = self.raft.write().await;
        if guard.is_some() {
            return Ok(());
        }
        let log = GroupLog::new(self.group, self.log.clone());
        let machine = MachineAdapter::new(self.machine.clone(), self.applied.clone(), log.clone());
        let config = Arc::new(config());
        let raft = Raft::new(self.node.0, config, NoPeers, log, machine)
            .await
            .map_err(|error| self.unavailable(error))?;
        let fresh = !raft.is_initialized().await.map_err(|error| self.unavailable(error))?;
        if fresh {
            let members = std::collections::BTreeSet::from([self.node.0]);
            raft.initialize(members).await.map_err(|error| self.unavailable(error))?;
        } else if !raft.is_leader() {
            raft.trigger().elect(false).await.map_err(|error| self.unavailable(error))?;
        }
        *guard = Some(raft);
        Ok(())
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Unavailable { group: self.group.0, reason: reason.to_string() }
    }
}

/// Snapshots and purges happen when a flush says so, never by themselves (openraft issue 2116).
/// A group of one member needs no clock.
fn config() -> Config {
    Config {
        cluster_name: "oribi".into(),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_tick: false,
        enable_heartbeat: false,
        ..Config::default()
    }
}
