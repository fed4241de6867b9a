//! Replicas that sleep, at each node.

use super::*;

/// The replicas of a group at all nodes, once each has opened its own.
async fn replicas(three: &Three, group: GroupId) -> [Arc<crate::Replica>; 3] {
    loop {
        let open = NODES.iter().filter_map(|id| three.node(*id).replica(group));
        if let Ok(all) = open.collect::<Vec<_>>().try_into() {
            return all;
        }
        tokio::task::yield_now().await;
    }
}

/// Has all replicas of a group sleep at once.
async fn until_asleep(replicas: &[Arc<crate::Replica>]) {
    let nobody = Arc::default();
    while !replicas.iter().all(|replica| replica.is_asleep()) {
        for replica in replicas {
            replica.sleep(Duration::ZERO, &nobody).await;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_sleeps_is_read_asleep_and_wakes_to_be_written() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let replicas = replicas(&three, GroupId(tablet.0)).await;
    let of = |id| three.node(id).replica(GroupId(tablet.0)).unwrap();
    // What was on its way when all fell asleep may wake one; a question never does.
    let mut tries = 0..10;
    while tries.next().expect("questions wake what sleeps") == 0
        || !replicas.iter().all(|replica| replica.is_asleep())
    {
        until_asleep(&replicas).await;
        for id in NODES {
            assert_eq!(read(&three.node(id), table).await, [(time, 1)], "at node {id}");
        }
    }

    // One sleeps on while the others store a row, and lacks it; unless it got no processor for so long
    // that it doubts its leader.
    let (mut written, mut rows) = (1..101, vec![(time, 1)]);
    let other = loop {
        let at = written.next().expect("writes among others wake what sleeps");
        let (other, leader) = three.pair(GroupId(tablet.0)).await;
        until_asleep(&replicas).await;
        three.see(move |_, to, request| match request.kind {
            Kind::Append | Kind::Vote | Kind::PreVote if to == NodeId(other) => Way::Shut,
            _ => Way::Open,
        });
        three.node(leader).write(tablet, batch(table, &[time + at], at)).await.unwrap();
        rows.push((time + at, at));
        let sleeps_on = of(other).is_asleep();
        three.see_nothing();
        if sleeps_on {
            break other;
        }
    };
    assert_eq!(read(&three.node(other), table).await, rows);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_lags_keeps_its_leader_awake_and_a_late_vote_finds_it() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let at_first = replicas(&three, GroupId(tablet.0)).await;
    let (other, leader) = three.pair(GroupId(tablet.0)).await;
    let of = |three: &Three, id| three.node(id).replica(GroupId(tablet.0)).unwrap();
    until_asleep(&at_first).await;
    three.see(move |_, to, request| match request.kind {
        Kind::Append | Kind::Vote | Kind::PreVote if to == NodeId(other) => Way::Shut,
        _ => Way::Open,
    });
    three.node(leader).write(tablet, batch(table, &[time + 1], 2)).await.unwrap();
    assert!(!of(&three, leader).sleep(Duration::ZERO, &Arc::default()).await, "one lacks a row");
    three.see_nothing();

    until_asleep(&NODES.map(|id| of(&three, id))).await;
    three.kill(leader).await;
    three.node(other).write(tablet, batch(table, &[time + 2], 3)).await.unwrap();
    let rows = [(time, 1), (time + 1, 2), (time + 2, 3)];
    assert_eq!(read(&three.node(other), table).await, rows);
    three.end().await;
}
