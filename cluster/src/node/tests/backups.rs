//! Backups of a node, and nodes made of them.

use super::*;
use crate::{Restore, RestoredCatalog, RestoredConnectors};
use std::{
    io::{Cursor, Read},
    path::Path,
};

const BACKUP: &str = "first";
const STEP: i64 = NS_PER_DAY / 4;

fn times(steps: std::ops::Range<i64>) -> Vec<i64> {
    steps.map(|at| NOW + at * STEP).collect()
}

/// A backup in memory: of each tablet its files with what was said of them, and the catalog.
struct Taken {
    tablets: Vec<(TabletId, HeldFiles, Vec<Vec<u8>>)>,
    catalog: Vec<u8>,
}

async fn take(node: &Arc<Node>) -> Taken {
    let mut tablets = Vec::new();
    let ids: Vec<TabletId> = node.catalog().tablets().map(|tablet| tablet.id).collect();
    for id in ids {
        let Some(held) = node.hold_for_backup(BACKUP, id).await.unwrap() else { continue };
        let mut files = Vec::new();
        for (at, sum) in held.sums.iter().enumerate() {
            let mut file = Vec::new();
            while (file.len() as u64) < sum.bytes {
                let piece = file.len() as u64..sum.bytes;
                file.extend_from_slice(&node.read_for_backup(BACKUP, id, at, piece).unwrap());
            }
            files.push(file);
        }
        tablets.push((id, held, files));
    }
    let catalog = node.catalog_for_backup().await.unwrap();
    Taken { tablets, catalog }
}

fn begin(disk: &SimDisk, backup: &str) -> Result<Restore> {
    Restore::begin(Arc::new(disk.clone()), "/data".into(), backup)
}

impl Taken {
    fn bring_back(&self, restore: &Restore) -> Result<u64> {
        let mut rows = 0;
        for (id, held, files) in &self.tablets {
            let open = |at: usize| Ok(Box::new(Cursor::new(files[at].clone())) as Box<dyn Read>);
            rows += restore.tablet(*id, &held.sums, open)?;
        }
        Ok(rows)
    }

    fn restore(&self, disk: &SimDisk) -> Result<RestoredCatalog> {
        let restore = begin(disk, BACKUP)?;
        self.bring_back(&restore)?;
        restore.finish(&self.catalog, RestoredConnectors::Paused)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_comes_back_and_goes_on() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &times(0..40), 1).await.unwrap();
    node.compact().await.unwrap();
    write(&node, table, &times(30..50), 2).await.unwrap();
    let deleted = TimeRange::new(NOW, NOW + NS_PER_DAY);
    node.delete(table, deleted, TagPredicate::Always).await.unwrap();
    let change = Change::PutConnector { name: Name::new("plant").unwrap(), spec: "{}".into() };
    node.change(change).await.unwrap();
    let expected = rows(&node, table);
    assert_eq!(expected.len(), 46);
    let taken = take(&node).await;
    // What comes later, and what is merged meanwhile, changes nothing.
    write(&node, table, &times(0..60), 3).await.unwrap();
    node.compact().await.unwrap();
    node.end_backup(BACKUP);
    assert!(node.read_for_backup(BACKUP, taken.tablets[0].0, 0, 0..1).is_err());
    node.stop().await;

    let other = SimDisk::new();
    let restored = taken.restore(&other).unwrap();
    assert_eq!((restored.tables, restored.paused), (1, vec!["plant".to_owned()]));
    for round in 0..2 {
        let node = open(&other, &clock()).await.unwrap();
        assert_eq!(node.troubles(), []);
        assert_eq!(node.identity().cluster, restored.cluster);
        let mut expected = expected.clone();
        if round == 0 {
            assert_eq!(rows(&node, table), expected);
            write(&node, table, &times(48..56), 4).await.unwrap();
        }
        expected.truncate(44);
        expected.extend((48..56).map(|at| (NOW + at * STEP, 4)));
        assert_eq!(rows(&node, table), expected);
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_is_refused_by_name_and_the_restore_can_be_run_again() {
    let disk = SimDisk::new();
    let node = open(&disk, &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &times(0..8), 1).await.unwrap();
    let taken = take(&node).await;
    let expected = rows(&node, table);
    node.stop().await;
    let other = SimDisk::new();
    let restore = begin(&other, BACKUP).unwrap();
    let (id, held, files) = &taken.tablets[1];
    for file in 0..files.len() {
        for at in [0, files[file].len() / 2, files[file].len() - 1] {
            let mut bad = files.clone();
            bad[file][at] ^= 0x10;
            let open = |at: usize| Ok(Box::new(Cursor::new(bad[at].clone())) as Box<dyn Read>);
            let text = restore.tablet(*id, &held.sums, open).unwrap_err().to_string();
            assert!(text.contains(&format!("tablet {id}: file {file}")), "{text}");
            assert!(text.contains("it is damaged"), "{text}");
        }
    }
    let short = |at: usize| {
        let bytes = files[at][..files[at].len() - 1].to_vec();
        Ok(Box::new(Cursor::new(bytes)) as Box<dyn Read>)
    };
    assert!(restore.tablet(*id, &held.sums, short).is_err());
    drop(restore);
    let refused = open(&other, &clock()).await.map(drop).unwrap_err().to_string();
    assert!(refused.contains("a restore into it is not finished"), "{refused}");
    let refused = begin(&other, "another").map(drop).unwrap_err().to_string();
    assert!(refused.contains("a restore of first broke off in it"), "{refused}");
    taken.restore(&other).unwrap();
    let node = open(&other, &clock()).await.unwrap();
    assert_eq!(rows(&node, table), expected);
    node.stop().await;
    let refused = taken.restore(&other).unwrap_err().to_string();
    assert!(refused.contains("it is a node's already"), "{refused}");
    let strange = SimDisk::new();
    strange.put(Path::new("/data/holiday.jpg"), vec![1]);
    let refused = taken.restore(&strange).unwrap_err().to_string();
    assert!(refused.contains("holiday.jpg"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_backups_read_at_once() {
    let node = open(&SimDisk::new(), &clock()).await.unwrap();
    let table = table(&node).await.unwrap();
    write(&node, table, &times(0..1), 1).await.unwrap();
    let tablet = node.catalog().tablets_of(table)[0].id;
    for backup in ["a", "b", "c", "d"] {
        assert!(node.hold_for_backup(backup, tablet).await.unwrap().is_some());
    }
    let refused = node.hold_for_backup("e", tablet).await.unwrap_err();
    assert!(refused.is_retryable() && refused.to_string().contains("4 backups"), "{refused}");
    node.end_backup("a");
    node.hold_for_backup("e", tablet).await.unwrap();
    assert!(matches!(node.hold_for_backup("e", TabletId(99)).await, Err(Error::NoTablet(_))));
    node.stop().await;
}
