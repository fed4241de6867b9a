//! A group of one that gets more members.

use super::{
    several::{Group, LONG, NODES},
    *,
};
use std::collections::BTreeSet;

fn member(node: u32) -> MemberId {
    MemberId::first(NodeId(node))
}

fn all() -> BTreeSet<MemberId> {
    NODES.into_iter().map(member).collect()
}

/// Waits until the leader has seen that these have nearly everything.
async fn until_caught_up(replica: &Arc<Replica>, wanted: &BTreeSet<MemberId>) {
    let caught_up = async {
        while !replica.caught_up().is_superset(wanted) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, caught_up).await.expect("they never catch up");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_one_grows_while_it_is_written_to_and_outlives_its_first_member() {
    let mut group = Group::alone();
    for _ in 0..10 {
        group.write(1).await;
    }
    let first = group.replica(1);
    assert_eq!(first.members().voters, BTreeSet::from([member(1)]));
    let alone = first.electors();
    assert!(Arc::ptr_eq(&alone, &first.electors()), "nothing is made anew before it changes");
    for node in [2, 3] {
        first.add_learner(member(node)).await.unwrap();
        group.write(1).await;
    }
    let members = first.members();
    assert_eq!(members.learners, BTreeSet::from([2, 3].map(member)));
    assert!(first.is_of_several() && first.usage().is_none(), "it would rest beside learners");
    until_caught_up(&first, &all()).await;
    first.change_voters(&all()).await.unwrap();
    group.write(1).await;
    assert_eq!((alone.members().len(), first.electors().members()), (1, &all()));
    assert_eq!(first.members(), Members { voters: all(), is_settled: true, ..Members::default() });

    group.kill(1).await;
    let leader = group.elect(Some(1)).await;
    group.write(leader).await;
    group.start(1);
    group.write(leader).await;
    group.judge().await;
    group.end().await;
}

/// What was asked twice, or of one that does not lead, changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn members_are_changed_by_the_leader_only_and_once() {
    let mut group = Group::alone();
    group.write(1).await;
    let first = group.replica(1);
    first.add_learner(member(2)).await.unwrap();
    first.add_learner(member(2)).await.unwrap();
    assert_eq!(first.members().learners, BTreeSet::from([member(2)]));
    assert!(first.change_voters(&all()).await.is_err(), "3 does not follow");
    until_caught_up(&first, &[1, 2].map(member).into()).await;
    let second = group.replica(2);
    assert!(second.add_learner(member(3)).await.is_err());
    assert!(second.caught_up().is_empty());
    group.end().await;
}
