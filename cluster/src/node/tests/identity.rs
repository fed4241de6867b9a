//! Who a node is, through restarts and from directories of before there were clusters.

use super::*;
use crate::{
    Boot, JoinNonce, MemberId, NodeAddresses, NodeIdentity, Presence,
    transport::{CallError, Network, Pending, Request},
};
use bytes::Bytes;
use oribi_store::{
    log::Op,
    small_file::{self, Kind},
};
use std::{collections::BTreeSet, path::Path};

const KIND: Kind = Kind { magic: *b"ORIBIDIR", version: 1 };

async fn run_once(disk: &SimDisk) -> NodeIdentity {
    let node = open(disk, &clock()).await.unwrap();
    let identity = node.identity();
    node.stop().await;
    identity
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_stays_who_it_is_and_counts_its_runs() {
    let disk = SimDisk::new();
    let first = run_once(&disk).await;
    assert_eq!((first.node, first.boot), (NodeId(1), Boot(1)));
    let disk = disk.reboot(0);
    assert_eq!(run_once(&disk).await, NodeIdentity { boot: Boot(2), ..first });
    assert_eq!(run_once(&disk).await, NodeIdentity { boot: Boot(3), ..first });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_knew_no_clusters_is_that_of_a_first_node() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW], 7).await.unwrap();
    node.stop().await;
    small_file::replace(&disk, Path::new("/data"), "ORIBI", KIND, b"{}").unwrap();

    let node = open(&disk, &clock()).await.unwrap();
    let identity = node.identity();
    assert_eq!((identity.node, identity.boot), (NodeId(1), Boot(1)));
    assert_eq!(rows(&node, table), [(NOW, 7)]);
    node.stop().await;
    assert_eq!(run_once(&disk).await, identity.next_boot());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_counts_no_run() {
    let disk = SimDisk::new();
    let first = run_once(&disk).await;
    crate::check(Path::new("/data"), Arc::new(disk.clone()), clock()).unwrap();
    assert_eq!(run_once(&disk).await, first.next_boot());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_that_cannot_be_read_is_refused_and_left_as_it_is() {
    for body in [&b"{\"cluster\":\"x\",\"node\":1,\"boot\":1}"[..], b"{\"node\":1}", b"[]"] {
        let disk = SimDisk::new();
        run_once(&disk).await;
        small_file::replace(&disk, Path::new("/data"), "ORIBI", KIND, body).unwrap();
        assert!(open(&disk, &clock()).await.is_err());
        let kept = small_file::read(&disk, Path::new("/data"), "ORIBI", KIND).unwrap();
        assert_eq!(kept.as_deref(), Some(body));
    }
}

/// A clock that stands still.
struct At(i64);

impl oribi_model::Clock for At {
    fn now_ns(&self) -> i64 {
        self.0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_went_back_while_the_node_was_down_gives_no_time_again() {
    let at = |now_ns| oribi_model::ArrivalClock::new(Arc::new(At(now_ns)));
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let first = at(NOW);
    node.keep_arrivals(&first);
    let last_ns = first.next_of_ns(1_000) + 999;
    node.stop().await;

    let disk = disk.reboot(0);
    let node = open(&disk, &clock()).await.unwrap();
    let back = at(NOW - 3_600_000_000_000);
    node.keep_arrivals(&back);
    let next_ns = back.next_ns();
    assert!(next_ns > last_ns, "{next_ns} may have been given before {last_ns}");
    node.stop().await;

    let node = open(&disk, &clock()).await.unwrap();
    let right = at(next_ns + 5);
    node.keep_arrivals(&right);
    assert_eq!(right.next_ns(), next_ns + 5, "a clock that is right is not led astray");
    node.stop().await;
}

/// A way to others on which nobody is.
struct Nobody;

impl Network for Nobody {
    fn call(&self, to: NodeId, _: Request) -> Pending<std::result::Result<Bytes, CallError>> {
        Box::pin(std::future::ready(Err(CallError::NotConnected(to))))
    }

    fn notify(&self, to: NodeId, _: Request) -> std::result::Result<(), CallError> {
        Err(CallError::NotConnected(to))
    }
}

/// The note of what is committed lags behind: the catalog that the node starts with may be from before
/// anybody joined.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_an_old_catalog_is_not_alone_where_its_log_names_others() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    table(&node).await.unwrap();
    let (replica, log) = (node.catalog_replica.clone(), node.hosting.log.clone());
    let committed = || log.group(CATALOG_GROUP).and_then(|state| state.committed);
    let before_joining = loop {
        match committed() {
            Some(mark) => break mark,
            None => tokio::task::yield_now().await,
        }
    };
    let addresses = NodeAddresses { node: "127.0.0.1:2".into(), ..Default::default() };
    let presence = Presence { addresses, version: "0.1.0".into(), boot: Boot(0), pin: None };
    node.change(Change::RegisterNode { nonce: JoinNonce(1), presence }).await.unwrap();
    let second = MemberId::first(NodeId(2));
    replica.add_learner(second).await.unwrap();
    let both = BTreeSet::from([replica.member(), second]);
    let voting = replica.clone();
    let changing = tokio::spawn(async move { voting.change_voters(&both).await });
    while !replica.members().voters.contains(&second) {
        tokio::task::yield_now().await;
    }
    let disk = loop {
        log.submit(CATALOG_GROUP, Op::Committed(before_joining.clone()), Box::new(|_| {}));
        let (synced, is_synced) = tokio::sync::oneshot::channel();
        node.try_disk(move || synced.send(()).unwrap());
        is_synced.await.unwrap();
        if committed().as_ref() == Some(&before_joining) {
            break disk.reboot(0);
        }
    };
    changing.abort();
    node.stop().await;

    let node = open(&disk, &clock).await.unwrap();
    node.connect(Arc::new(Nobody), Arc::new(|_| false));
    assert!(!node.has_no_others());
    assert!(node.catalog_now().await.is_err(), "nobody can say that this is the newest catalog");
    node.stop().await;
}
