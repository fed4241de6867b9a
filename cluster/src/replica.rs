//! One member of one consensus group. No other module names openraft.
//!
//! A replica without writes runs no consensus instance: it is recovered from the log, can be read
//! and flushed, and starts an instance with its first write. One that was closed never runs again.

mod alone;
mod applied;
mod config;
mod copies;
mod forms;
mod in_flight;
mod inbox;
mod instance;
mod instances;
mod leading;
mod log_store;
mod machine;
mod members;
mod peers;
mod purge;
mod read;
mod recover;
#[cfg(test)]
mod runtime;
mod seen;
mod sleep;
mod sounding;
#[cfg(test)]
mod tests;
mod types;
mod wire;
mod write;

use crate::{
    Assignment, Birth, Error, MemberId, Result, command::Command, copy::Origin, machine::Machine,
    transport::Network,
};
use applied::Applied;
pub(crate) use applied::alone;
use copies::Incoming;
use inbox::Inbox;
use instance::{Instance, Running};
pub(crate) use instances::{CHANGED_KEPT, Instances, Usage, to_rest};
use leading::Deserted;
use machine::MachineAdapter;
pub use members::Members;
use openraft::EntryPayload;
use oribi_model::LogIndex;
use oribi_store::{
    Flushed,
    log::{GroupId, Log},
};
use parking_lot::Mutex;
pub(crate) use purge::{Keeping, Purge};
use seen::Seen;
use std::sync::Arc;
use tokio::sync::watch;
use types::{StoredMembership, TypeConfig, Vote};
#[cfg(test)]
pub(crate) use wire::vote_given;
pub(crate) use write::{Missed, Patience};

type Raft = openraft::Raft<TypeConfig, MachineAdapter>;

/// One member of one consensus group.
pub struct Replica {
    member: MemberId,
    birth: Birth,
    group: GroupId,
    log: Arc<Log>,
    machine: Arc<dyn Machine>,
    applied: Arc<Mutex<Applied>>,
    /// The newest one of when no instance runs.
    membership: Mutex<Arc<StoredMembership>>,
    instance: Mutex<Instance>,
    /// Held while an instance starts or ends.
    switching: tokio::sync::Mutex<()>,
    instances: Arc<Instances>,
    network: Arc<dyn Network>,
    inbox: Mutex<Option<Inbox>>,
    /// What others copy of this one.
    origin: Arc<Origin>,
    /// What this one copies of another.
    incoming: Incoming,
    /// The vote for a leader that is taken for one no more, and why.
    deserted: Mutex<Option<(Vote, Deserted)>>,
    /// The term in which all that was committed before is known to be applied.
    marked: Mutex<Option<u64>>,
    /// The vote whose leader's lease was ended last.
    released: watch::Sender<Option<Vote>>,
    usage: Mutex<Usage>,
    seen: Seen,
}

impl Replica {
    /// The replica as the log and its machine's last flush left it, with everything committed
    /// applied. `assignment` counts only where there is no entry yet. Blocks.
    ///
    /// # Errors
    /// Entries that cannot be read, or that are missing.
    pub(crate) fn recover(
        member: MemberId,
        (group, assignment): (GroupId, &Assignment),
        log: Arc<Log>,
        machine: Arc<dyn Machine>,
        (instances, network): (Arc<Instances>, Arc<dyn Network>),
    ) -> Result<Arc<Replica>> {
        let (applied, membership) = recover::recover(member, group, &log, &*machine)?;
        let (applied, membership) =
            (Arc::new(Mutex::new(applied)), Mutex::new(Arc::new(membership)));
        let birth = assignment.birth_of(member);
        let (instance, switching, usage) =
            (Mutex::default(), tokio::sync::Mutex::default(), Mutex::new(Usage::begin()));
        let origin = Arc::new(Origin::new(machine.clone()));
        Ok(Arc::new(Replica {
            member,
            birth,
            group,
            log,
            machine,
            applied,
            membership,
            instance,
            switching,
            instances,
            network,
            inbox: Mutex::default(),
            origin,
            incoming: Incoming::default(),
            deserted: Mutex::default(),
            marked: Mutex::default(),
            released: watch::Sender::default(),
            usage,
            seen: Seen::default(),
        }))
    }

    /// What the flush has stored that let the log of a group purge its entries; `None` where it was
    /// never purged.
    ///
    /// # Errors
    /// A log that says nothing of the entries before its first one.
    pub(crate) fn purged(
        (group, assignment): (GroupId, &Assignment),
        log: &Log,
    ) -> Result<Option<Flushed>> {
        recover::purged(group, assignment, log)
    }

    /// Whether it has heard of any entry of its group.
    pub(crate) fn is_begun(&self) -> bool {
        self.log.group(self.group).is_some_and(|state| state.entries.end > 0)
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
        /// Bytes of entries read at once.
        const CHUNK_BYTES: usize = 1 << 20;
        let end = self.applied.lock().index().map_or(0, |index| index.0 + 1);
        let known = self.log.group(self.group).unwrap_or_default();
        if first < known.entries.start {
            return Ok(None);
        }
        let (mut commands, mut next, mut bytes) = (Vec::new(), first, 0);
        while next < end && bytes < bytes_max {
            let entries = self.log.read_some(self.group, next..end, CHUNK_BYTES);
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

    /// What the consensus instance was used for, if one runs that may rest: to other members of its
    /// group one that rests is dead.
    pub(crate) fn usage(&self) -> Option<Usage> {
        let may_rest = self.is_running() && !self.is_of_several();
        may_rest.then(|| *self.usage.lock())
    }

    /// Whether the group has or is to have other members, voters or not. Its instance runs on.
    pub(crate) fn is_of_several(&self) -> bool {
        let newest = self.newest_membership();
        match (&self.birth, newest.log_id()) {
            (Birth::Founds(voters), None) => voters.len() > 1,
            (Birth::Joins, None) => true,
            _ => newest.nodes().any(|(id, _)| *id != self.member.to_u64()),
        }
    }

    /// The newest membership in the log; it counts from when it was appended.
    fn newest_membership(&self) -> Arc<StoredMembership> {
        match &*self.instance.lock() {
            Instance::Running(running) => running.membership(),
            Instance::Resting | Instance::Closed => self.membership.lock().clone(),
        }
    }

    fn is_instance(&self, running: &Arc<Running>) -> bool {
        matches!(&*self.instance.lock(), Instance::Running(known) if Arc::ptr_eq(known, running))
    }

    fn unknown(&self, reason: String) -> Error {
        Error::Unknown { group: self.group.0, reason }
    }

    fn unavailable(&self, reason: impl std::fmt::Display) -> Error {
        Error::Unavailable { group: self.group.0, reason: reason.to_string() }
    }
}

/// Whatever bytes come must be read or refused.
#[cfg(any(test, fuzzing))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let _ = (wire::decode_ask_vote(bytes), wire::decode_vote_answer(bytes));
    let _ = (wire::decode_append(bytes), wire::decode_appended(bytes), wire::decode_vote(bytes));
    let _ = (forms::decode_entry(1, bytes), forms::decode_log_id(bytes), forms::decode_vote(bytes));
}
