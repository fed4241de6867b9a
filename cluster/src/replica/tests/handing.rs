//! A lead that is handed over, refused, deserted or waited for.

use super::{
    several::{Fate, Group, LONG, NODES},
    *,
};
use crate::transport::Kind;
use openraft::async_runtime::WatchReceiver;

fn member(node: u32) -> MemberId {
    MemberId::first(NodeId(node))
}

/// Waits until a replica leads and can prove it.
async fn until_leads(replica: &Arc<Replica>) {
    let leading = async {
        while !replica.leads(Duration::from_millis(300)).await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, leading).await.expect("it never leads");
}

/// Has a replica stand again and again, as a supervisor does, until it leads.
async fn until_elected(replica: &Arc<Replica>) {
    let elected = async {
        loop {
            replica.stand().await.unwrap();
            let leads = until_leads(replica);
            if tokio::time::timeout(Duration::from_secs(1), leads).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(LONG, elected).await.expect("nobody elects it");
}

/// Waits until all know that the first leads, and have all that it has.
async fn until_known(group: &Group) {
    let knows = |id: u32| {
        let vote = group.replica(id).standing().vote;
        vote.is_some_and(|vote| vote.is_elected && vote.member == member(1))
    };
    let leader = group.replica(1).running().await.unwrap();
    let has_all = || {
        let last = leader.raft.metrics().borrow_watched().last_log_index;
        leader.least_matched() == last.map(|last| last + 1)
    };
    let known = async {
        while !NODES.into_iter().all(knows) || !has_all() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, known).await.expect("somebody never hears of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_goes_to_the_voter_that_is_named() {
    let mut group = Group::with(Default::default());
    for _ in 0..10 {
        group.write(1).await;
    }
    for (from, to) in [(1, 2), (2, 3), (3, 1)] {
        assert!(group.replica(from).hand_over(member(to), LONG).await.unwrap());
        until_leads(&group.replica(to)).await;
        assert!(!group.replica(from).standing().leads);
        group.write(to).await;
    }
    // One that does not lead has nothing to give.
    assert!(group.replica(2).hand_over(member(3), LONG).await.unwrap());
    until_leads(&group.replica(1)).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nobody_takes_the_lead_the_group_begins_anew_and_is_written_to_again() {
    let mut group = Group::with(Default::default());
    group.write(1).await;
    group.hall.judge(|_, request| match request.kind {
        Kind::Transfer => Fate::Silence,
        _ => Fate::Answered,
    });
    let first = group.replica(1);
    assert!(!first.hand_over(member(2), Duration::from_millis(1)).await.unwrap());
    let error = group.try_write(1).await;
    assert_eq!(error.outcome(), crate::WriteOutcome::NotStored, "{error}");
    first.restart().await.unwrap();
    assert!(!first.standing().leads);
    group.hall.judge_no_more();
    let leader = group.elect(Some(1)).await;
    group.write(leader).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_votes_waits_for_a_voter_that_hears_of_the_death_a_little_later() {
    // A voter waits for a moment, which may be over before this machine gets to it.
    for _ in 0..20 {
        if is_elected_with_one_try().await {
            return;
        }
    }
    panic!("a voter refuses what it hears too early");
}

/// Whether a member is elected that stands once, before the third has heard of the leader's death.
async fn is_elected_with_one_try() -> bool {
    let mut group = Group::with(Default::default());
    for _ in 0..5 {
        group.write(1).await;
    }
    until_known(&group).await;
    group.hall.isolate(1);
    group.replica(2).release(NodeId(1)).await.unwrap();
    let (asked, arrived) = tokio::sync::oneshot::channel();
    let mut asked = Some(asked);
    group.hall.judge(move |to, request| {
        if (to, request.kind) == (NodeId(3), Kind::PreVote)
            && let Some(asked) = asked.take()
        {
            let _ = asked.send(());
        }
        Fate::Answered
    });
    group.replica(2).stand().await.unwrap();
    arrived.await.unwrap();
    group.replica(3).release(NodeId(1)).await.unwrap();
    let second = group.replica(2);
    let is_elected =
        tokio::time::timeout(Duration::from_secs(2), until_leads(&second)).await.is_ok();
    group.hall.judge_no_more();
    group.hall.heal();
    if is_elected {
        group.write(2).await;
        group.judge().await;
    }
    group.end().await;
    is_elected
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_prove_it_is_deserted_until_it_can() {
    let mut group = Group::with(Default::default());
    group.write(1).await;
    until_known(&group).await;
    let second = group.replica(2);
    second.desert(member(3)).await.unwrap();
    assert!(second.standing().vote.unwrap().is_elected, "it leads nothing");
    second.desert(member(1)).await.unwrap();
    let standing = second.standing();
    assert!(standing.is_deserted && !standing.vote.unwrap().is_elected);
    second.rejoin();
    assert!(second.standing().vote.unwrap().is_elected);
    // Two that have deserted it elect another, without anybody's death.
    for id in [2, 3] {
        group.replica(id).desert(member(1)).await.unwrap();
    }
    until_elected(&second).await;
    group.write(2).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_broke_off_is_replaced_by_whatever_needs_it_next() {
    let mut group = Group::with(Default::default());
    group.write(1).await;
    until_known(&group).await;
    let second = group.replica(2);
    second.running().await.unwrap().raft.shutdown().await.unwrap();
    // The third has no majority without it.
    group.kill(1).await;
    for id in [2, 3] {
        group.replica(id).release(NodeId(1)).await.unwrap();
    }
    let third = group.replica(3);
    until_elected(&third).await;
    group.write(3).await;
    group.start(1);
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_more_stands_as_soon_as_one_asks_that_has_less() {
    let mut group = Group::new();
    group.write(1).await;
    until_known(&group).await;
    group.hall.isolate(3);
    group.write(1).await;
    group.kill(1).await;
    group.hall.heal();
    for id in [2, 3] {
        group.replica(id).release(NodeId(1)).await.unwrap();
    }
    // Nobody has the other one stand.
    group.replica(3).stand().await.unwrap();
    until_leads(&group.replica(2)).await;
    group.write(2).await;
    group.start(1);
    group.judge().await;
    group.end().await;
}
