//! How far a machine is, and who its group's members are as of there.

use super::{
    forms::{LogIdForm, StoredMembershipForm, encode_log_id, from_json, to_json},
    types::{LogId, StoredMembership},
};
use crate::{Assignment, MemberId};
use openraft::Membership;
use oribi_model::LogIndex;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// What was stored with a flush, as the state of a group that begins again behind it: the first
/// node's first replica is its only member.
///
/// # Errors
/// Bytes that are no such state, or of nothing applied.
pub(crate) fn alone(raft_state: &[u8]) -> Result<Vec<u8>, String> {
    let before = Applied::decode(raft_state)?;
    let index = before.last.ok_or("it says of no entry that it was applied")?.index;
    let founder = MemberId::FIRST;
    // Of the lowest term: whatever the group elects from now on comes behind it.
    let last = LogIdForm::new(0, founder.to_u64(), index).to_id();
    let membership = Applied::first(&Assignment::alone(founder));
    Ok(Applied { last: Some(last), membership }.encode())
}

/// The newest applied entry and the membership as of it. Stored with every flush.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Applied {
    pub(super) last: Option<LogId>,
    pub(super) membership: StoredMembership,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    last: Option<LogIdForm>,
    membership: StoredMembershipForm,
}

impl Applied {
    pub(super) fn index(&self) -> Option<LogIndex> {
        self.last.map(|last| LogIndex(last.index))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let membership = StoredMembershipForm::of(&self.membership);
        to_json(&Form { last: self.last.as_ref().map(LogIdForm::of), membership })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Applied, String> {
        let form: Form = from_json(bytes)?;
        let last = form.last.map(LogIdForm::to_id);
        Ok(Applied { last, membership: form.membership.to_stored() })
    }

    /// The membership that a group begins with.
    pub(super) fn first(assignment: &Assignment) -> StoredMembership {
        let voters: BTreeSet<u64> =
            assignment.voters().iter().map(|voter| voter.to_u64()).collect();
        let first = LogIdForm::first(assignment.founder().to_u64()).to_id();
        let membership = Membership::new_with_defaults(vec![voters.clone()], voters);
        StoredMembership::new(Some(first), membership)
    }

    /// The newest applied log id as a purge notes it.
    pub(super) fn last_mark(&self) -> Option<Arc<[u8]>> {
        self.last.as_ref().map(encode_log_id)
    }

    /// Notes an entry that was applied.
    pub(super) fn advance(
        &mut self,
        id: LogId,
        membership: Option<Membership<u64, openraft::EmptyNode>>,
    ) {
        self.last = Some(id);
        if let Some(membership) = membership {
            self.membership = StoredMembership::new(Some(id), membership);
        }
    }
}
