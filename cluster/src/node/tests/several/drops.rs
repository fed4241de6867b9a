//! Drops while a node does not hear of them.

use super::*;
use crate::{
    Change,
    route::scan::{AsOf, Wish},
};
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Notify;

fn is_follow(request: &Request) -> bool {
    request.kind == Kind::Ask
        && matches!(Wish::decode(&request.body), Some((AsOf { .. }, Wish::Follow(_))))
}

fn drop_it(tablet: TabletId) -> Change {
    Change::DropTablets { tablets: vec![tablet] }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_is_acked_once_a_majority_has_let_go() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (asked, shut) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(true)));
    let (told, is_shut) = (asked.clone(), shut.clone());
    three.see(move |_, _, request| {
        if !is_follow(request) || !is_shut.load(Ordering::SeqCst) {
            return Way::Open;
        }
        told.notify_one();
        Way::Shut
    });
    let node = three.node(1);
    let dropping = tokio::spawn(async move { node.change(drop_it(tablet)).await });
    // Asked again and again, and nobody answers.
    for _ in 0..6 {
        asked.notified().await;
    }
    assert!(!dropping.is_finished(), "nobody else has said that it let go");
    shut.store(false, Ordering::SeqCst);
    dropping.await.unwrap().unwrap();
    let closed =
        NODES.into_iter().filter(|id| three.node(*id).replica(GroupId(tablet.0)).is_none());
    assert!(closed.count() >= 2);
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_not_heard_of_a_drop_acks_nothing_after_it() {
    let three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 6).await;
    for id in NODES {
        three.node(id).catalog_now().await.unwrap();
    }
    let mut led_elsewhere = None;
    for (tablet, time) in &tablets {
        three.node(1).write(*tablet, batch(table, &[*time], 1)).await.unwrap();
        let (_, leader) = three.pair(GroupId(tablet.0)).await;
        let (_, of_catalog) = three.pair(CATALOG_GROUP).await;
        if leader != of_catalog {
            led_elsewhere = Some((*tablet, *time, leader, of_catalog));
        }
    }
    let (tablet, time, leader, of_catalog) = led_elsewhere.unwrap();
    // The leader hears nothing of the catalog any more.
    three.see(move |_, to, request| {
        let of_catalog = request.kind == Kind::Append && request.group == CATALOG_GROUP;
        let is_cut = to.0 == leader && (of_catalog || is_follow(request));
        if is_cut { Way::Shut } else { Way::Open }
    });
    three.node(of_catalog).change(drop_it(tablet)).await.unwrap();
    let lagging = three.node(leader);
    assert!(lagging.catalog().tablet(tablet).is_some(), "it has not heard of it");
    let outcome = lagging.write(tablet, batch(table, &[time + 1], 2)).await;
    assert!(outcome.is_err(), "an acked row that nobody will find");
    three.see_nothing();
    lagging.catalog_now().await.unwrap();
    assert!(matches!(
        lagging.write(tablet, batch(table, &[time + 2], 3)).await,
        Err(Error::NoTablet(_))
    ));
    three.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_that_too_few_let_go_of_is_not_acked() {
    let mut three = Three::open().await;
    let (table, tablets) = tablets(&three.node(1), 1).await;
    let (tablet, time) = tablets[0];
    three.node(1).write(tablet, batch(table, &[time], 1)).await.unwrap();
    let (_, of_catalog) = three.pair(CATALOG_GROUP).await;
    let others: Vec<u32> = NODES.into_iter().filter(|id| *id != of_catalog).collect();
    three.kill(others[0]).await;
    let node = three.node(of_catalog);
    three.see(|_, _, request| if is_follow(request) { Way::Shut } else { Way::Open });
    let error = node.change(drop_it(tablet)).await.unwrap_err();
    assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    // Whoever tries again is told that there is nothing left, or that it is done.
    three.see_nothing();
    assert!(node.catalog().tablet(tablet).is_none());
    three.end().await;
}
