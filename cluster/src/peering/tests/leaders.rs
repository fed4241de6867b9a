//! Who leads how much: nobody who is about to go, and all about as much.

use super::*;
use crate::testing::{Gate, HeldDisk};
use oribi_model::TabletSpec;
use oribi_store::log::GroupId;

/// Three nodes that have some tablets; the syncs of the first go through the gate.
async fn three(gate: &Gate) -> (Vec<Running>, TableId) {
    let held = HeldDisk(disk(0), gate.clone());
    let one = start_on(Arc::new(held), &[]).await.unwrap();
    let two = start(&disk(1), &[&one.address]).await.unwrap();
    let three = start(&disk(2), &[&one.address]).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    let (table, _) = table(&one.node).await;
    let ranges = (1..=6).map(|at| TimeRange::new(at << 60, (at << 60) + 10)).collect();
    one.node
        .change(Change::CreateTablets { table, ranges, buckets: 1, away: Vec::new() })
        .await
        .unwrap();
    let all = vec![one, two, three];
    for group in groups(&all[0]) {
        until("it is led", || all.iter().any(|one| leads(one, group))).await;
    }
    (all, table)
}

fn groups(one: &Running) -> Vec<GroupId> {
    let tablets = one.node.catalog().tablets().map(|spec| GroupId(spec.id.0)).collect::<Vec<_>>();
    tablets.into_iter().chain([CATALOG_GROUP]).collect()
}

fn leads(one: &Running, group: GroupId) -> bool {
    one.node.replica(group).is_some_and(|replica| replica.standing().leads)
}

/// Writes until that is acked: a machine with much to do may suspect anybody.
async fn write(one: &Running, tablet: TabletId, batch: RowBatch) {
    let writing = async {
        while one.node.write(tablet, batch.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, writing).await.expect("it is never acked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_leads_nothing_before_it_is_resumed() {
    let (all, table) = three(&Gate::default()).await;
    let view = all[0].peering.view();
    while view.leave_lead().await > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(view.led(), 0);
    for other in &all[1..] {
        let seen = || other.peering.view().nodes().into_iter().find(|node| node.id == NodeId(1));
        until("the others know", || seen().is_some_and(|node| node.leaves_lead)).await;
    }
    let catalog = all[0].node.catalog();
    for (time, spec) in (5..).zip(catalog.tablets()) {
        let time = if spec.range.contains(time) { time } else { spec.range.start };
        write(&all[0], spec.id, batch(table, time)).await;
        assert!(!leads(&all[0], GroupId(spec.id.0)));
    }
    view.resume_lead();
    for other in &all[1..] {
        let seen = || other.peering.view().nodes().into_iter().find(|node| node.id == NodeId(1));
        until("the others know", || seen().is_some_and(|node| !node.leaves_lead)).await;
    }
    stop(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_has_handed_over_what_it_led() {
    let (mut all, _) = three(&Gate::default()).await;
    let groups = groups(&all[0]);
    let first = all.remove(0);
    first.peering.stop().await;
    // Who takes them is not waited for without end.
    let handed = groups.into_iter().filter(|group| {
        let votes = all.iter().filter_map(|one| one.node.replica(*group)?.standing().vote);
        votes.max().is_some_and(|newest| newest.member.node != NodeId(1))
    });
    assert!(handed.count() > 0);
    stop(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_leads_whose_disk_stalls_others_lead() {
    let gate = Gate::default();
    let (all, table) = three(&gate).await;
    gate.hold();
    for group in groups(&all[0]) {
        until("another leads it", || all[1..].iter().any(|one| leads(one, group))).await;
    }
    // It appends nothing, whatever it takes itself for, and has others do it.
    let spec = *all[0].node.catalog().tablets().next().unwrap();
    for one in [&all[1], &all[0]] {
        write(one, spec.id, batch(table, spec.range.start.max(5))).await;
    }
    gate.release();
    let view = all[1].peering.view();
    until("it is trusted again", || view.trusts(NodeId(1))).await;
    stop(all).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tablets_are_led_while_a_node_is_away() {
    let (mut all, table) = three(&Gate::default()).await;
    stop(vec![all.remove(2)]).await;
    until("it is missed", || all.iter().all(|one| !one.peering.view().trusts(NodeId(3)))).await;
    let catalog = all[0].node.catalog();
    let known: BTreeSet<TabletId> = catalog.tablets().map(|spec| spec.id).collect();
    let times: Vec<i64> = (20..40).map(|at| at << 57).collect();
    let covered = all[0].node.cover(table, &times, |wanted| wanted.count).await.unwrap();
    let new: Vec<_> = covered.catalog.tablets().filter(|spec| !known.contains(&spec.id)).collect();
    assert!(new.len() > 3, "{}", new.len());
    for spec in new {
        assert_eq!(covered.catalog.replicas_of(spec.id).len(), 3);
        write(&all[0], spec.id, batch(table, spec.range.start)).await;
    }
    stop(all).await;
}

/// Whether anybody asks a group for anything.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Now,
    /// Not for long: all of it sleeps.
    Never,
}

/// Has the catalog put another replica in the place of the one that leads, and waits until the group has three voters
/// again.
async fn replace_leader(all: &[Running], (table, spec): (TableId, TabletSpec), asked: Asked) {
    let (tablet, group) = (spec.id, GroupId(spec.id.0));
    write(&all[0], tablet, batch(table, spec.range.start.max(5))).await;
    let replica_at = |one: &Running| one.node.replica(group);
    until("each has its replica", || all.iter().all(|one| replica_at(one).is_some())).await;
    let replicas: Vec<_> = all.iter().filter_map(replica_at).collect();
    let leader = loop {
        let votes = replicas.iter().filter_map(|replica| replica.standing().vote);
        let elected: BTreeSet<_> = votes.filter(|vote| vote.is_elected).collect();
        let is_asleep = replicas.iter().all(|replica| replica.is_asleep());
        if let (Some(vote), 1) = (elected.first(), elected.len())
            && (asked == Asked::Now || is_asleep)
        {
            break vote.member;
        }
        for replica in replicas.iter().filter(|_| asked == Asked::Never) {
            replica.sleep(Duration::ZERO, &Arc::default()).await;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let change = Change::MoveReplicas { tablet, from: vec![leader], to: vec![leader.node] };
    all[0].node.change(change).await.unwrap();
    let is_replaced = || {
        let catalog = all[0].node.catalog();
        let newest = catalog.replica_on(tablet, leader.node);
        let gone = catalog.leaving(tablet).is_empty() && newest.is_some_and(|now| now != leader);
        gone && catalog.is_settled(tablet) && catalog.replicas_of(tablet).len() == 3
    };
    until("three vote again", is_replaced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_is_replaced_on_its_node_whether_its_group_sleeps_or_not() {
    let (all, table) = three(&Gate::default()).await;
    let catalog = all[0].node.catalog();
    let specs: Vec<TabletSpec> = catalog.tablets().copied().collect();
    let replacing = specs[..4].iter().zip([Asked::Now, Asked::Never].into_iter().cycle());
    let replacing = replacing.map(|(spec, asked)| replace_leader(&all, (table, *spec), asked));
    futures::future::join_all(replacing).await;
    stop(all).await;
}
