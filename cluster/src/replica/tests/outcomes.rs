//! What a write that fails says of itself, and what a group begins with.

use super::*;
use crate::{
    ColumnSpec, WriteOutcome,
    testing::{Gate, HeldDisk},
};
use openraft::{RaftLogReader, storage::RaftLogStorageExt};
use oribi_model::{ColumnKind, ColumnType, Ints, NodeId};

const SOON: Duration = Duration::from_millis(50);
const LONG: Duration = Duration::from_secs(600);

fn member(node: u32) -> MemberId {
    MemberId::first(NodeId(node))
}

/// A replica of node 1 in a group of three that `founder` founds.
fn one_of_three(log: &Arc<Log>, machine: &Arc<Memory>, founder: u32) -> Arc<Replica> {
    let others = [1, 2, 3].into_iter().filter(|node| *node != founder).map(member).collect();
    let assignment = Assignment::new(member(founder), others);
    let (log, machine) = (log.clone(), machine.clone());
    Replica::recover(member(1), (GROUP, &assignment), log, machine, alone()).unwrap()
}

fn voters(log: &Arc<Log>) -> Option<Vec<u64>> {
    let state = log.group(GROUP)?;
    let membership = recover::newest_membership(GROUP, log, &state, &Applied::default()).unwrap();
    Some(membership.voter_ids().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_without_a_majority_says_that_it_was_not_stored() {
    let (log, machine) = (open_log(&SimDisk::new()), Arc::new(Memory::default()));
    let replica = one_of_three(&log, &machine, 1);
    let error = replica.write_within(create(0), SOON, LONG).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error}");
    assert_eq!(error.outcome(), WriteOutcome::NotStored);
    assert_eq!(voters(&log), Some(vec![1, 2, 3]), "it has founded the group all the same");
    assert!(machine.applied.lock().is_empty());
    replica.rest().await;

    // Nobody has answered it, so that it does not lead after a restart either.
    let replica = one_of_three(&log, &machine, 1);
    assert!(replica.write_within(create(0), SOON, LONG).await.is_err());
    let running = replica.running().await.unwrap();
    assert!(!running.raft.is_leader());
    drop(running);
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_founder_writes_a_first_entry() {
    let (log, machine) = (open_log(&SimDisk::new()), Arc::new(Memory::default()));
    let replica = one_of_three(&log, &machine, 2);
    let error = replica.write_within(create(0), SOON, LONG).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::NotStored);
    let state = log.group(GROUP).unwrap_or_default();
    assert_eq!((state.entries, state.vote), (0..0, None));
    replica.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_answers_in_time_is_unknown_and_holds_nothing_up() {
    let (gate, machine) = (Gate::default(), Arc::new(Memory::default()));
    let disk = Arc::new(HeldDisk(SimDisk::new(), gate.clone()));
    let log = open_log_on(disk);
    let replica = recover(&log, &machine);
    replica.write(create(0)).await.unwrap();
    gate.hold();
    let error = replica.write_within(create(1), LONG, SOON).await.unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error}");
    assert_eq!(error.outcome(), WriteOutcome::Unknown);
    // Neither the write that was given up nor the disk keeps the instance from ending.
    replica.rest().await;
    assert!(!replica.is_running());
    gate.release();
    replica.write(create(2)).await.unwrap();
    // What became of the one in the middle was said to be unknown.
    let applied = machine.applied.lock().clone();
    assert!(applied.first().unwrap().1.contains("db0"), "{applied:?}");
    assert!(applied.last().unwrap().1.contains("db2"), "{applied:?}");
    replica.close().await;
    assert!(matches!(replica.write(create(3)).await, Err(Error::Closed { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purge_is_asked_for_and_not_waited_for() {
    let (gate, machine) = (Gate::default(), Arc::new(Memory::default()));
    let log = open_log_on(Arc::new(HeldDisk(SimDisk::new(), gate.clone())));
    let replica = recover(&log, &machine);
    for at in 0..8 {
        replica.write(create(at)).await.unwrap();
    }
    flush(&replica, &machine);
    while replica.purge(Duration::ZERO).await.unwrap() == Purge::Asked {}
    let flushed = machine.flushed().unwrap().index.0;
    assert_eq!(log.group(GROUP).unwrap().entries.start, flushed + 1);
    assert_eq!(replica.purge(LONG).await.unwrap(), Purge::Done);
    replica.close().await;
}

/// An entry of about 100 KB.
fn long_entry(index: u64) -> types::Entry {
    let column = |at: u64| ColumnSpec {
        name: Name::new(&format!("{at:0>200}")).unwrap(),
        kind: ColumnKind::Field,
        column_type: ColumnType::Float,
        ints: Ints::default(),
    };
    let (db, table) = (Name::new("db").unwrap(), Name::new("t").unwrap());
    let columns = (0..400).map(column).collect();
    let command = Command::change(Change::EnsureColumns { db, table, columns });
    let log_id =
        forms::decode_log_id(format!(r#"{{"term":1,"node":1,"index":{index}}}"#).as_bytes());
    types::Entry { log_id: log_id.unwrap(), payload: EntryPayload::Normal(command) }
}

#[tokio::test]
async fn reads_for_others_are_bounded_by_bytes() {
    const COUNT: u64 = 40;
    let mut group = GroupLog::new(GROUP, open_log(&SimDisk::new()));
    group.blocking_append((0..COUNT).map(long_entry)).await.unwrap();
    // From memory, from the disk and memory, and from the disk.
    for applied in [None, Some(7), Some(COUNT - 1)] {
        if let Some(upto) = applied {
            group.applied(upto);
        }
        let (mut next, mut reads) = (0, 0);
        while next < COUNT {
            let read = group.limited_get_log_entries(next, COUNT).await.unwrap();
            let indexes: Vec<u64> = read.iter().map(|entry| entry.log_id.index).collect();
            let end = next + read.len() as u64;
            assert!(!read.is_empty() && indexes == (next..end).collect::<Vec<_>>());
            let bytes: usize = read.iter().map(|entry| forms::encode_entry(entry).len()).sum();
            assert!(bytes <= (1 << 20) + 100 * read.len(), "{bytes} bytes");
            (next, reads) = (end, reads + 1);
        }
        assert!(reads > 2, "{reads} reads");
        let all = group.try_get_log_entries(0..COUNT).await.unwrap();
        assert_eq!(all.len() as u64, COUNT);
    }
}
