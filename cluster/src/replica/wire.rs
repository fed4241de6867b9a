//! What members of a group say to one another, as the bodies of frames; integers little-endian.
//!
//! | part | bytes |
//! | --- | --- |
//! | vote | `term u64, node u64, committed u8` |
//! | id | `0 u8`, or `1 u8, term u64, node u64, index u64` |
//! | vote request | `vote, last id, transfer u8` |
//! | vote answer | `vote, granted u8, last id` |
//! | transfer | `vote, node u64, last id` |
//! | append | `vote, previous id, committed id, count u32`, and of each entry `length u32`, and it as it is logged |
//! | append's answer | `0 u8` all, `1 u8, id` up to there, `2 u8` the previous one differs, `3 u8, vote` a higher vote |

use super::{
    forms::{self, LogIdForm},
    types::{Entry, LogId, TypeConfig, Vote},
};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};

pub(super) type Append = AppendEntriesRequest<TypeConfig>;
pub(super) type Appended = AppendEntriesResponse<TypeConfig>;
pub(super) type AskVote = VoteRequest<TypeConfig>;
pub(super) type VoteAnswer = VoteResponse<TypeConfig>;
pub(super) type Transfer = TransferLeaderRequest<TypeConfig>;

/// What a body of these kinds takes beside its entries, at most.
const HEAD_BYTES: usize = 128;

pub(super) fn encode_ask_vote(ask: &AskVote) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    put_vote(&mut out, &ask.vote);
    put_id(&mut out, ask.last_log_id.as_ref());
    out.put_u8(u8::from(ask.leadership_transfer));
    out.freeze()
}

pub(super) fn decode_ask_vote(mut body: &[u8]) -> Option<AskVote> {
    let (vote, last) = (take_vote(&mut body)?, take_id(&mut body)?);
    let leadership_transfer = take_flag(&mut body)?;
    let ask = AskVote { leadership_transfer, ..AskVote::new(vote, last) };
    body.is_empty().then_some(ask)
}

pub(super) fn encode_vote_answer(answer: &VoteAnswer) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    put_vote(&mut out, &answer.vote);
    out.put_u8(u8::from(answer.vote_granted));
    put_id(&mut out, answer.last_log_id.as_ref());
    out.freeze()
}

pub(super) fn decode_vote_answer(mut body: &[u8]) -> Option<VoteAnswer> {
    let (vote, granted) = (take_vote(&mut body)?, take_flag(&mut body)?);
    let last = take_id(&mut body)?;
    body.is_empty().then(|| VoteAnswer::new(vote, last, granted))
}

pub(super) fn encode_transfer(transfer: &Transfer) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    put_vote(&mut out, transfer.from_leader());
    out.put_u64_le(*transfer.to_node_id());
    put_id(&mut out, transfer.last_log_id());
    out.freeze()
}

pub(super) fn decode_transfer(mut body: &[u8]) -> Option<Transfer> {
    let vote = take_vote(&mut body)?;
    let to = body.try_get_u64_le().ok()?;
    let last = take_id(&mut body)?;
    body.is_empty().then(|| Transfer::new(vote, to, last))
}

pub(super) fn encode_append(append: &Append) -> Bytes {
    let entries: Vec<_> = append.entries.iter().map(forms::encode_entry).collect();
    let bytes: usize = entries.iter().map(|entry| 4 + entry.len()).sum();
    let mut out = BytesMut::with_capacity(HEAD_BYTES + bytes);
    put_vote(&mut out, &append.vote);
    put_id(&mut out, append.prev_log_id.as_ref());
    put_id(&mut out, append.leader_commit.as_ref());
    out.put_u32_le(entries.len() as u32);
    for entry in entries {
        out.put_u32_le(entry.len() as u32);
        out.put_slice(&entry);
    }
    out.freeze()
}

pub(super) fn decode_append(mut body: &[u8]) -> Option<Append> {
    let vote = take_vote(&mut body)?;
    let (prev_log_id, leader_commit) = (take_id(&mut body)?, take_id(&mut body)?);
    let count = body.try_get_u32_le().ok()?;
    let first = prev_log_id.map_or(Some(0), |prev| prev.index.checked_add(1))?;
    let mut entries = Vec::new();
    for at in 0..u64::from(count) {
        let length = body.try_get_u32_le().ok()? as usize;
        let (encoded, rest) = body.split_at_checked(length)?;
        entries.push(decode_entry(first.checked_add(at)?, encoded)?);
        body = rest;
    }
    body.is_empty().then_some(Append { vote, prev_log_id, entries, leader_commit })
}

fn decode_entry(index: u64, encoded: &[u8]) -> Option<Entry> {
    forms::decode_entry(index, encoded).ok()
}

pub(super) fn encode_appended(appended: &Appended) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    match appended {
        Appended::Success => out.put_u8(0),
        Appended::PartialSuccess(upto) => {
            out.put_u8(1);
            put_id(&mut out, upto.as_ref());
        }
        Appended::Conflict => out.put_u8(2),
        Appended::HigherVote(vote) => {
            out.put_u8(3);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(super) fn decode_appended(mut body: &[u8]) -> Option<Appended> {
    let appended = match body.try_get_u8().ok()? {
        0 => Appended::Success,
        1 => Appended::PartialSuccess(take_id(&mut body)?),
        2 => Appended::Conflict,
        3 => Appended::HigherVote(take_vote(&mut body)?),
        _ => return None,
    };
    body.is_empty().then_some(appended)
}

/// A vote alone.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD_BYTES);
    put_vote(&mut out, vote);
    out.freeze()
}

pub(super) fn decode_vote(mut body: &[u8]) -> Option<Vote> {
    let vote = take_vote(&mut body)?;
    body.is_empty().then_some(vote)
}

/// Term and member of a vote that an answer gives.
#[cfg(test)]
pub(crate) fn vote_given(answer: &[u8]) -> Option<(u64, u64)> {
    let answer = decode_vote_answer(answer).filter(|answer| answer.vote_granted)?;
    let leader = answer.vote.leader_id();
    Some((leader.term, leader.node_id))
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    let leader = vote.leader_id();
    out.put_u64_le(leader.term);
    out.put_u64_le(leader.node_id);
    out.put_u8(u8::from(vote.is_committed()));
}

fn take_vote(body: &mut &[u8]) -> Option<Vote> {
    let (term, node) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
    let committed = take_flag(body)?;
    Some(if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) })
}

fn put_id(out: &mut BytesMut, id: Option<&LogId>) {
    let Some(id) = id else { return out.put_u8(0) };
    out.put_u8(1);
    out.put_slice(&forms::encode_committed(id));
}

fn take_id(body: &mut &[u8]) -> Option<Option<LogId>> {
    if !take_flag(body)? {
        return Some(None);
    }
    let term = body.try_get_u64_le().ok()?;
    let (node, index) = (body.try_get_u64_le().ok()?, body.try_get_u64_le().ok()?);
    Some(Some(LogIdForm::new(term, node, index).to_id()))
}

fn take_flag(body: &mut &[u8]) -> Option<bool> {
    match body.try_get_u8().ok()? {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Change, command::Command};
    use openraft::{EntryPayload, Membership};
    use oribi_model::Name;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn ids() -> impl Strategy<Value = Option<LogId>> {
        let id = (any::<u64>(), any::<u64>(), 0..u64::MAX / 2);
        prop::option::of(id.prop_map(|(term, node, at)| LogIdForm::new(term, node, at).to_id()))
    }

    fn votes() -> impl Strategy<Value = Vote> {
        (any::<u64>(), any::<u64>(), any::<bool>()).prop_map(|(term, node, committed)| {
            if committed { Vote::new_committed(term, node) } else { Vote::new(term, node) }
        })
    }

    fn payloads() -> impl Strategy<Value = EntryPayload<Command, u64, openraft::EmptyNode>> {
        prop_oneof![
            Just(EntryPayload::Blank),
            "[a-z]{1,20}".prop_map(|name| {
                let db = Name::new(&name).expect("it is a name");
                EntryPayload::Normal(Command::change(Change::CreateDatabase { db }))
            }),
            prop::collection::btree_set(any::<u64>(), 1..4).prop_map(|voters: BTreeSet<u64>| {
                let sets = vec![voters.clone()];
                EntryPayload::Membership(Membership::new_with_defaults(sets, voters))
            }),
        ]
    }

    fn appends() -> impl Strategy<Value = Append> {
        let parts = (votes(), ids(), ids(), prop::collection::vec(payloads(), 0..4));
        parts.prop_map(|(vote, prev_log_id, leader_commit, payloads)| {
            let first = prev_log_id.map_or(0, |prev| prev.index + 1);
            let indexed = (first..).zip(payloads);
            let entry = |(at, payload)| Entry { log_id: LogIdForm::new(3, 9, at).to_id(), payload };
            let entries = indexed.map(entry).collect();
            Append { vote, prev_log_id, entries, leader_commit }
        })
    }

    fn logged(append: &Append) -> Vec<std::sync::Arc<[u8]>> {
        append.entries.iter().map(forms::encode_entry).collect()
    }

    proptest! {
        #[test]
        fn bodies_come_out_as_they_went_in(
            (vote, last, flag) in (votes(), ids(), any::<bool>()),
            append in appends(),
        ) {
            let ask = AskVote { leadership_transfer: flag, ..AskVote::new(vote, last) };
            prop_assert_eq!(decode_ask_vote(&encode_ask_vote(&ask)), Some(ask));
            prop_assert_eq!(decode_vote(&encode_vote(&vote)), Some(vote));
            let transfer = Transfer::new(vote, 7, last);
            prop_assert_eq!(decode_transfer(&encode_transfer(&transfer)), Some(transfer));
            let answer = VoteAnswer::new(vote, last, flag);
            prop_assert_eq!(decode_vote_answer(&encode_vote_answer(&answer)), Some(answer));
            for appended in [
                Appended::Success,
                Appended::PartialSuccess(last),
                Appended::Conflict,
                Appended::HigherVote(vote),
            ] {
                let encoded = encode_appended(&appended);
                prop_assert_eq!(decode_appended(&encoded), Some(appended));
            }
            let encoded = encode_append(&append);
            let decoded = decode_append(&encoded).unwrap();
            prop_assert_eq!((decoded.vote, decoded.prev_log_id), (append.vote, append.prev_log_id));
            prop_assert_eq!(decoded.leader_commit, append.leader_commit);
            let ids = |append: &Append| append.entries.iter().map(|one| one.log_id).collect::<Vec<_>>();
            prop_assert_eq!((ids(&decoded), logged(&decoded)), (ids(&append), logged(&append)));
            for cut in 0..encoded.len() {
                prop_assert!(decode_append(&encoded[..cut]).is_none());
            }
        }

        #[test]
        fn any_bytes_may_come(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = decode_ask_vote(&bytes);
            let _ = decode_transfer(&bytes);
            let _ = decode_vote(&bytes);
            let _ = decode_vote_answer(&bytes);
            let _ = decode_appended(&bytes);
            if let Some(append) = decode_append(&bytes) {
                prop_assert!(append.entries.len() * 4 <= bytes.len());
            }
        }
    }
}
