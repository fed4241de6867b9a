//! Three nodes over real sockets, each on a simulated disk of its own.

use super::*;
use crate::{
    Change, ColumnSpec, Error, MemberId, NodeAddresses, NodeOptions, NodeState,
    join::join,
    node::CATALOG_GROUP,
    secured::{Admission, JoinSecret, KeyHolder, NodeKey},
};
use oribi_model::{
    ColumnKind, ColumnType, Ints, Name, NodeId, RowBatch, SeriesKeys, SystemClock, TableId,
    TableOptions, TabletId, TimeRange,
};
use oribi_store::{
    disk::{Disk, create_dir_durably, sim::SimDisk},
    small_file,
};
use std::{path::Path, time::Duration};

mod joining;
mod keys;
mod leaders;

/// How long one waits for what comes.
const LONG: Duration = Duration::from_secs(60);

/// A node that runs.
struct Running {
    node: Arc<Node>,
    peering: Peering,
    address: String,
}

/// One that draws other numbers than its neighbours.
fn disk(number: usize) -> SimDisk {
    let disk = SimDisk::new();
    for _ in 0..number * 2 {
        disk.salt();
    }
    disk
}

fn bind() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

fn options(address: &str, join: &[&str]) -> JoinOptions {
    let other = |what: &str| format!("{what}.{address}");
    let addresses =
        NodeAddresses { node: address.into(), http: other("http"), mqtt: other("mqtt") };
    let join = join.iter().map(|address| (*address).to_owned()).collect();
    JoinOptions {
        join,
        addresses,
        version: "0.1.0".into(),
        replace_after_s: 300,
        sleep_after_s: 120,
        replaces: None,
        key: Arc::new(NodeKey::generate().unwrap()),
        admission: Admission::Loopback,
        cluster_key: Arc::new(KeyHolder::keeping(None, |_| Ok(()))),
    }
}

/// The key of the node whose disk it is; made by its first run.
fn key_on(disk: &dyn Disk) -> Arc<NodeKey> {
    const KIND: small_file::Kind = small_file::Kind { magic: *b"TESTNKEY", version: 1 };
    let (folder, name) = (Path::new("/data"), "node.key");
    create_dir_durably(disk, folder).unwrap();
    let key = match small_file::read(disk, folder, name, KIND).unwrap() {
        Some(pem) => NodeKey::from_pem(&pem).unwrap(),
        None => {
            let key = NodeKey::generate().unwrap();
            small_file::replace(disk, folder, name, KIND, &key.to_pem().unwrap()).unwrap();
            key
        }
    };
    Arc::new(key)
}

async fn start(disk: &SimDisk, join_to: &[&str]) -> Result<Running, Error> {
    start_on(Arc::new(disk.clone()), join_to).await
}

async fn start_on(disk: Arc<dyn Disk>, join_to: &[&str]) -> Result<Running, Error> {
    let (listener, address) = bind();
    let options = JoinOptions { key: key_on(&*disk), ..options(&address, join_to) };
    start_with(disk, listener, options).await
}

async fn start_with(
    disk: Arc<dyn Disk>,
    listener: TcpListener,
    options: JoinOptions,
) -> Result<Running, Error> {
    let address = options.addresses.node.clone();
    let taking = tokio::net::TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
    join("/data".into(), disk.clone(), &taking, &options, |_| {}).await?;
    drop(taking);
    let (small, clock) = (NodeOptions::default(), Arc::new(SystemClock));
    let node = Node::open("/data".into(), small, disk, clock).await?;
    let peering = Peering::start(node.clone(), listener, options).unwrap();
    Ok(Running { node, peering, address })
}

/// Waits until something is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("never so: {what}"));
}

/// Waits until each of these has all of them for members of the catalog that are up, three of which
/// elect.
async fn until_together(nodes: &[&Running]) {
    for one in nodes {
        until("all are up and vote", || {
            let up = one.node.catalog();
            let up = up.nodes().filter(|(_, record)| record.state == NodeState::Up).count();
            let voters = one.node.replica(CATALOG_GROUP).unwrap().members().voters.len();
            up == nodes.len() && voters == 3
        })
        .await;
    }
}

/// A table with one tablet.
async fn table(node: &Node) -> (TableId, TabletId) {
    let column = ColumnSpec {
        name: Name::new("host").unwrap(),
        kind: ColumnKind::Tag,
        column_type: ColumnType::Text,
        ints: Ints::Unknown,
    };
    let (db, table) = (Name::new("default").unwrap(), Name::new("m").unwrap());
    let change = Change::EnsureColumns { db, table, columns: vec![column] };
    let table = node.change(change).await.unwrap().table("default", "m").unwrap().id;
    let catalog = node.cover(table, &[5], |wanted| wanted.count).await.unwrap().catalog;
    (table, catalog.tablets_of(table)[0].id)
}

fn batch(table: TableId, time: i64) -> RowBatch {
    let mut series = SeriesKeys::default();
    series.push_bytes(
        oribi_model::SeriesKey::from_tags([(oribi_model::ColumnId(1), "a")]).as_bytes(),
    );
    RowBatch {
        table,
        schema_version: 1,
        series,
        row_series: vec![0],
        times: vec![time],
        columns: Vec::new(),
        cursor: None,
    }
}

fn rows(one: &Running, table: TableId) -> u64 {
    oribi_model::ReadPath::stats(&*one.node, table).rows
}

async fn stop(nodes: Vec<Running>) {
    futures::future::join_all(nodes.into_iter().map(|one| one.peering.stop())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lived_alone_gets_copies_because_others_join() {
    let disks = [disk(0), disk(1), disk(2)];
    let one = start(&disks[0], &[]).await.unwrap();
    let (table, tablet) = table(&one.node).await;
    one.node.write(tablet, batch(table, 5)).await.unwrap();
    assert_eq!(one.node.catalog().replicas_of(tablet).len(), 1);

    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&one.address]).await.unwrap();
    until_together(&[&one, &two, &three]).await;
    for node in [&two, &three] {
        until("the row is there", || rows(node, table) == 1).await;
    }
    let replica = one.node.replica(oribi_store::log::GroupId(tablet.0)).unwrap();
    until("three elect", || replica.members().voters.len() == 3).await;
    one.node.write(tablet, batch(table, 6)).await.unwrap();
    for node in [&two, &three] {
        until("the second row is there", || rows(node, table) == 2).await;
    }
    // What is dropped goes everywhere.
    let options = TableOptions { replication: Some(1), ..TableOptions::default() };
    one.node.change(Change::SetOptions { table, options }).await.unwrap();
    one.node.change(Change::DropTable { table }).await.unwrap();
    for node in [&two, &three] {
        until("the tablet is gone", || node.node.replicas().len() == 1).await;
    }
    stop(vec![one, two, three]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_tablets_are_born_with_three_replicas_on_all_nodes() {
    let disks = [disk(0), disk(1), disk(2)];
    let one = start(&disks[0], &[]).await.unwrap();
    let two = start(&disks[1], &[&one.address]).await.unwrap();
    let three = start(&disks[2], &[&two.address]).await.unwrap();
    let all = [&one, &two, &three];
    until_together(&all).await;
    let (table, _) = table(&one.node).await;
    let ranges = (1..=6).map(|at| TimeRange::new(at << 60, (at << 60) + 10)).collect();
    let change = Change::CreateTablets { table, ranges, buckets: 1, away: Vec::new() };
    let catalog = one.node.change(change).await.unwrap();
    for spec in catalog.tablets() {
        let replicas = catalog.replicas_of(spec.id).to_vec();
        assert_eq!(replicas.len(), 3);
        let founder = all.iter().find(|one| one.node.identity().node == replicas[0].node).unwrap();
        let group = oribi_store::log::GroupId(spec.id.0);
        let leads =
            |one: &Running| one.node.replica(group).is_some_and(|replica| replica.standing().leads);
        // The founder does, unless it got no processor for so long that others doubted it.
        until("it is led", || all.iter().any(|one| leads(one))).await;
        founder.node.write(spec.id, batch(table, spec.range.start)).await.unwrap();
    }
    for one in all {
        until("all rows are there", || rows(one, table) == catalog.tablets().count() as u64).await;
    }
    stop(vec![one, two, three]).await;
}
