//! Reads at any node.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_read_at_a_follower_has_every_row_that_was_acked_before() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 2).await;
    for round in 0..40 {
        let (writer, reader) = (NODES[round as usize % 3], NODES[(round as usize + 1) % 3]);
        let (tablet, time) = tablets[round as usize % 2];
        let node = three.node(writer);
        node.catalog_now().await.unwrap();
        node.write(tablet, batch(table, &[time + round], round)).await.unwrap();
        let seen = read(&three.node(reader), table).await;
        assert!(seen.contains(&(time + round, round)), "round {round} at node {reader}");
    }
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_groups_are_asked_in_one_frame_for_each_leader() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    let node = three.node(2);
    node.catalog_now().await.unwrap();
    for (tablet, time) in &tablets {
        node.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let frames = Arc::<Mutex<Vec<NodeId>>>::default();
    let seen = frames.clone();
    three.see(move |_, to, request| {
        if request.kind == Kind::ReadIndex {
            seen.lock().push(to);
        }
        Way::Open
    });
    let ids: Vec<_> = tablets.iter().map(|(tablet, _)| *tablet).collect();
    node.current(&ids).await.unwrap();
    let mut frames = frames.lock().clone();
    frames.sort_unstable();
    assert_eq!(frames, [NodeId(1), NodeId(3)]);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_without_a_majority_fails_and_is_no_shorter_answer() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (other, leader) = three.pair(GroupId(tablet.0)).await;
    let third = NODES.into_iter().find(|id| *id != other && *id != leader).unwrap();
    three.kill(third).await;
    three.kill(leader).await;
    let error = three.node(other).current(&[tablet]).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { group, .. } if group == tablet.0), "{error}");
    three.end().await;
}
