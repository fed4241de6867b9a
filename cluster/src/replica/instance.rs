//! The consensus instance of a replica: how it starts and how it ends.
//!
//! Both run in tasks of their own, one at a time: whoever asked may give up waiting, and neither is
//! ever left half done.

use super::{
    Birth, Raft, Replica,
    config::{config, is_alone},
    instances::{Place, Usage},
    log_store::GroupLog,
    machine::{Lease, MachineAdapter},
    peers::Peers,
    recover::newest_membership,
    types::{StoredMembership, TypeConfig},
};
use crate::{
    Error, Result,
    planted::{Fault, is_planted},
    tasks,
};
use openraft::{RaftMetrics, async_runtime::WatchReceiver, type_config::alias::WatchReceiverOf};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::sync::Semaphore;

/// Writes that are under way in one group at once; others wait.
pub(super) const WRITES_MAX: u32 = 4_096;
/// How long an instance that is to end waits for the writes under way.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

type Metrics = WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

/// What there is of an instance.
#[derive(Default)]
pub(super) enum Instance {
    /// None runs; the next write starts one.
    #[default]
    Resting,
    Running(Arc<Running>),
    /// None will ever run.
    Closed,
}

/// An instance that runs, or is about to end.
pub(super) struct Running {
    pub(super) raft: Raft,
    /// What the instance says of itself, at hand: it is looked at all the time.
    metrics: Metrics,
    /// Each write holds one. Closed once the instance ends.
    pub(super) writes: Semaphore,
    lease: Lease,
    /// That of a group of one, which may rest.
    _place: Option<Place>,
}

impl Running {
    /// Whether it takes anything: it neither ends nor has broken off.
    fn is_able(&self) -> bool {
        !self.has_ended() && self.metrics.borrow_watched().running_state.is_ok()
    }

    /// Whether it was told to end, so that another may follow it; one that broke off was not.
    pub(super) fn has_ended(&self) -> bool {
        self.writes.is_closed()
    }

    /// The first entry that some other member is not known to have, where this one leads.
    pub(super) fn least_matched(&self) -> Option<u64> {
        let metrics = self.metrics.borrow_watched();
        let members = metrics.replication.as_ref()?;
        let others = members.iter().filter(|(member, _)| **member != metrics.id);
        others.map(|(_, matched)| matched.as_ref().map_or(0, |matched| matched.index + 1)).min()
    }

    /// The newest membership in the log.
    pub(super) fn membership(&self) -> Arc<StoredMembership> {
        self.metrics.borrow_watched().membership_config.clone()
    }

    /// The newest membership in the log, and whether this replica leads.
    pub(super) fn membership_and_lead(&self) -> (Arc<StoredMembership>, bool) {
        let metrics = self.metrics.borrow_watched();
        (metrics.membership_config.clone(), metrics.state.is_leader())
    }
}

impl Replica {
    /// Ends the consensus instance, if one runs, after the writes under way. The next write starts
    /// another.
    pub(crate) async fn rest(self: &Arc<Replica>) {
        self.end(Instance::Resting).await;
    }

    /// Ends the replica for good, after the writes under way.
    pub(crate) async fn close(self: &Arc<Replica>) {
        self.end(Instance::Closed).await;
    }

    /// Whether it was closed, and takes nothing any more.
    pub(crate) fn is_closed(&self) -> bool {
        matches!(*self.instance.lock(), Instance::Closed)
    }

    /// Whether a consensus instance runs.
    pub(crate) fn is_running(&self) -> bool {
        matches!(*self.instance.lock(), Instance::Running(..))
    }

    /// The instance, started where none runs or the one that did broke off. Waits for one that is about
    /// to end.
    ///
    /// # Errors
    /// [`Error::Closed`], or why it cannot start.
    pub(super) async fn running(self: &Arc<Replica>) -> Result<Arc<Running>> {
        match &*self.instance.lock() {
            Instance::Running(running) if running.is_able() => return Ok(running.clone()),
            Instance::Closed => return Err(Error::Closed { group: self.group.0 }),
            Instance::Running(_) | Instance::Resting => {}
        }
        let replica = self.clone();
        let started = tasks::spawn(async move { replica.start().await });
        started.await.unwrap_or_else(|error| Err(Error::Panicked(error.to_string())))
    }

    async fn start(self: &Arc<Replica>) -> Result<Arc<Running>> {
        let _one = self.switching.lock().await;
        let is_broken = match &*self.instance.lock() {
            Instance::Running(running) if running.is_able() => return Ok(running.clone()),
            Instance::Closed => return Err(Error::Closed { group: self.group.0 }),
            Instance::Running(_) => true,
            Instance::Resting => false,
        };
        if is_broken {
            tracing::error!(group = self.group.0, "a consensus instance had broken off");
            self.end_held(Instance::Resting).await;
        }
        let place = self.place().await?;
        let lease = Lease::default();
        let raft = self.start_raft(&lease).await?;
        let writes = Semaphore::new(WRITES_MAX as usize);
        let metrics = raft.metrics();
        let running = Arc::new(Running { raft, metrics, writes, lease, _place: place });
        *self.usage.lock() = Usage::begin();
        *self.instance.lock() = Instance::Running(running.clone());
        self.instances.note_start(self);
        Ok(running)
    }

    /// To other members one that rests is dead, so that of these as many run as there are.
    async fn place(&self) -> Result<Option<Place>> {
        let stopping = || self.unavailable("the node stops");
        match self.is_of_several() {
            true if self.instances.is_closed() => Err(stopping()),
            true => Ok(None),
            false => self.instances.place().await.map(Some).ok_or_else(stopping),
        }
    }

    async fn start_raft(&self, lease: &Lease) -> Result<Raft> {
        let applied = self.applied.lock().clone();
        let state = self.log.group(self.group).unwrap_or_default();
        let newest = newest_membership(self.group, &self.log, &state, &applied)?;
        let config = config(&newest).map_err(|error| self.unavailable(error))?;
        let log = GroupLog::new(self.group, self.log.clone());
        let machine =
            MachineAdapter::new(self.machine.clone(), self.applied.clone(), log.clone(), lease);
        let (group, network) = (self.group, self.network.clone());
        let (origin, instances) = (self.origin.clone(), self.instances.clone());
        let peers = Peers { group, network, origin, instances };
        let raft = Raft::new(self.member.to_u64(), config, peers, log, machine)
            .await
            .map_err(|error| self.unavailable(error))?;
        let outcome = self.begin(&raft, is_alone(&newest)).await;
        if outcome.is_err() {
            self.shut_down(&raft, lease).await;
        }
        outcome.map(|()| raft)
    }

    /// Founds the group where that is this replica's part, or leads one that nobody else is in.
    async fn begin(&self, raft: &Raft, alone: bool) -> Result<()> {
        let known = raft.is_initialized().await.map_err(|error| self.unavailable(error))?;
        if is_planted(Fault::FoundedByEach) && !known {
            let alone = BTreeSet::from([self.member.to_u64()]);
            return raft.initialize(alone).await.map_err(|error| self.unavailable(error));
        }
        match &self.birth {
            Birth::Founds(voters) if !known => {
                let voters: BTreeSet<u64> = voters.iter().map(|voter| voter.to_u64()).collect();
                raft.initialize(voters).await.map_err(|error| self.unavailable(error))
            }
            _ if alone && !raft.is_leader() => {
                raft.trigger().elect(false).await.map_err(|error| self.unavailable(error))
            }
            Birth::Founds(_) | Birth::Joins => Ok(()),
        }
    }

    async fn end(self: &Arc<Replica>, next: Instance) {
        let replica = self.clone();
        let ended = tasks::spawn(async move { replica.end_now(next).await });
        if let Err(error) = ended.await {
            tracing::error!(group = self.group.0, %error, "ending a consensus instance broke off");
        }
    }

    async fn end_now(&self, next: Instance) {
        let _one = self.switching.lock().await;
        self.end_held(next).await;
    }

    /// As [`Replica::end`], where the caller holds `switching`.
    pub(super) async fn end_held(&self, next: Instance) {
        let running = match &*self.instance.lock() {
            Instance::Closed => return,
            Instance::Resting => None,
            Instance::Running(running) => Some(running.clone()),
        };
        if let Some(running) = running {
            // Those that are not done by then are told that their outcome is unknown.
            let drained = tasks::timeout(DRAIN_WAIT, running.writes.acquire_many(WRITES_MAX)).await;
            running.writes.close();
            drop(drained);
            *self.membership.lock() = running.membership();
            self.shut_down(&running.raft, &running.lease).await;
            self.instances.note_end(self.group);
        }
        *self.instance.lock() = next;
    }

    async fn shut_down(&self, raft: &Raft, lease: &Lease) {
        lease.end(&self.applied);
        if let Err(error) = raft.shutdown().await {
            tracing::error!(group = self.group.0, %error, "a consensus instance ended abnormally");
        }
    }
}
