//! One member of one consensus group. No other module names openraft.
//!
//! A replica without writes runs no consensus instance: it is recovered from the log, can be read
//! and flushed, and starts an instance with its first write. One that was closed never runs again.

mod applied;
mod forms;
mod instances;
mod log_store;
mod machine;
mod peers;
mod recover;
#[cfg(test)]
mod tests;
mod types;

use crate::{Error, Result, command::Command, machine::Machine};
use applied::Applied;
use instances::Place;
pub(crate) use instances::{Instances, Usage, to_rest};
use log_store::GroupLog;
use machine::MachineAdapter;
use openraft::{
    Config, EntryPayload, SnapshotPolicy,
    errors::{ClientWriteError, RaftError},
};
use oribi_model::{LogIndex, NodeId};
use oribi_store::{
    Flushed,
    log::{GroupId, Log, Op},
};
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
/// How long a purge may take before it is left for the next time.
const PURGE_WAIT: Duration = Duration::from_secs(2);
const RETRY_PAUSE: Duration = Duration::from_millis(5);

/// One member of one consensus group.
pub(crate) struct Replica {
    node: NodeId,
    group: GroupId,
    log: Arc<Log>,
    machine: Arc<dyn Machine>,
    applied: Arc<Mutex<Applied>>,
    instance: RwLock<Instance>,
    instances: Arc<Instances>,
    usage: Mutex<Usage>,
}

/// The consensus instance of a replica.
#[derive(Default)]
enum Instance {
    /// None runs; the next write starts one.
    #[default]
    Resting,
    Running(Raft, Place),
    /// None will ever run.
    Closed,
}

/// How far a purge got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purge {
    /// The log has let go of everything that may go.
    Done,
    /// The instance did not get to it in time: to be asked for again.
    Late,
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
        instances: Arc<Instances>,
    ) -> Result<Replica> {
        let applied = recover::recover(node, group, &log, &*machine)?;
        let applied = Arc::new(Mutex::new(applied));
        let (instance, usage) = (RwLock::default(), Mutex::new(Usage::begin()));
        Ok(Replica { node, group, log, machine, applied, instance, instances, usage })
    }

    /// What the flush has stored that let the log of a group purge its entries; `None` where it was
    /// never purged.
    ///
    /// # Errors
    /// A log that says nothing of the entries before its first one.
    pub(crate) fn purged(node: NodeId, group: GroupId, log: &Log) -> Result<Option<Flushed>> {
        recover::purged(node, group, log)
    }

    /// Commits a command and applies it. Resolves once it is synced and visible.
    ///
    /// # Errors
    /// [`Error::Refused`] is the machine's own answer, [`Error::Closed`] means that nothing was
    /// written; after any other error it is unknown whether the command will be applied.
    pub(crate) async fn write(&self, command: Command) -> Result<()> {
        let started = Instant::now();
        loop {
            let guard = self.instance.read().await;
            let raft = match &*guard {
                Instance::Running(raft, _) => raft,
                Instance::Closed => return Err(Error::Closed { group: self.group.0 }),
                Instance::Resting => {
                    drop(guard);
                    self.start().await?;
                    continue;
                }
            };
            self.usage.lock().note_write();
            match raft.client_write(command.clone()).await {
                Ok(answer) => return answer.data.0.map_err(Error::Refused),
                // Nothing was appended: there is no leader yet, or it waits for its own election.
                Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))
                    if started.elapsed() < LEADER_WAIT =>
                {
                    drop(guard);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) => {
                    let ended = matches!(error, RaftError::Fatal(_));
                    drop(guard);
                    if ended {
                        tracing::error!(group = self.group.0, %error, "a consensus instance ended");
                        self.rest().await;
                    }
                    return Err(self.unavailable(error));
                }
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

    /// Lets the log forget what the machine can do without.
    ///
    /// # Errors
    /// An instance that has ended.
    pub(crate) async fn purge(&self) -> Result<Purge> {
        let Some(flushed) = self.machine.purgeable() else { return Ok(Purge::Done) };
        let upto = flushed.index.0;
        if self.is_purged(upto) {
            return Ok(Purge::Done);
        }
        match &*self.instance.read().await {
            Instance::Running(raft, _) => self.purge_running(raft, upto).await,
            Instance::Closed => Ok(Purge::Done),
            Instance::Resting => {
                let applied = Applied::decode(&flushed.raft_state);
                let applied = applied.map_err(|reason| self.unavailable(reason))?;
                if let Some(mark) = applied.last_mark() {
                    // The log's writer runs on its own thread, and nobody waits for this step.
                    self.log.submit(self.group, Op::Purge { upto, mark }, Box::new(|_| {}));
                }
                Ok(Purge::Done)
            }
        }
    }

    async fn purge_running(&self, raft: &Raft, upto: u64) -> Result<Purge> {
        raft.trigger().snapshot().await.map_err(|error| self.unavailable(error))?;
        let waiting = raft.wait(Some(PURGE_WAIT));
        let built = waiting.metrics(
            |metrics| metrics.snapshot.as_ref().is_some_and(|last| last.index >= upto),
            "the flush is the snapshot",
        );
        if built.await.is_err() {
            return Ok(Purge::Late);
        }
        raft.trigger().purge_log(upto).await.map_err(|error| self.unavailable(error))?;
        let asked = Instant::now();
        while !self.is_purged(upto) {
            if asked.elapsed() > PURGE_WAIT {
                return Ok(Purge::Late);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
        Ok(Purge::Done)
    }

    fn is_purged(&self, upto: u64) -> bool {
        let known = self.log.group(self.group).unwrap_or_default();
        known.purged.is_some_and(|(purged, _)| purged >= upto)
    }

    /// Ends the consensus instance, if one runs, after the writes under way. The next write starts
    /// another.
    pub(crate) async fn rest(&self) {
        self.end(Instance::Resting).await;
    }

    /// Ends the replica for good, after the writes under way.
    pub(crate) async fn close(&self) {
        self.end(Instance::Closed).await;
    }

    async fn end(&self, next: Instance) {
        let mut instance = self.instance.write().await;
        if matches!(*instance, Instance::Closed) {
            return;
        }
        if let Instance::Running(raft, _place) = std::mem::replace(&mut *instance, next)
            && let Err(error) = raft.shutdown().await
        {
            tracing::error!(group = self.group.0, %error, "a consensus instance ended abnormally");
        }
    }

    /// What the consensus instance was used for, if one runs, as far as can be told without waiting.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.is_running().then(|| *self.usage.lock())
    }

    /// Whether a consensus instance runs, as far as can be told without waiting.
    pub(crate) fn is_running(&self) -> bool {
        self.instance.try_read().is_ok_and(|instance| matches!(*instance, Instance::Running(..)))
    }

    async fn start(&self) -> Result<()> {
        let mut instance = self.instance.write().await;
        if !matches!(*instance, Instance::Resting) {
            return Ok(());
        }
        let place =
            self.instances.place().await.ok_or_else(|| self.unavailable("the node stops"))?;
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
        *instance = Instance::Running(raft, place);
        *self.usage.lock() = Usage::begin();
        Ok(())
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Unavailable { group: self.group.0, reason: reason.to_string() }
    }
}

/// Snapshots and purges happen when a flush says so, never by themselves (openraft issue 2116).
/// A group of one member needs no clock. A node runs thousands of instances, so that what each
/// keeps at hand is small.
fn config() -> Config {
    const WRITES_AT_ONCE_MAX: u64 = 256;
    Config {
        api_batch_capacity: WRITES_AT_ONCE_MAX,
        api_channel_size: Some(WRITES_AT_ONCE_MAX),
        notification_channel_size: Some(WRITES_AT_ONCE_MAX),
        state_machine_channel_size: Some(WRITES_AT_ONCE_MAX),
        log_stage_capacity: Some(1),
        cluster_name: "oribi".into(),
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        enable_tick: false,
        enable_heartbeat: false,
        ..Config::default()
    }
}
