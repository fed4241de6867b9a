//! Liveness threads over real sockets.

use super::*;
use crate::{
    ClusterId, NodeIdentity,
    secured::{Admission, NodeKey, NodeTls},
};
use parking_lot::Mutex;
use std::{collections::BTreeMap, net::TcpListener, sync::Arc};
use tokio::sync::watch;

/// Notes what changes.
struct Noted {
    seen: Mutex<Vec<Action>>,
    changes: watch::Sender<u64>,
}

impl Noted {
    async fn until(&self, wanted: impl Fn(&Action) -> bool) -> Action {
        let mut changes = self.changes.subscribe();
        loop {
            if let Some(found) = self.seen.lock().iter().find(|action| wanted(action)) {
                return found.clone();
            }
            changes.changed().await.unwrap();
        }
    }
}

impl Watcher for Noted {
    fn changed(&self, action: &Action) {
        self.seen.lock().push(action.clone());
        self.changes.send_modify(|count| *count += 1);
    }

    fn health(&self) -> Health {
        Health { catalog_index: 17, ..Health::default() }
    }
}

fn start(node: u32, boot: u64, listener: TcpListener) -> (Watch, Arc<Noted>) {
    let identity = NodeIdentity { cluster: ClusterId(3), node: NodeId(node), boot: Boot(boot) };
    let noted = Arc::new(Noted { seen: Mutex::default(), changes: watch::Sender::new(0) });
    let key = NodeKey::generate().unwrap();
    let tls = Arc::new(NodeTls::new(&key, Some(identity), Admission::Loopback).unwrap());
    (Watch::start(identity, listener, tls, noted.clone(), None).unwrap(), noted)
}

fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// Waits until a node has heard another one.
async fn until_heard(watch: &Watch, node: NodeId) {
    while watch.view(|view| view.boot_of(node)).is_none() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thread_notices_who_goes_and_who_comes_back() {
    let (one, other) = (listener(), listener());
    let addresses: BTreeMap<NodeId, String> =
        [(NodeId(1), one.1), (NodeId(2), other.1.clone())].into();
    let but = |node: u32| {
        let mut peers = addresses.clone();
        peers.remove(&NodeId(node));
        peers
    };
    let (first, noted) = start(1, 1, one.0);
    let (second, _) = start(2, 1, other.0);
    first.watch(but(1)).await;
    second.watch(but(2)).await;
    until_heard(&first, PEER).await;
    until_heard(&second, NodeId(1)).await;
    assert_eq!(first.view(|view| view.health(PEER)).unwrap().catalog_index, 17);

    drop(second);
    // The system closes its connections, and nobody answers there.
    noted.until(|action| matches!(action, Action::Suspect(PEER, _))).await;
    assert!(!first.view(|view| view.trusts(PEER)));
    let three = nodes([1, 2, 3]);
    assert!(!first.view(|view| view.trusts_majority(&three)));

    let (second, _) = start(2, 2, TcpListener::bind(&other.1).unwrap());
    second.watch(but(2)).await;
    noted.until(|action| *action == Action::Restarted(PEER, Boot(2))).await;
    noted.until(|action| *action == Action::Trust(PEER)).await;
    first.watch(BTreeMap::new()).await;
    while first.view(|view| view.boot_of(PEER)).is_some() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_from_outside_counts() {
    let (own, address) = listener();
    let (watch, noted) = start(1, 1, own);
    watch.watch([(PEER, address)].into()).await;
    // It is this node itself that answers there, which proves nothing of node 2.
    noted.until(|action| matches!(action, Action::Suspect(PEER, _))).await;
    watch.tell(Event::DiskProved);
    assert!(watch.view(|view| view.health(PEER)).is_none());
    drop(watch);
}
