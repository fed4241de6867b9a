//! A tablet whose manifest was lost or damaged, and made again.

use super::*;
use oribi_store::{Consent, Repaired};
use std::path::{Path, PathBuf};

fn manifest(tablet: TabletId) -> PathBuf {
    Path::new("/data/tablets").join(tablet.to_string()).join("MANIFEST")
}

const ORDER: Consent = Consent { assume_order: true, accept_loss: false };

fn repair(disk: &SimDisk, tablet: TabletId) -> Result<Repaired> {
    crate::repair(Path::new("/data"), tablet, Consent::default(), Arc::new(disk.clone()), clock())
}

fn troubles(disk: &SimDisk) -> Vec<Trouble> {
    crate::check(Path::new("/data"), Arc::new(disk.clone()), clock()).unwrap().troubles
}

/// A stopped node with one tablet: rows flushed several times and merged, others in the log only.
async fn stored(disk: &SimDisk) -> (TableId, TabletId) {
    let node = open(disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    for round in 0..3 {
        write(&node, table, &[NOW + round, NOW + 100], round).await.unwrap();
        let tablet = node.catalog().tablets_of(table)[0].id;
        node.hosting.get(tablet).unwrap().flush().unwrap();
    }
    node.delete(table, TimeRange::new(NOW + 1, NOW + 2), TagPredicate::Always).await.unwrap();
    node.compact().await.unwrap();
    write(&node, table, &[NOW + 10, NOW + 100], 10).await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id;
    node.hosting.get(tablet).unwrap().flush().unwrap();
    write(&node, table, &[NOW + 20, NOW + 100], 20).await.unwrap();
    node.stop().await;
    (table, tablet)
}

const EXPECTED: [(i64, i64); 5] =
    [(NOW, 0), (NOW + 2, 2), (NOW + 10, 10), (NOW + 20, 20), (NOW + 100, 20)];

/// Every row is there, nothing is wrong, and writes go on.
async fn is_whole(disk: &SimDisk, table: TableId) {
    assert_eq!(troubles(disk), Vec::new());
    for round in 0..2i64 {
        let node = open(disk, &clock()).await.unwrap();
        let mut expected = EXPECTED.to_vec();
        expected.extend((0..round).map(|round| (NOW + 200 + round, 30)));
        assert_eq!(rows(&node, table), expected);
        write(&node, table, &[NOW + 200 + round], 30).await.unwrap();
        node.compact().await.unwrap();
        expected.push((NOW + 200 + round, 30));
        assert_eq!(rows(&node, table), expected);
        assert_eq!(node.troubles(), Vec::new());
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_manifest_is_made_again_and_no_row_is_missing() {
    let disk = SimDisk::new();
    let (table, tablet) = stored(&disk).await;
    assert!(matches!(
        repair(&disk, tablet),
        Err(Error::Store(oribi_store::Error::Unrepairable { .. }))
    ));
    assert!(matches!(repair(&disk, TabletId(77)), Err(Error::NoTablet(_))));
    let mut bytes = disk.bytes(&manifest(tablet)).unwrap();
    bytes[18] ^= 8;
    disk.put(&manifest(tablet), bytes.clone());
    assert_eq!(troubles(&disk)[0].name, format!("tablet {tablet}"));
    let done = repair(&disk, tablet).unwrap();
    assert_eq!((done.segments, done.assumed.len()), (2, 0));
    assert_eq!(done.forgotten_deletes, Some(Vec::new()));
    assert_eq!(disk.bytes(&done.kept.unwrap()), Some(bytes.clone()));
    is_whole(&disk, table).await;
    let kept = manifest(tablet).with_file_name("MANIFEST.damaged-1");
    assert_eq!(disk.bytes(&kept), Some(bytes), "a start leaves it there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_manifest_is_made_again() {
    let disk = SimDisk::new();
    let (table, tablet) = stored(&disk).await;
    disk.remove(&manifest(tablet)).unwrap();
    assert_eq!(troubles(&disk)[0].name, format!("tablet {tablet}"));
    let before = disk.list(manifest(tablet).parent().unwrap()).unwrap();
    // The two segments have a row in common with another value in each.
    let refused = repair(&disk, tablet).unwrap_err().to_string();
    assert!(refused.contains("--assume-order"), "{refused}");
    assert_eq!(disk.list(manifest(tablet).parent().unwrap()).unwrap(), before);
    let disk_of = || Arc::new(disk.clone());
    let done = crate::repair(Path::new("/data"), tablet, ORDER, disk_of(), clock()).unwrap();
    assert_eq!((done.segments, done.kept, done.forgotten_deletes), (2, None, None));
    is_whole(&disk, table).await;
}

/// What is stored with a flush for the consensus group is what the flush itself had stored.
#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_made_again_says_of_the_group_what_the_old_one_said() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW], 1).await.unwrap();
    node.compact().await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id;
    node.stop().await;
    let flushed = || {
        let body = &disk.bytes(&manifest(tablet)).unwrap()[20..];
        serde_json::from_slice::<serde_json::Value>(body).unwrap()["flushed"].clone()
    };
    let before = flushed();
    disk.remove(&manifest(tablet)).unwrap();
    repair(&disk, tablet).unwrap();
    assert_eq!(flushed(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_named_with_what_can_be_read_behind() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW, NOW + 1, NOW + 2], 1).await.unwrap();
    node.stop().await;
    let path = Path::new("/data/log/000000000001.log");
    let mut bytes = disk.bytes(path).unwrap();
    bytes[70] ^= 1;
    disk.put(path, bytes);
    let operations = disk.operations();
    let found = troubles(&disk);
    assert_eq!((found.len(), found[0].name.as_str(), disk.operations()), (1, "log", operations));
    let message = &found[0].message;
    assert!(
        message.contains("is corrupt at byte") && message.contains("whole frames"),
        "{message}"
    );
    assert!(!message.contains("behind it 0 entries"), "{message}");
    assert!(matches!(
        open(&disk, &clock()).await,
        Err(Error::Store(oribi_store::Error::Corrupt { .. }))
    ));
}

/// Segments may hold more than a log that an operator cut.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_cut_costs_only_what_was_in_no_segment() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &[NOW, NOW + 1], 1).await.unwrap();
    let path = Path::new("/data/log/000000000001.log");
    let end = node.hosting.log.stats().bytes as usize;
    write(&node, table, &[NOW + 2, NOW + 3], 2).await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id;
    node.hosting.get(tablet).unwrap().flush().unwrap();
    write(&node, table, &[NOW + 4], 3).await.unwrap();
    node.stop().await;
    let mut bytes = disk.bytes(path).unwrap();
    bytes[end + 17] ^= 1;
    disk.put(path, bytes.clone());
    let message = &troubles(&disk)[0].message;
    assert!(message.contains(&format!("at byte {end}:")), "{message}");
    bytes.truncate(end);
    disk.put(path, bytes);
    let mut expected = vec![(NOW, 1), (NOW + 1, 1), (NOW + 2, 2), (NOW + 3, 2)];
    for round in 0..3i64 {
        let node = open(&disk, &clock()).await.unwrap();
        assert_eq!((rows(&node, table), node.troubles()), (expected.clone(), Vec::new()));
        write(&node, table, &[NOW + 9 + round], round).await.unwrap();
        expected.push((NOW + 9 + round, round));
        if round == 1 {
            node.compact().await.unwrap();
        }
        node.stop().await;
    }
}
