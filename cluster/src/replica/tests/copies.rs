//! A member that lacks what the log has let go gets a copy, whatever happens meanwhile.

use super::{
    several::{Fate, Group},
    *,
};
use crate::{
    CopyOptions, Incarnation,
    copy::{Answer, Ask, Offer},
    transport::{Frame, Kind, Role},
};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{mpsc, oneshot};

const LONG: Duration = Duration::from_secs(600);

/// Keeps nothing for members that are behind.
fn keeping_nothing() -> CopyOptions {
    CopyOptions { kept_bytes_max: 0, ..CopyOptions::default() }
}

/// A group whose third member is away, and whose others have flushed and let go of the log.
async fn with_one_away(writes: usize) -> Group {
    let mut group = Group::with(keeping_nothing());
    group.kill(3).await;
    for _ in 0..writes {
        group.write(1).await;
    }
    let_go(&group, &[1, 2]).await;
    group
}

async fn let_go(group: &Group, nodes: &[u32]) {
    for id in nodes {
        let (replica, node) = (group.replica(*id), &group.nodes[id]);
        // A follower hears with the next entry what is committed.
        while node.machine.applied.lock().len() < group.acked.len() {
            tokio::task::yield_now().await;
        }
        node.machine.flush(&replica);
        let upto = node.machine.flushed().unwrap().index.0;
        while replica.purge(LONG).await.unwrap() == Purge::Asked {}
        let known = node.log.as_ref().unwrap().group(GROUP).unwrap();
        assert!(known.entries.start > upto, "{known:?}");
    }
}

/// Until node 3 has what was acked.
async fn copied(group: &Group) {
    let machine = &group.nodes[&3].machine;
    while machine.applied.lock().len() < group.acked.len() {
        tokio::task::yield_now().await;
    }
}

/// Whether node 3 has files of another.
fn has_taken_over(group: &Group) -> bool {
    group.nodes[&3].machine.flushed().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lacks_what_was_purged_gets_a_copy_and_follows() {
    let mut group = with_one_away(30).await;
    group.start(3);
    copied(&group).await;
    assert!(has_taken_over(&group));
    for _ in 0..10 {
        group.write(1).await;
    }
    group.judge().await;
    // What was copied is not under way any more.
    while !group.replica(3).sleep(Duration::ZERO, &Arc::default()).await {
        tokio::task::yield_now().await;
    }
    // It has all that it needs to lead.
    group.kill(1).await;
    group.kill(2).await;
    group.start(2);
    let leader = group.elect(Some(1)).await;
    group.write(leader).await;
    group.start(1);
    group.judge().await;
    group.end().await;
}

/// What member 1 would offer of all that it has applied.
fn offer_of_first(group: &Group) -> Frame {
    let first = group.replica(1);
    let state = Bytes::from(first.applied.lock().encode());
    let vote = wire::encode_vote(&first.vote().unwrap());
    let source = MemberId::first(NodeId(1));
    let ask = Ask::Offer(Offer { source, pin: 1, vote, state, sums: Vec::new() });
    Frame {
        kind: Kind::Segment,
        role: Role::Request,
        group: GROUP,
        incarnation: Incarnation(0),
        request: 1,
        body: ask.encode(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_has_applied_counts_as_taken_once_its_log_has_it() {
    let mut group = Group::with(keeping_nothing());
    group.write(1).await;
    copied(&group).await;
    group.nodes[&3].gate.hold();
    for _ in 0..3 {
        group.write(1).await;
    }
    copied(&group).await;
    let (third, offer) = (group.replica(3), offer_of_first(&group));
    let mut early = third.receive(&offer);
    let waited = tokio::time::timeout(Duration::from_millis(300), &mut early).await;
    let early = waited.map(|answer| Answer::decode(answer.unwrap()));
    assert!(matches!(early, Err(_) | Ok(Some(Answer::Underway))), "its log has synced nothing");
    group.nodes[&3].gate.release();
    let taken = async {
        let is_taken = |answer| matches!(Answer::decode(answer), Some(Answer::Taken(_)));
        while !is_taken(third.receive(&offer).await.unwrap()) {}
    };
    tokio::time::timeout(LONG, taken).await.expect("it is never taken");
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_was_there_before_loses_what_it_had_and_nothing_else() {
    let mut group = Group::with(keeping_nothing());
    for _ in 0..10 {
        group.write(1).await;
    }
    group.judge().await;
    group.kill(3).await;
    for _ in 0..20 {
        group.write(1).await;
    }
    let_go(&group, &[1, 2]).await;
    group.start(3);
    copied(&group).await;
    assert!(has_taken_over(&group));
    group.write(1).await;
    group.judge().await;
    // Its log begins behind the copy, also after a restart.
    group.kill(3).await;
    group.start(3);
    group.write(1).await;
    group.judge().await;
    group.end().await;
}

/// Holds the piece number `at` (from 0) to node 3's requests; gives what tells of it and lets it go.
fn hold_piece(group: &Group, at: usize) -> mpsc::UnboundedReceiver<oneshot::Sender<()>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let mut pieces = 0;
    group.hall.judge(move |to, request| {
        if request.kind != Kind::Segment || to == NodeId(3) {
            return Fate::Answered;
        }
        pieces += 1;
        if pieces <= at {
            return Fate::Answered;
        }
        let (go, held) = oneshot::channel();
        let _ = sender.send(go);
        Fate::Held(held)
    });
    receiver
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leader_copies_where_the_first_was_killed_midway() {
    for at in [0, 3] {
        let mut group = with_one_away(30).await;
        let mut held = hold_piece(&group, at);
        group.start(3);
        let go = held.recv().await.unwrap();
        group.hall.judge_no_more();
        group.kill(1).await;
        drop(go);
        let leader = group.elect(Some(1)).await;
        assert_eq!(leader, 2, "node 3 has too little");
        copied(&group).await;
        group.write(2).await;
        group.start(1);
        group.judge().await;
        group.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_ends_at_any_step_of_a_copy_gets_it_in_the_end() {
    // As many operations of its disk as a calm copy takes.
    let mut group = with_one_away(12).await;
    let begun = group.nodes[&3].disk.operations();
    group.start(3);
    copied(&group).await;
    let operations = group.nodes[&3].disk.operations() - begun;
    group.end().await;
    println!("a copy: the power went at {operations} operations");
    for at in 1..=operations {
        let mut group = with_one_away(12).await;
        let disk = group.nodes[&3].disk.clone();
        // Opening the log may be what fails.
        let opened = disk.operations();
        group.start(3);
        if disk.operations() - opened < at {
            disk.crash_at(opened + at);
        }
        while !disk.crashed() && group.nodes[&3].machine.applied.lock().len() < 12 {
            tokio::task::yield_now().await;
        }
        group.kill(3).await;
        group.start(3);
        group.write(1).await;
        group.judge().await;
        group.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_older_leader_offers_is_not_taken_over() {
    let mut group = with_one_away(30).await;
    let mut held = hold_piece(&group, 2);
    group.start(3);
    let go = held.recv().await.unwrap();
    // The new leader's copy must not be held.
    group.hall.judge_no_more();
    group.hall.isolate(1);
    let leader = group.elect(Some(1)).await;
    assert_eq!(leader, 2);
    for _ in 0..5 {
        group.write(2).await;
    }
    drop(go);
    copied(&group).await;
    group.hall.heal();
    group.write(2).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_closed_takes_nothing_over() {
    let mut group = with_one_away(30).await;
    let mut held = hold_piece(&group, 2);
    group.start(3);
    let go = held.recv().await.unwrap();
    let replica = group.replica(3);
    replica.close().await;
    group.hall.judge_no_more();
    drop(go);
    // The copy holds the replica until it has ended.
    while Arc::strong_count(&replica) > 2 {
        tokio::task::yield_now().await;
    }
    assert!(!has_taken_over(&group));
    group.write(1).await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_pieces_are_asked_for_again() {
    let mut group = with_one_away(30).await;
    let damaged = Arc::new(AtomicUsize::new(0));
    let seen = damaged.clone();
    group.hall.judge(move |to, request| {
        let is_piece = request.kind == Kind::Segment && to != NodeId(3);
        // Two in a row are no more than bad luck.
        match is_piece && seen.fetch_add(1, Ordering::Relaxed) % 3 < 2 {
            true => Fate::Damaged,
            false => Fate::Answered,
        }
    });
    group.start(3);
    copied(&group).await;
    assert!(damaged.load(Ordering::Relaxed) >= 3);
    group.write(1).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_behind_a_copy_is_kept_while_it_is_made() {
    let options = CopyOptions { kept_bytes_max: 1 << 20, ..CopyOptions::default() };
    let mut group = Group::with(options);
    group.kill(3).await;
    for _ in 0..20 {
        group.write(1).await;
    }
    let machine = group.nodes[&1].machine.clone();
    machine.flush(&group.replica(1));
    // Within the bound it is kept for who is away, unless the log is too long.
    let replica = group.replica(1);
    assert_eq!(replica.purge(LONG).await.unwrap(), Purge::Asked);
    let log = group.nodes[&1].log.clone().unwrap();
    assert_eq!(log.group(GROUP).unwrap().entries.start, 0);
    while replica.purge_but(Keeping::ForCopies, LONG).await.unwrap() == Purge::Asked {}
    let first = machine.flushed().unwrap().index.0;
    let mut held = hold_piece(&group, 0);
    group.start(3);
    let go = held.recv().await.unwrap();
    for _ in 0..20 {
        group.write(1).await;
    }
    machine.flush(&replica);
    assert_eq!(replica.purge_but(Keeping::ForCopies, LONG).await.unwrap(), Purge::Asked);
    assert_eq!(log.group(GROUP).unwrap().entries.start, first + 1);
    group.hall.judge_no_more();
    drop(go);
    copied(&group).await;
    group.write(1).await;
    group.judge().await;
    assert_eq!(group.nodes[&3].machine.flushed().unwrap().index.0, first);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_never_answers_stops_neither_writes_nor_purges() {
    let mut group = Group::with(keeping_nothing());
    for _ in 0..5 {
        group.write(1).await;
    }
    group.hall.judge(|to, _| if to == NodeId(3) { Fate::Silence } else { Fate::Answered });
    for _ in 0..3 {
        for _ in 0..10 {
            group.write(1).await;
        }
        let machine = group.nodes[&1].machine.clone();
        machine.flush(&group.replica(1));
        let upto = machine.flushed().unwrap().index.0;
        while group.replica(1).purge(LONG).await.unwrap() == Purge::Asked {}
        let known = group.nodes[&1].log.as_ref().unwrap().group(GROUP).unwrap();
        assert!(known.entries.start > upto);
    }
    group.hall.judge_no_more();
    group.write(1).await;
    group.judge().await;
    assert!(has_taken_over(&group));
    group.end().await;
}
