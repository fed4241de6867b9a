//! Who a node is, through restarts and from directories of before there were clusters.

use super::*;
use crate::{Boot, NodeIdentity};
use oribi_store::small_file::{self, Kind};
use std::path::Path;

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
