//! Who is let in by what it has, and who is not.

use super::*;
use crate::{
    Boot, Change, ClusterKeyId, JoinNonce, NodeIdentity, Presence,
    node::leave,
    secured::{ClusterKey, JoinPass, NodeTls},
    transport::{Channel, Frame, Hello, Kind, PREFACE},
};
use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn secret(text: &str) -> Admission {
    Admission::Secret(JoinSecret::new(&text.repeat(30)).unwrap())
}

async fn start_as(
    disk: &SimDisk,
    join_to: &[&str],
    key: Arc<NodeKey>,
    admission: Admission,
) -> Result<Running, Error> {
    let (listener, address) = bind();
    let options = JoinOptions { key, admission, ..options(&address, join_to) };
    start_with(Arc::new(disk.clone()), listener, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_has_the_secret_joins_and_needs_it_no_more_afterwards() {
    let disks = [disk(0), disk(1), disk(2)];
    let keys: Vec<_> = disks.iter().map(|disk| key_on(disk)).collect();
    let one = start_as(&disks[0], &[], keys[0].clone(), secret("k")).await.unwrap();
    for (wrong, word) in [(secret("l"), "not the same"), (Admission::Anybody, "--join-secret-file")]
    {
        let refused = start_as(&disks[1], &[&one.address], keys[1].clone(), wrong).await;
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains(word) && refused.contains(&one.address), "{refused}");
    }
    assert!(one.node.catalog().nodes().count() <= 1);
    let two = start_as(&disks[1], &[&one.address], keys[1].clone(), secret("k")).await.unwrap();
    let three = start_as(&disks[2], &[&one.address], keys[2].clone(), secret("k")).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    for (node, key) in (1..).zip(&keys) {
        let record = one.node.catalog().node(NodeId(node)).cloned().unwrap();
        assert_eq!(record.presence.pin, Some(key.pin()));
    }
    two.peering.stop().await;
    // Its key is known by now.
    let two = start_as(&disks[1], &[], keys[1].clone(), Admission::Nobody).await.unwrap();
    until("it is heard of", || {
        let record = one.node.catalog().node(NodeId(2)).cloned();
        record.is_some_and(|record| record.presence.addresses.node == two.address)
    })
    .await;
    stop(vec![one, two, three]).await;
}

/// Members who came by a secret that ends know no other, and take in whoever comes by another such.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_came_by_a_secret_that_ends_is_a_member_like_any_other() {
    const AGES: u64 = 1 << 33;
    let disks = [disk(0), disk(1), disk(2)];
    let holders = [(); 3].map(|()| Arc::new(KeyHolder::keeping(None, |_| Ok(()))));
    let start = async |at: usize, join_to: &[&str], admission: Admission| {
        let (listener, address) = bind();
        let (key, cluster_key) = (key_on(&disks[at]), holders[at].clone());
        let options = JoinOptions { key, admission, cluster_key, ..options(&address, join_to) };
        start_with(Arc::new(disks[at].clone()), listener, options).await
    };
    let one = start(0, &[], Admission::Nobody).await.unwrap();
    until("the cluster has a key", || holders[0].held().is_some()).await;
    let key = holders[0].held().unwrap();
    one.node.change(Change::NameClusterKey { id: key.id(), instead_of: None }).await.unwrap();
    let by = |until_s| {
        let text = JoinPass::new(&key, until_s).to_text();
        Admission::Secret(JoinSecret::new(&text).unwrap())
    };
    let ended = start(1, &[&one.address], by(1_000_000_000)).await;
    let ended = ended.err().unwrap().to_string();
    assert!(ended.contains("expired at 2001-09-09"), "{ended}");
    let two = start(1, &[&one.address], by(AGES)).await.unwrap();
    until("it has the key too", || holders[1].held().as_ref() == Some(&key)).await;
    let three = start(2, &[&two.address], by(AGES + 1)).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    two.peering.stop().await;
    // Its key is known by now, and the secret that it came by may have ended.
    let two = start(1, &[&one.address], by(1)).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    stop(vec![one, two, three]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_key_is_not_the_node() {
    let disks = [disk(0), disk(1)];
    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    until("it is up", || {
        one.node.catalog().node(NodeId(2)).is_some_and(|record| record.state == NodeState::Up)
    })
    .await;
    let before = one.node.catalog().node(NodeId(2)).cloned().unwrap();
    two.peering.stop().await;

    // Its directory, and the key of somebody else: no proof makes up for that.
    let other = Arc::new(NodeKey::generate().unwrap());
    let refused = start_as(&disks[1], &[&one.address], other, Admission::Loopback).await;
    let refused = refused.err().unwrap().to_string();
    assert!(refused.contains("node.key") && refused.contains("another key"), "{refused}");
    // The key of another node, with a certificate and a hello of node 2.
    let identity =
        NodeIdentity { boot: Boot(99), ..NodeIdentity::first(one.node.identity().cluster) };
    let identity = NodeIdentity { node: NodeId(2), ..identity };
    let own = NodeTls::new(&key_on(&disks[0]), Some(identity), Admission::Loopback).unwrap();
    assert_eq!(told(&one.address, &own, identity).await, Some(NodeId(0)));
    // With its own, it is that node.
    let right = NodeTls::new(&key_on(&disks[1]), Some(identity), Admission::Loopback).unwrap();
    assert_eq!(told(&one.address, &right, identity).await, Some(NodeId(2)));
    assert_eq!(one.node.catalog().node(NodeId(2)), Some(&before));
    one.peering.stop().await;
}

/// Greets as a node, and gives whom the answer is for: nobody where it is turned away.
async fn told(address: &str, tls: &NodeTls, identity: NodeIdentity) -> Option<NodeId> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut stream, _) = tls.connect(stream).await.unwrap();
    let mut bytes = BytesMut::from(&PREFACE[..]);
    Hello::new(identity, Channel::Raft, NodeId(1)).to_frame().encode(&mut bytes);
    stream.write_all(&bytes).await.unwrap();
    stream.flush().await.unwrap();
    let mut decoder = crate::transport::Decoder::new(Channel::Raft);
    let mut preface = [0; PREFACE.len()];
    stream.read_exact(&mut preface).await.ok()?;
    loop {
        match decoder.next_frame().unwrap() {
            Some(crate::transport::Received::Frame(Frame { kind: Kind::Hello, body, .. })) => {
                return Some(Hello::decode(&body).unwrap().for_node);
            }
            Some(other) => panic!("{other:?}"),
            None if stream.read_buf(decoder.buffer()).await.ok()? == 0 => return None,
            None => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_removed_is_not_heard_any_more() {
    let disks = [disk(0), disk(1), disk(2)];
    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&one.address]).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    let connected =
        |of: &Running, node: u32| of.peering.state.tcp.is_connected(NodeId(node), Channel::Raft);
    until("all call one another", || connected(&three, 1) && connected(&three, 2)).await;
    let removal = Change::SetNodeState { node: NodeId(3), state: NodeState::Removed };
    one.node.change(removal).await.unwrap();
    until("nobody listens to it", || !connected(&three, 1) && !connected(&three, 2)).await;
    until("nobody calls it", || !connected(&one, 3) && !connected(&two, 3)).await;
    stop(vec![one, two, three]).await;
}

fn cluster_key_of(running: &Running) -> Option<ClusterKey> {
    running.peering.state.options.cluster_key.held()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_key_comes_to_every_node_and_the_one_that_is_named_counts() {
    let disks = [disk(0), disk(1), disk(2)];
    let one = start(&disks[0], &[]).await.unwrap();
    until("the first node makes it", || cluster_key_of(&one).is_some()).await;
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    until("the second one is given it", || cluster_key_of(&two) == cluster_key_of(&one)).await;
    assert_eq!(one.node.catalog().cluster_key(), None);
    // One that comes with another key, which nothing was sealed with.
    let (listener, address) = bind();
    let other = KeyHolder::keeping(Some(ClusterKey::generate().unwrap()), |_| Ok(()));
    let options = JoinOptions {
        key: key_on(&disks[2]),
        cluster_key: Arc::new(other),
        ..options(&address, &[&one.address])
    };
    let three = start_with(Arc::new(disks[2].clone()), listener, options).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    let key = cluster_key_of(&one).unwrap();
    assert_ne!(cluster_key_of(&three), Some(key.clone()));
    let named = Change::NameClusterKey { id: key.id(), instead_of: None };
    three.node.change(named).await.unwrap();
    until("it fetches the one that counts", || cluster_key_of(&three) == Some(key.clone())).await;
    stop(vec![one, two, three]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_node_has_any_more_is_replaced() {
    let disk = disk(0);
    let one = start(&disk, &[]).await.unwrap();
    until("there is a key", || cluster_key_of(&one).is_some()).await;
    let (lost, key) = (ClusterKeyId(7), cluster_key_of(&one).unwrap());
    one.node.change(Change::NameClusterKey { id: lost, instead_of: None }).await.unwrap();
    until("it is replaced", || one.node.catalog().cluster_key() == Some(key.id())).await;
    assert_eq!(cluster_key_of(&one), Some(key.clone()));
    let again = Change::NameClusterKey { id: lost, instead_of: None };
    one.node.change(again).await.unwrap_err();
    stop(vec![one]).await;
}

/// Directories of a time when nodes had no keys: each is known by the one that it shows first.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_keys_get_theirs_at_the_first_contact() {
    let disks = [disk(0), disk(1), disk(2)];
    let (clock, small) = (Arc::new(SystemClock), NodeOptions::default());
    let node = Node::open("/data".into(), small, Arc::new(disks[0].clone()), clock).await.unwrap();
    let identity = node.identity();
    let keyless = |node: u32| {
        let addresses = NodeAddresses { node: format!("127.0.0.1:{node}"), ..Default::default() };
        Presence { addresses, version: "0.1.0".into(), boot: Boot(0), pin: None }
    };
    let announced = Change::AnnounceNode { node: NodeId(1), presence: keyless(1) };
    node.change(announced).await.unwrap();
    for id in [2, 3] {
        let (nonce, presence) = (JoinNonce(id.into()), keyless(id));
        node.change(Change::RegisterNode { nonce, presence }).await.unwrap();
        let disk: Arc<dyn Disk> = Arc::new(disks[id as usize - 1].clone());
        create_dir_durably(&*disk, Path::new("/data")).unwrap();
        let identity = NodeIdentity { node: NodeId(id), boot: Boot(0), ..identity };
        leave(&disk, Path::new("/data"), identity).unwrap();
    }
    node.stop().await;
    drop(node);

    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&one.address]).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    for (id, disk) in (1..).zip(&disks) {
        let is_noted = || {
            let record = two.node.catalog().node(NodeId(id)).cloned();
            record.is_some_and(|record| record.presence.pin == Some(key_on(disk).pin()))
        };
        until("the key is noted", is_noted).await;
    }
    stop(vec![one, two, three]).await;
}
