//! A replica that another one follows on its node: nothing of it is ever taken for the next one's.

use super::*;
use crate::{Boot, Incarnation, MemberId, NodeAddresses, Presence};
use std::path::Path;

const SECOND: MemberId = MemberId { node: NodeId(1), incarnation: Incarnation(1) };

/// A node whose only replica, with rows in a segment and in the log, is to be made anew.
async fn to_be_made_anew(disk: &SimDisk) -> (Arc<Node>, TabletId) {
    let node = open(disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW], 1).await.unwrap();
    node.compact().await.unwrap();
    write(&node, table, &[NOW + 1], 2).await.unwrap();
    let presence = Presence {
        addresses: NodeAddresses::default(),
        version: String::new(),
        boot: Boot(1),
        pin: None,
    };
    node.change(Change::AnnounceNode { node: NodeId(1), presence }).await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id;
    let from = vec![MemberId::FIRST];
    node.change(Change::MoveReplicas { tablet, from, to: vec![NodeId(1)] }).await.unwrap();
    (node, tablet)
}

/// Lets go of what is misplaced, as far as the disk goes along.
async fn let_go(node: &Arc<Node>) -> Result<()> {
    for moved in node.hosting.take_moved(&node.catalog()) {
        if let Some(hosted) = &moved.hosted {
            hosted.replica.close().await;
            hosted.tablet.close();
        }
        let node = node.clone();
        blocking(move || node.hosting.let_go(&moved)).await?;
    }
    Ok(())
}

fn is_second_and_empty(node: &Node, tablet: TabletId) {
    let hosted = node.hosting.get(tablet).expect("it is to be here");
    assert_eq!((hosted.replica.member(), hosted.tablet.stats().rows), (SECOND, 0));
    assert_eq!((hosted.tablet.flushed(), hosted.replica.voted_for()), (None, None));
    let log = &node.hosting.log;
    assert!(
        log.admit(GroupId(tablet.0), 0).is_err() && log.tombstone(GroupId(tablet.0)) == Some(0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_begins_with_nothing_of_the_one_before_wherever_power_goes() {
    for operation in 0.. {
        let disk = SimDisk::new();
        let (node, tablet) = to_be_made_anew(&disk).await;
        assert!(node.hosting.has_misplaced(&node.catalog()));
        if operation > 0 {
            disk.crash_at(disk.operations() + operation);
            let done = let_go(&node).await.is_ok() && !disk.crashed();
            node.stop().await;
            let node = open(&disk.reboot(0), &clock()).await.unwrap();
            is_second_and_empty(&node, tablet);
            assert!(!node.hosting.has_misplaced(&node.catalog()));
            node.stop().await;
            if done {
                println!("a removal: the power went at {operation} operations");
                assert!(operation > 2);
                return;
            }
        } else {
            // While the node runs on, and after it has started anew without that.
            let_go(&node).await.unwrap();
            node.hosting.serving(tablet, &node.catalog).unwrap();
            is_second_and_empty(&node, tablet);
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_damaged_is_kept_beside_its_place() {
    let disk = SimDisk::new();
    let (node, tablet) = to_be_made_anew(&disk).await;
    let segment = Path::new("/data/tablets").join(tablet.to_string()).join("00000001.seg");
    let file = disk.open(&segment).unwrap();
    file.write_at(&[0xff; 8], 60).unwrap();
    let hosted = node.hosting.get(tablet).unwrap();
    assert!(hosted.tablet.scrub(|_| true).is_err() && node.hosting.broken().len() == 1);
    let_go(&node).await.unwrap();
    let names = disk.list(Path::new("/data/tablets")).unwrap();
    assert_eq!(names, [format!("{tablet}.damaged-1")]);
    assert!(node.hosting.broken().is_empty());
    node.stop().await;
}
