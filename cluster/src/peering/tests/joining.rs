//! Coming into a cluster, and coming back.

use super::*;
use crate::join::{Answer, Ask, Asked, Who, ask};
use std::io::{Read, Write};

fn node_of(one: &Running) -> u32 {
    one.node.identity().node.0
}

#[tokio::test(flavor = "multi_thread")]
async fn all_may_come_back_elsewhere_at_once() {
    let disks = [disk(0), disk(1), disk(2)];
    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&one.address]).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    let cluster = one.node.identity().cluster;
    assert_eq!([&one, &two, &three].map(node_of), [1, 2, 3]);
    stop(vec![one, two, three]).await;

    // Nobody is where the catalog says; all know the address of the first.
    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&one.address]).await.unwrap();
    let all = [&one, &two, &three];
    for node in all {
        assert_eq!(node.node.identity().cluster, cluster);
        until("the catalog says where everybody is", || {
            let catalog = node.node.catalog();
            all.iter().all(|other| {
                let record = catalog.node(other.node.identity().node);
                record.is_some_and(|record| record.presence.addresses.node == other.address)
            })
        })
        .await;
    }
    stop(vec![one, two, three]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_waits_for_a_cluster_that_is_not_there_yet() {
    let (listener, address) = bind();
    drop(listener);
    let (disk, told) = (disk(1), Arc::new(tokio::sync::Notify::new()));
    let (taking, own) = bind();
    let taking = tokio::net::TcpListener::from_std(taking).unwrap();
    let (options, notify) = (options(&own, &[&address]), told.clone());
    let waiting = tokio::spawn({
        let disk = disk.clone();
        async move {
            let tell = move |_| notify.notify_one();
            join("/data".into(), Arc::new(disk), &taking, &options, tell).await
        }
    });
    told.notified().await;
    // Somebody who asks it meanwhile waits too.
    assert!(matches!(
        follow_once(&own, &super::options("x", &[])).await,
        Asked::Answered(Answer::Later { .. })
    ));
    let listener = TcpListener::bind(&address).unwrap();
    listener.set_nonblocking(true).unwrap();
    let founder = SimDisk::new();
    let (clock, opts) = (Arc::new(SystemClock), NodeOptions::default());
    let node = Node::open("/data".into(), opts, Arc::new(founder), clock).await.unwrap();
    let peering = Peering::start(node.clone(), listener, super::options(&address, &[])).unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(node.catalog().nodes().count(), 2);
    peering.stop().await;
}

async fn follow_once(address: &str, options: &JoinOptions) -> Asked {
    let nonce = crate::JoinNonce(99);
    let body = Ask::new(Who::New { nonce }, options.presence(crate::Boot(0))).encode();
    ask(address, &options.tls(None).unwrap(), body, |_| false).await
}

/// As if the node had crashed between the answer and its identity: it asks again with the same wish.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_again_gets_the_same_id() {
    let one = start(&SimDisk::new(), &[]).await.unwrap();
    let options = options("x", &[]);
    let first = follow_once(&one.address, &options).await;
    let Asked::Answered(Answer::Joined { node, cluster }) = first.clone() else {
        panic!("{first:?}")
    };
    assert_eq!((node, cluster), (NodeId(2), one.node.identity().cluster));
    assert_eq!(follow_once(&one.address, &options).await, first);
    assert_eq!(one.node.catalog().nodes().count(), 2);
    // One that never comes gets no replicas.
    assert_eq!(one.node.catalog().node(node).unwrap().state, NodeState::Joining);
    let (_, tablet) = table(&one.node).await;
    assert_eq!(one.node.catalog().replicas_of(tablet), [MemberId::first(NodeId(1))]);
    one.peering.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_can_never_be_joined_is_told_by_name() {
    // Somebody who speaks something else.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let stranger = listener.local_addr().unwrap().to_string();
    let speaking = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let _ = socket.read(&mut [0; 8]);
        socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
    });
    let refused = start(&SimDisk::new(), &[&stranger]).await.err().unwrap().to_string();
    assert!(refused.contains(&stranger) && refused.contains("no node of Oribi"), "{refused}");
    speaking.join().unwrap();

    // Itself.
    let (listener, own) = bind();
    let taking = tokio::net::TcpListener::from_std(listener).unwrap();
    let empty = Arc::new(SimDisk::new());
    let own = options(&own, &[&own]);
    let itself = join("/data".into(), empty.clone(), &taking, &own, |_| {});
    let refused = itself.await.unwrap_err().to_string();
    assert!(refused.contains("this node itself"), "{refused}");
    // It has not become one that could be opened alone by mistake.
    let clock = Arc::new(SystemClock);
    let alone = Node::open("/data".into(), NodeOptions::default(), empty, clock).await;
    assert!(alone.err().unwrap().to_string().contains("JOIN"));

    // Another cluster than the directory's.
    let (theirs, ours) = (disk(0), disk(1));
    let (one, other) = (start(&theirs, &[]).await.unwrap(), start(&ours, &[]).await.unwrap());
    let clusters = [&one, &other].map(|node| node.node.identity().cluster.to_string());
    let address = one.address.clone();
    other.peering.stop().await;
    let refused = start(&ours, &[&address]).await.err().unwrap().to_string();
    assert!(clusters.iter().all(|cluster| refused.contains(cluster)), "{refused}");
    one.peering.stop().await;
}
