//! What a start applies again, by who the group's voters were.

use super::*;
use openraft::{EmptyNode, Membership, storage::RaftLogStorageExt};
use std::collections::BTreeSet;

type Payload = EntryPayload<Command, u64, EmptyNode>;

fn entry(index: u64, payload: Payload) -> types::Entry {
    let id = forms::decode_log_id(format!(r#"{{"term":1,"node":1,"index":{index}}}"#).as_bytes());
    types::Entry { log_id: id.unwrap(), payload }
}

fn of(nodes: &[u32]) -> Payload {
    let voters: BTreeSet<u64> =
        nodes.iter().map(|node| MemberId::first(NodeId(*node)).to_u64()).collect();
    EntryPayload::Membership(Membership::new_with_defaults(vec![voters.clone()], voters))
}

fn row(at: usize) -> Payload {
    EntryPayload::Normal(create(at))
}

/// The indexes that a start applies where the log has these entries, of which none is noted as
/// committed.
async fn applied(entries: Vec<Payload>) -> Vec<u64> {
    let log = open_log(&SimDisk::new());
    let entries = (0..).zip(entries).map(|(index, payload)| entry(index, payload));
    GroupLog::new(GROUP, log.clone()).blocking_append(entries.collect::<Vec<_>>()).await.unwrap();
    let machine = Arc::new(Memory::default());
    recover(&log, &machine);
    machine.applied.lock().iter().map(|(index, _)| *index).collect()
}

#[tokio::test]
async fn what_the_only_voter_appended_was_committed_and_what_others_may_not_have_was_not() {
    let alone = vec![of(&[1]), row(0), row(1)];
    assert_eq!(applied(alone.clone()).await, [1, 2]);
    // Until others came it was the only one.
    let joined = [alone.clone(), vec![of(&[1, 2, 3]), row(2)]].concat();
    assert_eq!(applied(joined.clone()).await, [1, 2]);
    let left = [joined, vec![row(3), of(&[1]), row(4)]].concat();
    assert_eq!(applied(left).await, [1, 2, 4, 5, 7], "each once, and in order");
    assert!(applied(vec![of(&[1, 2, 3]), row(0)]).await.is_empty());
}
