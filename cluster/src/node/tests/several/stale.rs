//! Reads that may be old.

use super::*;

/// What a question finds that may be so old, and how old it says that it may be.
async fn stale(
    node: &Arc<Node>,
    table: TableId,
    max: Duration,
) -> oribi_model::Result<(Vec<(i64, i64)>, Duration)> {
    let node = node.clone();
    let read = move || {
        let question = node.begin(Consistency::Stale(max))?.unwrap();
        let mut rows = rows_by(&*question, table);
        rows.sort_unstable();
        let reading = question.reading().unwrap();
        assert!(reading.nodes >= 1);
        Ok((rows, reading.staleness.unwrap()))
    };
    tokio::task::spawn_blocking(read).await.unwrap()
}

const HOUR: Duration = Duration::from_secs(3_600);

/// Asks until the node knows how old its replicas are.
async fn known(node: &Arc<Node>, table: TableId) -> Vec<(i64, i64)> {
    loop {
        match stale(node, table, HOUR).await {
            Ok((rows, _)) => return rows,
            Err(oribi_model::Error::TooStale { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_asks_nobody_and_is_refused_once_it_is_too_old() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (other, leader) = three.pair(GroupId(tablet.0)).await;
    let node = three.node(other);
    assert_eq!(read(&node, table).await, [(time, 1)]);
    // From here on it is alone.
    three.see(move |from, to, _| match from.0 == other || to.0 == other {
        true => Way::Shut,
        false => Way::Open,
    });
    three.node(leader).write(tablet, batch(table, &[time + 1], 2)).await.unwrap();
    let (rows, age) = stale(&node, table, HOUR).await.unwrap();
    assert_eq!(rows, [(time, 1)], "what was acked since cannot be here");
    assert!(age > Duration::ZERO);
    let error = stale(&node, table, Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, oribi_model::Error::TooStale { .. }), "{error}");
    assert!(error.is_retryable() && error.to_string().contains("staleness_max is 0 ms"), "{error}");
    // Once it hears the others again, nothing is too old.
    three.see_nothing();
    let rows = loop {
        match stale(&node, table, Duration::ZERO).await {
            Ok((rows, age)) => {
                assert_eq!(age, Duration::ZERO);
                break rows;
            }
            Err(_) => tokio::task::yield_now().await,
        }
    };
    assert_eq!(rows, [(time, 1), (time + 1, 2)]);
    three.kill(leader).await;
    assert_eq!(stale(&node, table, HOUR).await.unwrap().0.len(), 2, "without any leader");
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_follower_that_comes_back_learns_what_was_committed() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 2).await;
    for (tablet, time) in &tablets {
        three.node(1).write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    let (other, _) = three.pair(GroupId(tablets[0].0.0)).await;
    three.kill(other).await;
    three.start(other).await;
    let node = three.node(other);
    // Nothing is written, and nobody asks for anything current.
    loop {
        let applied = |(tablet, _): &(TabletId, i64)| {
            node.hosting.get(*tablet).is_some_and(|hosted| hosted.tablet.stats().rows == 1)
        };
        if tablets.iter().all(applied) {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(known(&node, table).await.len(), 2);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_read_of_what_is_elsewhere_says_how_old_it_is_there() {
    let three = Three::open_with(alone_in_turn).await;
    let (table, tablets) = tablets(&three.node(1), 3).await;
    let node = three.node(2);
    node.catalog_now().await.unwrap();
    for (tablet, time) in &tablets {
        node.write(*tablet, batch(table, &[*time], 1)).await.unwrap();
    }
    assert_eq!(known(&node, table).await.len(), 3);
    three.end().await;
}
