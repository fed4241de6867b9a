//! Changes, writes and deletes from nodes that do not lead.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn any_node_takes_any_change_and_write_and_sees_it_at_once() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(3), 3).await;
    let mut expected = BTreeSet::new();
    for (round, id) in (0..).zip(NODES) {
        let node = three.node(id);
        // What node 3 has changed may not have come here yet.
        node.catalog_now().await.unwrap();
        assert!(node.catalog().table("default", "m").is_some());
        let parts = tablets.iter().map(|(tablet, time)| {
            expected.insert((time + round, round));
            (*tablet, batch(table, &[time + round], round))
        });
        for outcome in node.write_many(parts.collect()).await {
            assert_eq!(outcome.unwrap(), 1);
        }
    }
    for id in NODES {
        let node = three.node(id);
        let seen: BTreeSet<_> = read(&node, table).await.into_iter().collect();
        assert_eq!(seen, expected, "at node {id}");
    }
    let all = TimeRange::ALL;
    three.node(2).delete(table, all, oribi_model::TagPredicate::Always).await.unwrap();
    for id in NODES {
        assert_eq!(read(&three.node(id), table).await, [], "at node {id}");
    }
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tablets_of_one_request_that_one_node_leads_go_there_in_one_frame() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    let from = three.node(2);
    from.catalog_now().await.unwrap();
    for (tablet, time) in &tablets {
        from.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let frames = Arc::<Mutex<Vec<(NodeId, usize)>>>::default();
    let (seen, frame) = (frames.clone(), frames.clone());
    three.see(move |from, to, request| {
        if request.kind == Kind::Write {
            assert_eq!(from, NodeId(2));
            let asked = wire::decode_commands(request.body.clone()).unwrap();
            frame.lock().push((to, asked.parts.len()));
        }
        Way::Open
    });
    let parts = tablets.iter().map(|(tablet, time)| (*tablet, batch(table, &[time + 1], 2)));
    for outcome in from.write_many(parts.collect()).await {
        assert_eq!(outcome.unwrap(), 1);
    }
    let mut frames = frames.lock().clone();
    frames.sort_unstable();
    let led = |id: u32| {
        let founder = |(tablet, _): &&(TabletId, i64)| {
            assignment(GroupId(tablet.0)).founder().node == NodeId(id)
        };
        (NodeId(id), tablets.iter().filter(founder).count())
    };
    let expected: Vec<_> = [led(1), led(3)].into_iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(frames, expected);

    // So they do where the request is several writes at once, as those of several tables are.
    seen.lock().clear();
    let write = |(tablet, time): &(TabletId, i64)| {
        let part = (*tablet, batch(table, &[time + 2], 3));
        let from = from.clone();
        async move { from.write_many(vec![part]).await }
    };
    let writes =
        tokio::spawn(futures::future::join_all(tablets.iter().map(write).collect::<Vec<_>>()));
    for outcome in writes.await.unwrap().into_iter().flatten() {
        assert_eq!(outcome.unwrap(), 1);
    }
    let mut frames = seen.lock().clone();
    frames.sort_unstable();
    assert_eq!(frames, expected);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_whose_answer_is_lost_is_unknown_and_not_sent_again() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (other, leader) = three.pair(GroupId(tablet.0)).await;
    let node = three.node(other);
    node.catalog_now().await.unwrap();
    let count = Arc::<AtomicU64>::default();
    let seen = count.clone();
    three.see(move |_, _, request| match request.kind {
        Kind::Write => {
            seen.fetch_add(1, Ordering::Relaxed);
            Way::Deaf
        }
        _ => Way::Open,
    });
    let error = node.write(tablet, batch(table, &[time + 1], 2)).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    assert_eq!(count.load(Ordering::Relaxed), 1);
    three.see_nothing();
    // This one was stored.
    let rows = read(&three.node(leader), table).await;
    assert_eq!(rows, [(time, 1), (time + 1, 2)]);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_part_of_a_request_has_an_outcome_of_its_own() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 4).await;
    let from = three.node(2);
    from.catalog_now().await.unwrap();
    let dropped = tablets[3].0;
    for (tablet, time) in &tablets {
        from.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    three.node(1).change(Change::DropTablets { tablets: vec![dropped] }).await.unwrap();
    // Whoever leads it has to know.
    for id in NODES {
        three.node(id).catalog_now().await.unwrap();
    }
    let deaf = NodeId(3);
    three.see(move |_, to, request| match request.kind {
        Kind::Write if to == deaf => Way::Deaf,
        _ => Way::Open,
    });
    let parts = tablets.iter().map(|(tablet, time)| (*tablet, batch(table, &[time + 1], 2)));
    let outcomes = from.write_many(parts.collect()).await;
    for ((tablet, _), outcome) in tablets.iter().zip(outcomes) {
        let founder = assignment(GroupId(tablet.0)).founder().node;
        match outcome {
            outcome if founder == deaf => {
                assert_eq!(outcome.unwrap_err().outcome(), WriteOutcome::Unknown);
            }
            Err(Error::NoTablet(gone)) => assert_eq!((gone, dropped), (*tablet, *tablet)),
            outcome => assert!(*tablet != dropped && outcome.unwrap() == 1),
        }
    }
    three.see_nothing();
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_costs_its_writers_time_and_nothing_acked() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 3).await;
    for id in NODES {
        three.node(id).catalog_now().await.unwrap();
    }
    // The last acked value of each key, and values that may have come after it.
    let acked = Arc::<Mutex<BTreeMap<i64, i64>>>::default();
    let perhaps = Arc::<Mutex<BTreeSet<(i64, i64)>>>::default();
    let dead = NODES[tablets[0].0.0 as usize % NODES.len()];
    let living: Vec<u32> = NODES.into_iter().filter(|id| *id != dead).collect();
    let mut writers = JoinSet::new();
    let killed = Arc::new(AtomicBool::new(false));
    for (at, id) in living.iter().enumerate() {
        let (node, tablets) = (three.node(*id), tablets.clone());
        let (acked, perhaps, killed) = (acked.clone(), perhaps.clone(), killed.clone());
        writers.spawn(async move {
            let (mut value, mut after) = (at as i64, 0);
            while after < 20 {
                value += 2;
                after += i64::from(killed.load(Ordering::Relaxed));
                let times = tablets.iter().map(|(tablet, time)| (*tablet, time + at as i64));
                let times: Vec<_> = times.collect();
                let parts = times.iter().map(|(tablet, time)| {
                    perhaps.lock().insert((*time, value));
                    (*tablet, batch(table, &[*time], value))
                });
                let outcomes = node.write_many(parts.collect()).await;
                for ((_, time), outcome) in times.iter().zip(outcomes) {
                    match outcome {
                        Ok(_) => drop(acked.lock().insert(*time, value)),
                        Err(error) => assert!(error.is_retryable(), "{error}"),
                    }
                }
            }
        });
    }
    while acked.lock().len() < 3 * living.len() {
        tokio::task::yield_now().await;
    }
    three.kill(dead).await;
    killed.store(true, Ordering::Relaxed);
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    let (acked, perhaps) = (acked.lock().clone(), perhaps.lock().clone());
    for id in living {
        for (time, value) in read(&three.node(id), table).await {
            assert!(value >= acked[&time], "node {id}: {value} at {time} after {}", acked[&time]);
            assert!(perhaps.contains(&(time, value)));
        }
    }
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_without_a_majority_appends_nothing() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let group = GroupId(tablet.0);
    let (other, leader) = three.pair(group).await;
    let third = NODES.into_iter().find(|id| *id != other && *id != leader).unwrap();
    three.kill(third).await;
    three.kill(other).await;
    let end = |three: &Three| three.node(leader).hosting.log.group(group).unwrap().entries.end;
    let before = end(&three);
    let error = three.node(leader).write(tablet, batch(table, &[time + 1], 2)).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::NotStored, "{error}");
    assert_eq!(end(&three), before);
    three.start(other).await;
    three.node(leader).write(tablet, batch(table, &[time + 2], 3)).await.unwrap();
    assert_eq!(read(&three.node(other), table).await, [(time, 1), (time + 2, 3)]);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_ranges_may_be_made_on_all_nodes_at_once() {
    let three = Three::open().await;
    let mut writers = JoinSet::new();
    for (at, id) in (0..).zip(NODES) {
        let node = three.node(id);
        writers.spawn(async move {
            let mut acked = Vec::new();
            for round in 0..8 {
                let time = NOW - round * 40 * NS_PER_DAY + at;
                let table = table(&node).await.unwrap();
                // Another node may have cut the same time in another way.
                while node.catalog().tablets_at(table, time).is_empty() {
                    node.cover(table, &[time], |wanted| wanted.count).await.unwrap();
                }
                let tablet = node.catalog().tablets_at(table, time)[0].id;
                node.write(tablet, batch(table, &[time], at)).await.unwrap();
                acked.push((time, at));
            }
            acked
        });
    }
    let mut acked: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
    acked.sort_unstable();
    for id in NODES {
        let table = three.node(id).catalog_now().await.unwrap().table("default", "m").unwrap().id;
        assert_eq!(read(&three.node(id), table).await, acked, "at node {id}");
    }
    three.end().await;
}
