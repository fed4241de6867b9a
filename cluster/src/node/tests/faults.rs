//! Files that are missing or damaged, and tablets that are dropped while others work on them.

use super::*;
use crate::command::Command;
use std::path::{Path, PathBuf};

const DAY: i64 = NS_PER_DAY;

/// A stopped node whose table has a tablet a day, rows in segments, and nothing left in the log;
/// gives the ids of table and tablets.
async fn stored(disk: &SimDisk) -> (TableId, Vec<TabletId>) {
    let node = open(disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW - 40 * DAY, NOW, NOW + 5], 1).await.unwrap();
    node.compact().await.unwrap();
    let tablets = node.catalog().tablets_of(table).iter().map(|tablet| tablet.id).collect();
    node.stop().await;
    (table, tablets)
}

fn folder(tablet: TabletId) -> PathBuf {
    Path::new("/data/tablets").join(tablet.to_string())
}

fn all_files(disk: &SimDisk, dir: &Path) -> Vec<PathBuf> {
    let names = disk.list(dir).unwrap();
    let paths = names.iter().map(|name| dir.join(name));
    paths
        .flat_map(
            |path| if disk.bytes(&path).is_some() { vec![path] } else { all_files(disk, &path) },
        )
        .collect()
}

fn scan(node: &Node, table: TableId, time: TimeRange) -> oribi_model::Result<usize> {
    let series = SeriesFilter::All;
    let spec = ScanSpec { columns: Vec::new(), time, series, rows: RowsWanted::All };
    let parts = node.scan(table, &spec, 2)?.into_iter().flat_map(|scan| scan.parts);
    parts.flatten().map(|block| block.map(|block| block.rows())).sum()
}

/// One tablet is set aside, nothing of it is gone, and the others read and write.
async fn one_is_set_aside(disk: &SimDisk, table: TableId, tablets: &[TabletId]) {
    let before = all_files(disk, &folder(tablets[0]));
    let node = open(disk, &clock()).await.unwrap();
    assert_eq!((node.stats().damaged_tablets, node.failure()), (1, None));
    let name = format!("tablet {}", tablets[0]);
    assert!(node.troubles().iter().any(|trouble| trouble.name == name), "{:?}", node.troubles());
    assert!(matches!(
        scan(&node, table, TimeRange::ALL),
        Err(oribi_model::Error::Unreadable { tablet, .. }) if tablet == tablets[0]
    ));
    assert_eq!(scan(&node, table, TimeRange::new(NOW, NOW + 9)).unwrap(), 2);
    let refused = node.write(tablets[0], batch(table, &[NOW - 40 * DAY], 2)).await;
    assert!(matches!(refused, Err(Error::Damaged { .. })));
    write(&node, table, &[NOW + 7], 2).await.unwrap();
    node.compact().await.unwrap();
    assert_eq!(scan(&node, table, TimeRange::new(NOW, NOW + 9)).unwrap(), 3);
    node.stop().await;
    assert_eq!(all_files(disk, &folder(tablets[0])), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_without_its_manifest_is_set_aside_and_loses_no_file() {
    let disk = SimDisk::new();
    let (table, tablets) = stored(&disk).await;
    disk.remove(&folder(tablets[0]).join("MANIFEST")).unwrap();
    for _ in 0..2 {
        one_is_set_aside(&disk, table, &tablets).await;
        let node = open(&disk, &clock()).await.unwrap();
        node.delete(table, TimeRange::new(NOW + 7, NOW + 8), TagPredicate::Always).await.unwrap();
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_with_a_damaged_or_missing_segment_is_set_aside() {
    let disk = SimDisk::new();
    let (table, tablets) = stored(&disk).await;
    let segment = all_files(&disk, &folder(tablets[0])).pop().unwrap();
    let mut bytes = disk.bytes(&segment).unwrap();
    let at = bytes.len() - 30;
    bytes[at] ^= 4;
    disk.put(&segment, bytes);
    one_is_set_aside(&disk, table, &tablets).await;
    let node = open(&disk, &clock()).await.unwrap();
    node.delete(table, TimeRange::new(NOW + 7, NOW + 8), TagPredicate::Always).await.unwrap();
    node.stop().await;
    disk.remove(&segment).unwrap();
    one_is_set_aside(&disk, table, &tablets).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_whose_folder_is_gone_is_set_aside() {
    let disk = SimDisk::new();
    let (table, tablets) = stored(&disk).await;
    disk.rename(&folder(tablets[0]), Path::new("/elsewhere")).unwrap();
    let node = open(&disk, &clock()).await.unwrap();
    assert_eq!(node.stats().damaged_tablets, 1);
    assert_eq!(scan(&node, table, TimeRange::new(NOW, NOW + 9)).unwrap(), 2);
    // A drop takes it away like any other.
    node.change(Change::DropTable { table }).await.unwrap();
    assert_eq!(node.stats().damaged_tablets, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_log_costs_what_was_not_flushed_and_is_reported() {
    let disk = SimDisk::new();
    let (table, _) = stored(&disk).await;
    disk.rename(Path::new("/data/log"), Path::new("/log-elsewhere")).unwrap();
    for round in 0..2 {
        let node = open(&disk, &clock()).await.unwrap();
        let said = node.troubles();
        assert!(said.iter().any(|trouble| trouble.name == "log"), "{said:?}");
        assert_eq!(scan(&node, table, TimeRange::ALL).unwrap(), 3 + round);
        write(&node, table, &[NOW + 10 + round as i64], 1).await.unwrap();
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tablets_that_nothing_knows_stop_the_start_and_stay() {
    let disk = SimDisk::new();
    let (table, _) = stored(&disk).await;
    let files = all_files(&disk, Path::new("/data/tablets"));
    disk.rename(Path::new("/data/log"), Path::new("/log-elsewhere")).unwrap();
    disk.rename(Path::new("/data/catalog"), Path::new("/catalog-elsewhere")).unwrap();
    let Err(Error::DataDir { reason, .. }) = open(&disk, &clock()).await else {
        panic!("a node without catalog and log started beside tablets");
    };
    assert!(reason.contains("tablets/ holds 2"), "{reason}");
    assert_eq!(all_files(&disk, Path::new("/data/tablets")), files);
    disk.remove_dir_all(Path::new("/data/catalog")).unwrap();
    disk.rename(Path::new("/catalog-elsewhere"), Path::new("/data/catalog")).unwrap();
    let node = open(&disk, &clock()).await.unwrap();
    assert_eq!(scan(&node, table, TimeRange::ALL).unwrap(), 3);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_damaged_and_changes_nothing() {
    let disk = SimDisk::new();
    let (_, tablets) = stored(&disk).await;
    let check = || crate::check(Path::new("/data"), Arc::new(disk.clone()), clock()).unwrap();
    let found = check();
    assert_eq!((found.tables, found.tablets, found.troubles), (1, 2, Vec::new()));
    let segment = all_files(&disk, &folder(tablets[1])).pop().unwrap();
    let mut bytes = disk.bytes(&segment).unwrap();
    bytes[33] ^= 1;
    disk.put(&segment, bytes);
    disk.remove(&folder(tablets[0]).join("MANIFEST")).unwrap();
    let before = (disk.operations(), all_files(&disk, Path::new("/data")));
    let found = check();
    let names: Vec<&str> = found.troubles.iter().map(|trouble| &*trouble.name).collect();
    let expected = [format!("tablet {}", tablets[0]), format!("tablet {}", tablets[1])];
    assert_eq!(names, expected);
    assert!(found.troubles[1].message.contains("is corrupt at byte"), "{found:?}");
    assert_eq!((disk.operations(), all_files(&disk, Path::new("/data"))), before);
    let none = crate::check(Path::new("/else"), Arc::new(disk.clone()), clock());
    assert!(matches!(none, Err(Error::DataDir { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn either_file_of_the_catalog_is_enough() {
    let disk = SimDisk::new();
    let (table, _) = stored(&disk).await;
    for name in ["CATALOG", "CATALOG.2"] {
        let path = Path::new("/data/catalog").join(name);
        let mut bytes = disk.bytes(&path).unwrap();
        bytes[40] ^= 1;
        disk.put(&path, bytes.clone());
        let node = open(&disk, &clock()).await.unwrap();
        assert!(node.troubles().iter().any(|trouble| trouble.name == "catalog"));
        assert_eq!(scan(&node, table, TimeRange::ALL).unwrap(), 3);
        let change = Change::CreateDatabase { db: Name::new(name).unwrap() };
        node.change(change).await.unwrap();
        node.compact().await.unwrap();
        node.stop().await;
        let aside = Path::new("/data/catalog").join(format!("{name}.damaged-1"));
        assert_eq!(disk.bytes(&aside), Some(bytes));
        disk.remove(&path).unwrap();
        let node = open(&disk, &clock()).await.unwrap();
        assert_eq!(scan(&node, table, TimeRange::ALL).unwrap(), 3);
        assert!(node.catalog().databases().any(|db| db.as_str() == name));
        node.compact().await.unwrap();
        node.stop().await;
    }
}

/// A catalog put back from an older copy knows fewer tablets than there are.
#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_that_the_catalog_never_knew_stays_and_its_id_is_not_given_again() {
    let disk = SimDisk::new();
    let (table, tablets) = stored(&disk).await;
    let stranger = TabletId(tablets.iter().max().unwrap().0 + 3);
    disk.create_dir_all(&folder(stranger)).unwrap();
    disk.put(&folder(stranger).join("00000001.seg"), vec![7; 100]);
    let node = open(&disk, &clock()).await.unwrap();
    let name = format!("tablet {stranger}");
    assert!(node.troubles().iter().any(|trouble| trouble.name == name));
    write(&node, table, &[NOW + 3 * DAY], 1).await.unwrap();
    let newest = node.catalog().tablets_at(table, NOW + 3 * DAY)[0].id;
    assert!(newest > stranger);
    node.compact().await.unwrap();
    node.stop().await;
    assert_eq!(disk.bytes(&folder(stranger).join("00000001.seg")), Some(vec![7; 100]));
}

/// Writes, flushes, compactions and drops of two tables at once: afterwards nothing is left of what
/// was dropped, neither in memory nor in the log nor among the tablets, and writes go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn drops_beside_everything_else_leave_nothing_behind() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let ends = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..2 {
        let (node, ends) = (node.clone(), ends.clone());
        tasks.push(tokio::spawn(async move {
            while !ends.load(Ordering::Relaxed) {
                // The table may go at any moment, which is no failure of the node.
                let Some(id) = make_table(&node).await.unwrap() else { continue };
                let times: Vec<i64> = (0..20).map(|at| NOW + at).collect();
                let Ok(cover) = node.cover(id, &[NOW], |_| 5).await else { continue };
                let Some(tablet) = cover.catalog.tablets_at(id, NOW).first() else { continue };
                match node.write(tablet.id, batch(id, &times, 1)).await {
                    Ok(_) | Err(Error::NoTablet(_)) => {}
                    Err(error) => panic!("a write beside a drop: {error}"),
                }
            }
        }));
    }
    for round in 0..60 {
        let Some(id) = make_table(&node).await.unwrap() else { continue };
        if round % 3 == 0 {
            node.compact().await.unwrap();
        }
        node.change(Change::DropTable { table: id }).await.unwrap();
    }
    ends.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    if let Some(left) = node.catalog().table("default", "m") {
        node.change(Change::DropTable { table: left.id }).await.unwrap();
    }
    assert_eq!((node.failure(), node.troubles()), (None, Vec::new()));
    assert_eq!((node.stats().tablets, node.memtable_bytes()), (0, 0));
    while !node.dropped.lock().is_empty() || !node.hosting.log.groups().iter().all(|one| one.0 == 0)
    {
        node.drop_due.notify_one();
        tokio::task::yield_now().await;
    }
    node.compact().await.unwrap();
    assert!(node.stats().log_bytes < 8_192, "{:?}", node.stats());
    let id = table(&node).await.unwrap();
    write(&node, id, &[NOW], 9).await.unwrap();
    assert_eq!(rows(&node, id), [(NOW, 9)]);
    node.stop().await;
    assert!(all_files(&disk, Path::new("/data/tablets")).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_of_dropped_tables_is_given_back() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    for _ in 0..40 {
        let id = table(&node).await.unwrap();
        let catalog = node.cover(id, &[NOW], |_| 1).await.unwrap().catalog;
        let times: Vec<i64> = (0..2_000).map(|at| NOW + at).collect();
        node.room().await;
        node.write(catalog.tablets_at(id, NOW)[0].id, batch(id, &times, 1)).await.unwrap();
        assert!(node.memtable_bytes() > 0);
        node.change(Change::DropTable { table: id }).await.unwrap();
        assert_eq!(node.memtable_bytes(), 0);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_was_closed_never_comes_back() {
    let (disk, clock) = (SimDisk::new(), clock());
    let node = open(&disk, &clock).await.unwrap();
    let id = table(&node).await.unwrap();
    write(&node, id, &[NOW], 1).await.unwrap();
    let tablet = node.catalog().tablets_at(id, NOW)[0].id;
    let held = node.hosting.get(tablet).unwrap();
    node.change(Change::DropTable { table: id }).await.unwrap();
    let late = held.replica.write(Command::rows(batch(id, &[NOW], 2))).await;
    assert!(matches!(late, Err(Error::Closed { .. })));
    let late = node.write(tablet, batch(id, &[NOW], 2)).await;
    assert!(matches!(late, Err(Error::NoTablet(_))));
    node.stop().await;
}
