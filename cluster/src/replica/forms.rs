//! How entries, votes, log ids and memberships look in the log and in a flush.
//!
//! An entry is `version u8 | kind u8 | term u64 | node u64 | body`, integers little-endian; the
//! body is empty (blank), a command, or a membership. What is committed is three integers, too.
//! Everything else is JSON.

use super::types::{Entry, LogId, StoredMembership, Vote};
use crate::command::Command;
use openraft::{EmptyNode, EntryPayload, Membership};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

const VERSION: u8 = 1;
const HEAD_BYTES: usize = 18;
const LOG_ID_BYTES: usize = 24;
const BLANK: u8 = 0;
const COMMAND: u8 = 1;
const MEMBERSHIP: u8 = 2;

pub(super) fn encode_entry(entry: &Entry) -> Arc<[u8]> {
    let membership;
    let (kind, body) = match &entry.payload {
        EntryPayload::Blank => (BLANK, &[][..]),
        EntryPayload::Normal(command) => (COMMAND, &command.encoded()[..]),
        EntryPayload::Membership(members) => {
            membership = to_json(&MembershipForm::of(members));
            (MEMBERSHIP, &membership[..])
        }
    };
    let leader = entry.log_id.leader_id;
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&[VERSION, kind]);
    bytes.extend_from_slice(&leader.term.to_le_bytes());
    bytes.extend_from_slice(&leader.node_id.to_le_bytes());
    bytes.extend_from_slice(body);
    bytes.into()
}

pub(super) fn decode_entry(index: u64, bytes: &[u8]) -> Result<Entry, String> {
    let (id, kind, body) = split_entry(index, bytes)?;
    let payload = match kind {
        BLANK => EntryPayload::Blank,
        COMMAND => EntryPayload::Normal(Command::decode(body)?),
        MEMBERSHIP => EntryPayload::Membership(from_json::<MembershipForm>(body)?.to_membership()),
        kind => return Err(format!("an entry of the unknown kind {kind}")),
    };
    Ok(Entry { log_id: id, payload })
}

/// The log id alone, without decoding what the entry carries.
pub(super) fn decode_entry_id(index: u64, bytes: &[u8]) -> Result<LogId, String> {
    split_entry(index, bytes).map(|(id, _, _)| id)
}

/// The membership that an entry carries, if it carries one.
pub(super) fn decode_membership_entry(index: u64, bytes: &[u8]) -> Option<StoredMembership> {
    let (id, kind, body) = split_entry(index, bytes).ok()?;
    let form: MembershipForm = (kind == MEMBERSHIP).then(|| from_json(body).ok()).flatten()?;
    Some(StoredMembership::new(Some(id), form.to_membership()))
}

fn split_entry(index: u64, bytes: &[u8]) -> Result<(LogId, u8, &[u8]), String> {
    let (head, body) = bytes.split_at_checked(HEAD_BYTES).ok_or("an entry is cut short")?;
    if head[0] != VERSION {
        return Err(format!("an entry of format version {}; known is {VERSION}", head[0]));
    }
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
    Ok((LogIdForm { term: word(2), node: word(10), index }.to_id(), head[1], body))
}

#[derive(Serialize, Deserialize)]
struct VoteForm {
    term: u64,
    node: u64,
    committed: bool,
}

pub(super) fn encode_vote(vote: &Vote) -> Arc<[u8]> {
    let leader = vote.leader_id();
    let (term, node, committed) = (leader.term, leader.node_id, vote.is_committed());
    to_json(&VoteForm { term, node, committed }).into()
}

pub(super) fn decode_vote(bytes: &[u8]) -> Result<Vote, String> {
    let form: VoteForm = from_json(bytes)?;
    Ok(match form.committed {
        true => Vote::new_committed(form.term, form.node),
        false => Vote::new(form.term, form.node),
    })
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(super) struct LogIdForm {
    term: u64,
    node: u64,
    index: u64,
}

impl LogIdForm {
    pub(super) fn new(term: u64, node: u64, index: u64) -> LogIdForm {
        LogIdForm { term, node, index }
    }

    /// That of the entry with which a node begins a group: it says who its members are.
    pub(super) fn first(node: u64) -> LogIdForm {
        LogIdForm { term: 0, node, index: 0 }
    }

    pub(super) fn of(id: &LogId) -> LogIdForm {
        LogIdForm { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }

    pub(super) fn to_id(self) -> LogId {
        let leader =
            openraft::impls::leader_id_adv::LeaderId { term: self.term, node_id: self.node };
        LogId::new(leader, self.index)
    }
}

pub(super) fn encode_log_id(id: &LogId) -> Arc<[u8]> {
    to_json(&LogIdForm::of(id)).into()
}

/// `term u64 | node u64 | index u64`: written with every commit.
pub(super) fn encode_committed(id: &LogId) -> Arc<[u8]> {
    let leader = id.leader_id;
    let words = [leader.term, leader.node_id, id.index];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// Either form of a log id: no JSON of one is as short as the other.
pub(super) fn decode_log_id(bytes: &[u8]) -> Result<LogId, String> {
    if let Ok(words) = <&[u8; LOG_ID_BYTES]>::try_from(bytes) {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|byte| words[at + byte]));
        return Ok(LogIdForm { term: word(0), node: word(8), index: word(16) }.to_id());
    }
    from_json::<LogIdForm>(bytes).map(LogIdForm::to_id)
}

#[derive(Serialize, Deserialize)]
pub(super) struct MembershipForm {
    /// Voters: one set, or two while they change.
    voters: Vec<BTreeSet<u64>>,
    /// All members, learners too.
    nodes: BTreeSet<u64>,
}

impl MembershipForm {
    fn of(membership: &Membership<u64, EmptyNode>) -> MembershipForm {
        let nodes = membership.nodes().map(|(id, _)| *id).collect();
        MembershipForm { voters: membership.get_joint_config().clone(), nodes }
    }

    fn to_membership(&self) -> Membership<u64, EmptyNode> {
        Membership::new_with_defaults(self.voters.clone(), self.nodes.iter().copied())
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct StoredMembershipForm {
    log_id: Option<LogIdForm>,
    membership: MembershipForm,
}

impl StoredMembershipForm {
    pub(super) fn of(stored: &StoredMembership) -> StoredMembershipForm {
        let log_id = stored.log_id().as_ref().map(LogIdForm::of);
        StoredMembershipForm { log_id, membership: MembershipForm::of(stored.membership()) }
    }

    pub(super) fn to_stored(&self) -> StoredMembership {
        let log_id = self.log_id.map(LogIdForm::to_id);
        StoredMembership::new(log_id, self.membership.to_membership())
    }
}

pub(super) fn to_json(form: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(form).expect("a form is plain data")
}

pub(super) fn from_json<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_id_is_read_in_both_forms() {
        for (term, node, index) in [(0, 0, 0), (3, 1 << 32 | 7, 9), (u64::MAX, 1, u64::MAX)] {
            let id = LogIdForm { term, node, index }.to_id();
            assert_eq!(decode_log_id(&encode_log_id(&id)), Ok(id));
            assert_eq!(decode_log_id(&encode_committed(&id)), Ok(id));
            assert_eq!(encode_committed(&id).len(), LOG_ID_BYTES);
        }
        let shortest = encode_log_id(&LogIdForm::first(0).to_id());
        assert!(shortest.len() > LOG_ID_BYTES);
        assert!(decode_log_id(&[0; LOG_ID_BYTES - 1]).is_err());
    }
}
