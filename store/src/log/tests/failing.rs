//! Disks that are full, fail, or have no descriptors left, for once or for good.

use super::*;
use crate::testing::FaultyDisk;
use std::sync::atomic::{AtomicU64, Ordering};

#[test]
fn a_rotation_is_given_up_where_the_disk_is_full_and_writes_go_on() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let append = |first| Op::Append { first, entries: vec![vec![1; 8].into()] };
    log.submit_and_wait(GroupId(1), append(0)).unwrap();
    let taken = (1 << 40) - disk.free_bytes(Path::new("/data")).unwrap();
    disk.resize(taken);
    assert!(matches!(log.rotate(), Err(Error::Stalled(_))));
    log.submit_and_wait(GroupId(1), append(1)).unwrap();
    // One that cannot be written stands before the next rotation.
    let large = Op::Append { first: 2, entries: vec![vec![1; 600].into()] };
    log.submit(GroupId(1), large, Box::new(|outcome| outcome.unwrap()));
    assert!(matches!(log.rotate(), Err(Error::Stalled(_))));
    disk.resize(1 << 40);
    log.submit_and_wait(GroupId(1), append(3)).unwrap();
    log.rotate().unwrap();
}

#[test]
fn nothing_is_acked_after_a_failed_sync() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    let append = |first| Op::Append { first, entries: vec![vec![1; 8].into()] };
    log.submit_and_wait(GroupId(1), append(0)).unwrap();
    disk.crash_at(disk.operations() + 2);
    assert!(matches!(log.submit_and_wait(GroupId(1), append(1)), Err(Error::Poisoned(_))));
    assert!(matches!(log.submit_and_wait(GroupId(1), append(2)), Err(Error::Poisoned(_))));
    assert!(log.failure().is_some());
}

#[test]
fn a_write_that_fails_once_is_done_again_and_nobody_notices() {
    let append = |first| Op::Append { first, entries: vec![vec![1; 300].into()] };
    let calm = SimDisk::new();
    let script = |disk: &SimDisk| {
        let log = open(disk).unwrap();
        for first in 0..20 {
            log.submit_and_wait(GroupId(1), append(first)).unwrap();
        }
        assert_eq!((log.failure(), log.stats().stalled), (None, None));
    };
    script(&calm);
    let mut failed = 0;
    for at in 1..=calm.operations() {
        let disk = SimDisk::new();
        disk.fail_at(at, std::io::ErrorKind::StorageFull);
        let Ok(log) = open(&disk) else { continue };
        // What syncs is another matter: after that nothing is known.
        let outcomes = (0..20).map(|first| log.submit_and_wait(GroupId(1), append(first)));
        let acked = outcomes.take_while(|outcome| outcome.is_ok()).count() as u64;
        failed += u64::from(log.failure().is_some());
        assert!(acked == 20 || log.failure().is_some(), "operation {at}");
        drop(log);
        let found = open(&disk.reboot(0)).unwrap().group(GroupId(1)).unwrap_or_default();
        assert!(found.entries.end >= acked, "operation {at}");
    }
    assert!(failed > 0 && failed < calm.operations() * 3 / 4, "{failed} of {}", calm.operations());
}

#[test]
fn a_lack_of_descriptors_ends_no_log() {
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let options = LogOptions { file_bytes: 4096, ..LogOptions::default() };
    let log = Log::open(Arc::new(faults.clone()), DIR.into(), options).unwrap();
    let append = |first| Op::Append { first, entries: vec![vec![1; 1500].into()] };
    let refusals = Arc::new(AtomicU64::new(0));
    let counted = refusals.clone();
    faults.set(move |what, path| {
        let hit = what == "open" && path.ends_with("log");
        (hit && !counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(3)).then_some(24)
    });
    for first in 0..20 {
        while log.submit_and_wait(GroupId(1), append(first)).is_err() {
            assert_eq!(log.failure(), None);
        }
        let purge = Op::Purge { upto: first, mark: b"m"[..].into() };
        while log.submit_and_wait(GroupId(1), purge.clone()).is_err() {}
        let _ = log.trim();
    }
    assert_eq!(log.failure(), None);
    assert!(refusals.load(Ordering::Relaxed) > 10);
    drop(log);
    assert_eq!(open(&disk.reboot(0)).unwrap().group(GroupId(1)).unwrap().entries.end, 20);
}

#[test]
fn a_log_that_cannot_be_written_closes_all_the_same() {
    let disk = SimDisk::new();
    let log = open(&disk).unwrap();
    for at in 1..200 {
        disk.fail_at(disk.operations() + at, std::io::ErrorKind::StorageFull);
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let op = Op::Append { first: 0, entries: vec![vec![1; 8].into()] };
    log.submit(GroupId(1), op, Box::new(move |outcome| sender.send(outcome).unwrap()));
    log.close();
    assert!(receiver.recv().unwrap().is_err());
}
