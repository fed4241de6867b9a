//! A node on a simulated disk: rows, restarts, power cuts, drops.

use super::*;
use crate::{Change, ColumnSpec, Error};
use arrow_array::Int64Array;
use oribi_model::{
    ColumnKind, ColumnRead, ColumnType, ColumnValues, Name, NodeId, ReadPath, RowBatch, RowsWanted,
    ScanSpec, SeriesFilter, SeriesKey, SeriesKeys, TableOptions, TagPredicate, time::NS_PER_DAY,
};
use oribi_store::disk::sim::SimDisk;
use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

const NOW: i64 = 20_000 * NS_PER_DAY;

struct TestClock(AtomicI64);
impl Clock for TestClock {
    fn now_ns(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn small() -> NodeOptions {
    NodeOptions {
        memtable_bytes_max: 1 << 20,
        log_file_bytes: 1 << 16,
        retention_wait_s: 0,
        ..NodeOptions::default()
    }
}

async fn open(disk: &SimDisk, clock: &Arc<TestClock>) -> Result<Arc<Node>> {
    Node::open("/data".into(), small(), Arc::new(disk.clone()), clock.clone()).await
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicI64::new(NOW)))
}

async fn table(node: &Node) -> Result<TableId> {
    Ok(make_table(node).await?.expect("nobody drops it meanwhile"))
}

/// `None`: somebody dropped it meanwhile.
async fn make_table(node: &Node) -> Result<Option<TableId>> {
    make_named(node, "m").await
}

async fn make_named(node: &Node, name: &str) -> Result<Option<TableId>> {
    let spec = |name: &str, kind, column_type| ColumnSpec {
        name: Name::new(name).unwrap(),
        kind,
        column_type,
        ints: oribi_model::Ints::Unknown,
    };
    let change = Change::EnsureColumns {
        db: Name::new("default").unwrap(),
        table: Name::new(name).unwrap(),
        columns: vec![
            spec("host", ColumnKind::Tag, ColumnType::Text),
            spec("v", ColumnKind::Field, ColumnType::Int),
        ],
    };
    let catalog = node.change(change).await?;
    Ok(catalog.table("default", name).map(|table| table.id))
}

fn batch(table: TableId, times: &[i64], value: i64) -> RowBatch {
    let mut series = SeriesKeys::default();
    series.push_bytes(SeriesKey::from_tags([(oribi_model::ColumnId(1), "a")]).as_bytes());
    let values = Int64Array::from(vec![value; times.len()]);
    RowBatch {
        table,
        schema_version: 1,
        series,
        row_series: vec![0; times.len()],
        times: times.to_vec(),
        columns: vec![(oribi_model::ColumnId(2), ColumnValues::Int(values))],
        cursor: None,
    }
}

async fn write(node: &Node, table: TableId, times: &[i64], value: i64) -> Result<()> {
    let catalog = node.cover(table, times, |wanted| wanted.count).await?.catalog;
    for time in times {
        let tablet = catalog.tablets_at(table, *time)[0].id;
        node.write(tablet, batch(table, &[*time], value)).await?;
    }
    Ok(())
}

fn rows(node: &Node, table: TableId) -> Vec<(i64, i64)> {
    rows_by(node, table)
}

fn rows_by(node: &dyn ReadPath, table: TableId) -> Vec<(i64, i64)> {
    let column = ColumnRead { id: oribi_model::ColumnId(2), column_type: ColumnType::Int };
    let spec = ScanSpec {
        columns: vec![column],
        time: TimeRange::ALL,
        series: SeriesFilter::All,
        rows: RowsWanted::All,
    };
    let parts = node.scan(table, &spec, 2).unwrap().into_iter().flat_map(|scan| scan.parts);
    let mut rows = Vec::new();
    for block in parts.flatten() {
        let block = block.unwrap();
        let ColumnValues::Int(values) = &block.columns[0] else { panic!("not an integer") };
        rows.extend(block.times.iter().copied().zip(values.values().iter().copied()));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_survive_restarts_flushes_and_compactions() {
    let (disk, clock) = (SimDisk::new(), clock());
    let mut expected = Vec::new();
    for round in 0..4i64 {
        let node = open(&disk, &clock).await.unwrap();
        let table = table(&node).await.unwrap();
        assert_eq!(rows(&node, table), expected);
        let times: Vec<i64> = (0..5).map(|at| NOW + (round * 5 + at) * NS_PER_DAY / 7).collect();
        write(&node, table, &times, round).await.unwrap();
        expected.extend(times.iter().map(|time| (*time, round)));
        assert_eq!(rows(&node, table), expected);
        if round % 2 == 1 {
            node.compact().await.unwrap();
            assert_eq!(node.stats().memtable_rows, 0);
            assert_eq!(rows(&node, table), expected);
        }
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_feed_gives_every_row_also_when_the_log_has_let_it_go() {
    use oribi_model::Feed;
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let table = table(&node).await.unwrap();
    let read = |place: u64| {
        let tablet = Feed::tablets(&*node, table)[0];
        let found = node.committed(tablet, place, 1)?;
        Ok::<_, oribi_model::Error>(found.map(|found| {
            let times = found.rows.flat_map(|batch| batch.unwrap().times);
            (times.collect::<Vec<_>>(), found.next)
        }))
    };
    let all = |mut place: u64| {
        let mut times = Vec::new();
        while let Some((more, next)) = read(place).unwrap() {
            assert!(next > place, "a feed goes on");
            times.extend(more);
            place = next;
        }
        (times, place)
    };
    let first: Vec<i64> = (0..30).map(|at| NOW + at).collect();
    write(&node, table, &first, 1).await.unwrap();
    let (times, place) = all(0);
    assert_eq!(times, first);
    assert!(read(place).unwrap().is_none(), "nothing is new");
    node.compact().await.unwrap();
    write(&node, table, &[NOW + 30], 1).await.unwrap();
    assert_eq!(all(place).0, [NOW + 30], "what was done does not come again without need");
    let mut again = all(0).0;
    again.sort_unstable();
    again.dedup();
    assert_eq!(again, (0..31).map(|at| NOW + at).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_at_any_moment_loses_nothing_acked() {
    async fn run(disk: &SimDisk, acked: &mut Vec<i64>) -> Result<()> {
        let node = open(disk, &clock()).await?;
        let outcome = script(&node, acked).await;
        node.stop().await;
        outcome
    }
    async fn script(node: &Arc<Node>, acked: &mut Vec<i64>) -> Result<()> {
        let table = table(node).await?;
        for at in 0..6 {
            let time = NOW + at * NS_PER_DAY / 3;
            write(node, table, &[time], 1).await?;
            acked.push(time);
            if at == 3 {
                node.compact().await?;
            }
        }
        Ok(())
    }
    let calm = SimDisk::new();
    run(&calm, &mut Vec::new()).await.unwrap();
    println!("a node: the power went at {} operations", calm.operations().div_ceil(2));
    for at in (1..=calm.operations()).step_by(2) {
        let disk = SimDisk::new();
        disk.crash_at(at);
        let mut acked = Vec::new();
        drop(run(&disk, &mut acked).await);
        for seed in [0, at] {
            let node = open(&disk.reboot(seed), &clock()).await.unwrap();
            let id = table(&node).await.unwrap();
            let found: Vec<i64> = rows(&node, id).into_iter().map(|(time, _)| time).collect();
            // One more may have become durable without being acked.
            assert!(found.starts_with(&acked) && found.len() <= acked.len() + 1, "at {at}");
            node.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memtables_are_flushed_however_small_while_memory_is_short() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW], 1).await.unwrap();
    assert!(node.stats().memtable_bytes > 0);
    node.memory_is_short(true);
    while node.stats().memtable_bytes > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(rows(&node, table).len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memtables_are_flushed_before_memory_runs_out_and_the_log_shrinks() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let table = table(&node).await.unwrap();
    let catalog = node.cover(table, &[NOW], |_| 1).await.unwrap().catalog;
    let tablet = catalog.tablets_at(table, NOW)[0].id;
    for round in 0..60 {
        let times: Vec<i64> = (0..1_000).map(|at| NOW + round * 1_000 + at).collect();
        node.room().await;
        node.write(tablet, batch(table, &times, 3)).await.unwrap();
    }
    let stats = node.stats();
    assert!(stats.flushes > 0 && stats.memtable_bytes <= 2 << 20, "{stats:?}");
    assert_eq!(rows(&node, table).len(), 60_000);
    node.compact().await.unwrap();
    assert!(node.stats().log_bytes < 4_096, "{:?}", node.stats());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn drops_deletes_and_retention_take_rows_away() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let id = table(&node).await.unwrap();
    let old = NOW - 90 * NS_PER_DAY;
    write(&node, id, &[old, NOW, NOW + 5], 1).await.unwrap();
    node.delete(id, TimeRange::new(NOW, NOW + 1), TagPredicate::Always).await.unwrap();
    assert_eq!(rows(&node, id), [(old, 1), (NOW + 5, 1)]);
    let options = TableOptions { retention_ns: Some(NS_PER_DAY), ..TableOptions::default() };
    node.change(Change::SetOptions { table: id, options }).await.unwrap();
    assert_eq!(rows(&node, id), [(NOW + 5, 1)], "hidden at once");
    let mut waited = 0;
    while node.catalog().tablets_of(id).len() > 1 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        waited += 1;
        assert!(waited < 500, "the old tablet was not dropped");
    }
    node.change(Change::DropTable { table: id }).await.unwrap();
    assert_eq!(node.stats().tablets, 0);
    node.stop().await;
    drop(node);
    let node = open(&disk, &clock).await.unwrap();
    let again = table(&node).await.unwrap();
    assert!(again > id && rows(&node, again).is_empty());
    node.stop().await;
}

mod backups;
mod faults;
mod identity;
mod model;
mod moved;
mod repairs;
mod service;
mod several;

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_took_many_writes_rests_and_its_tablet_goes_on() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let table = table(&node).await.unwrap();
    let days: Vec<i64> = (0..20).map(|at| NOW - at * 400 * NS_PER_DAY).collect();
    for day in &days {
        write(&node, table, &[*day], 1).await.unwrap();
    }
    let running = node.stats().running_replicas;
    assert!(running > 16, "{running} instances run");
    let seconds: Vec<i64> = (1..600).map(|second| NOW + second).collect();
    write(&node, table, &seconds, 2).await.unwrap();
    let worn = node.catalog().tablets_at(table, NOW)[0].id;
    let is_worn_out = || !node.hosting.get(worn).unwrap().replica.is_running();
    while !is_worn_out() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    write(&node, table, &[NOW + 700], 3).await.unwrap();
    assert_eq!(rows(&node, table).len(), days.len() + seconds.len() + 1);
    node.stop().await;
}

/// A change that drops nothing looks at no tablet: beside many that hold rows it costs what it costs
/// beside few.
#[test]
fn a_change_of_the_catalog_costs_the_same_beside_many_tablets() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let node = runtime.block_on(open(&SimDisk::new(), &clock())).unwrap();
    let mut made = 0;
    let mut make = || {
        made += 1;
        runtime.block_on(make_named(&node, &format!("t{made}"))).unwrap().unwrap()
    };
    let bytes_of_a_change = |make: &mut dyn FnMut() -> TableId| {
        let bytes = (0..10).map(|_| allocation_counter::measure(|| _ = make()).bytes_total);
        bytes.min().unwrap()
    };
    let beside_few = bytes_of_a_change(&mut make);
    for _ in 0..500 {
        let table = make();
        runtime.block_on(write(&node, table, &[NOW], 1)).unwrap();
    }
    assert_eq!(node.hosting.all().len(), 500);
    let beside_many = bytes_of_a_change(&mut make);
    assert!(beside_many < 2 * beside_few, "{beside_many} bytes, {beside_few} beside few");
}
