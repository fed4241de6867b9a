//! The types that consensus is about.

use crate::command::Command;
use openraft::{EmptyNode, alias};
use std::fmt;

openraft::declare_raft_types!(
    /// What consensus groups agree on.
    pub(super) TypeConfig:
        D = Command,
        R = Outcome,
        NodeId = u64,
        Node = EmptyNode,
        AsyncRuntime = Runtime,
);

#[cfg(not(test))]
pub(super) type Runtime = openraft::impls::TokioRuntime;
#[cfg(test)]
pub(super) type Runtime = super::runtime::Switched;

pub(super) type Entry = alias::EntryOf<TypeConfig>;
pub(super) type LogId = alias::LogIdOf<TypeConfig>;
pub(super) type Vote = alias::VoteOf<TypeConfig>;
pub(super) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;

/// The machine's answer to a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome(pub(super) Result<(), String>);

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(()) => f.write_str("done"),
            Err(reason) => f.write_str(reason),
        }
    }
}
