//! A [`Machine`] as openraft wants it. A flush is the snapshot.

use super::{
    applied::Applied,
    log_store::GroupLog,
    types::{LogId, Outcome, SnapshotMeta, StoredMembership, TypeConfig},
};
use crate::{beside::beside_others, machine::Machine};
use futures::{Stream, StreamExt};
use openraft::{
    EntryPayload, OptionalSend, RaftSnapshotBuilder,
    alias::SnapshotOf,
    storage::{EntryResponder, RaftStateMachine},
};
use oribi_model::LogIndex;
use parking_lot::Mutex;
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Stands for the segments of a flush, which stay where they are.
#[derive(Debug)]
pub(super) struct FlushedRows;

type Snapshot = SnapshotOf<TypeConfig, FlushedRows>;

#[derive(Clone)]
pub(super) struct MachineAdapter {
    machine: Arc<dyn Machine>,
    applied: Arc<Mutex<Applied>>,
    log: GroupLog,
    ended: Arc<AtomicBool>,
}

/// Lets an instance's machine apply for as long as the instance runs: what an instance had begun to
/// apply goes on for a while after its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Lease(Arc<AtomicBool>);

impl Lease {
    /// Nothing is applied from now on.
    pub(super) fn end(&self, applied: &Mutex<Applied>) {
        let _between = applied.lock();
        self.0.store(true, Ordering::Release);
    }
}

impl MachineAdapter {
    pub(super) fn new(
        machine: Arc<dyn Machine>,
        applied: Arc<Mutex<Applied>>,
        log: GroupLog,
        lease: &Lease,
    ) -> MachineAdapter {
        MachineAdapter { machine, applied, log, ended: lease.0.clone() }
    }

    fn flushed(&self) -> io::Result<Option<Snapshot>> {
        let Some(flushed) = self.machine.flushed() else { return Ok(None) };
        let applied = Applied::decode(&flushed.raft_state).map_err(io::Error::other)?;
        let meta = SnapshotMeta { last_log_id: applied.last, last_membership: applied.membership };
        Ok(Some(Snapshot { meta, snapshot: FlushedRows }))
    }
}

impl RaftStateMachine<TypeConfig> for MachineAdapter {
    type SnapshotData = FlushedRows;
    type SnapshotBuilder = MachineAdapter;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let applied = self.applied.lock();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            let id = entry.log_id;
            let outcome = {
                let mut applied = self.applied.lock();
                if self.ended.load(Ordering::Acquire) {
                    return Err(io::Error::other("the instance has ended"));
                }
                let (outcome, membership) = match entry.payload {
                    EntryPayload::Blank => (Ok(()), None),
                    EntryPayload::Normal(command) => {
                        let apply = || self.machine.apply(LogIndex(id.index), &command);
                        (beside_others(command.row_count(), apply), None)
                    }
                    EntryPayload::Membership(membership) => (Ok(()), Some(membership)),
                };
                applied.advance(id, membership);
                outcome
            };
            self.log.applied(id.index);
            if let Some(responder) = responder {
                responder.send(Outcome(outcome));
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> MachineAdapter {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _: FlushedRows) -> io::Result<()> {
        let applied = self.applied.lock();
        match meta.last_log_id <= applied.last {
            true => Ok(()),
            // Rows of another replica are taken over while no instance runs.
            false => Err(io::Error::other("an instance that runs takes over no rows")),
        }
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        self.flushed()
    }
}

impl RaftSnapshotBuilder<TypeConfig> for MachineAdapter {
    type SnapshotData = FlushedRows;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.flushed()?.ok_or_else(|| io::Error::other("nothing was flushed yet"))
    }
}
