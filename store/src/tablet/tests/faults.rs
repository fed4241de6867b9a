//! What failures, damage and drops leave behind: never less than what was there.

use super::*;
use crate::testing::FaultyDisk;
use std::sync::atomic::Ordering;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const DIR: &str = "/data/5";

fn faulty(disk: &FaultyDisk, plain: &SimDisk) -> Tablet {
    let folder: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut options = options(plain);
    options.trash = Arc::new(Trash::new(folder.clone(), "/data/trash".into()));
    Tablet::create(folder, DIR.into(), spec(), options).unwrap()
}

/// Rows, sealed; each call leaves one more memtable for the next flush.
fn fill(tablet: &Tablet, index: u64) {
    let batch = random_batch(&mut Random(index), 40);
    tablet.apply(LogIndex(index), Arc::new(batch));
    tablet.seal(LogIndex(index), vec![index as u8]);
}

fn rows(tablet: &Tablet) -> usize {
    scanned(tablet, &everything(), 1).len()
}

fn files(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new(DIR)).unwrap_or_default()
}

fn in_trash(disk: &SimDisk) -> Vec<String> {
    disk.list(Path::new("/data/trash")).unwrap_or_default()
}

fn flip(disk: &SimDisk, name: &str, at: usize) {
    let path = Path::new(DIR).join(name);
    let mut bytes = disk.bytes(&path).unwrap();
    bytes[at] ^= 1;
    disk.put(&path, bytes);
}

#[test]
fn a_new_tablet_has_a_folder_only_from_its_first_flush_on() {
    let disk = SimDisk::new();
    let before = disk.operations();
    let tablet = open(&disk).unwrap();
    assert_eq!((tablet.flush().unwrap(), disk.operations()), (None, before));
    assert!(!Tablet::exists(&disk, Path::new(DIR)).unwrap());
    fill(&tablet, 1);
    tablet.flush().unwrap();
    assert!(Tablet::exists(&disk, Path::new(DIR)).unwrap());
    let again = Tablet::create(Arc::new(disk.clone()), DIR.into(), spec(), options(&disk));
    assert!(matches!(again, Err(Error::NotEmpty { .. })));
}

#[test]
fn a_lost_manifest_or_segment_is_an_error_that_changes_nothing() {
    for lost in ["MANIFEST", "00000001.seg"] {
        let disk = SimDisk::new();
        let tablet = open(&disk).unwrap();
        fill(&tablet, 1);
        tablet.flush().unwrap();
        disk.put(&Path::new(DIR).join("unknown"), vec![1]);
        disk.remove(&Path::new(DIR).join(lost)).unwrap();
        let (before, operations) = (files(&disk), disk.operations());
        let Err(Error::Missing { path }) = open(&disk) else { panic!("{lost} is not missed") };
        assert!(path.ends_with(lost));
        assert_eq!((files(&disk), disk.operations()), (before, operations));
    }
}

#[test]
fn files_that_nobody_knows_go_to_the_trash() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    fill(&tablet, 1);
    tablet.flush().unwrap();
    disk.put(&Path::new(DIR).join("00000009.seg"), vec![1, 2, 3]);
    let tablet = open(&disk).unwrap();
    assert_eq!(files(&disk), ["00000001.seg", "MANIFEST"]);
    assert_eq!(in_trash(&disk), ["1-tablet-5-00000009.seg"]);
    fill(&tablet, 2);
    tablet.flush().unwrap();
    assert_eq!(files(&disk), ["00000001.seg", "00000010.seg", "MANIFEST"]);
}

#[test]
fn a_flush_that_runs_out_of_something_leaves_no_file_and_may_be_tried_again() {
    for errno in [ENOSPC, EIO, EMFILE] {
        for operation in ["make", "create", "write", "open"] {
            for name in ["5.new", "MANIFEST.tmp", "00000001.seg", "5", "data"] {
                let disk = SimDisk::new();
                let faults = FaultyDisk::new(&disk);
                let tablet = faulty(&faults, &disk);
                fill(&tablet, 1);
                let failed = Arc::new(Mutex::new(false));
                let seen = failed.clone();
                faults.set(move |what, path| {
                    let hit = what == operation && path.ends_with(name);
                    *seen.lock() |= hit;
                    hit.then_some(errno)
                });
                let outcome = tablet.flush();
                assert_eq!(outcome.is_err(), *failed.lock(), "{operation} of {name}");
                if let Err(error) = outcome {
                    assert!(error.is_retryable(), "{error}");
                    let left = files(&disk).iter().any(|name| name.ends_with(".seg"));
                    assert!(!left, "{:?}", files(&disk));
                }
                faults.set(|_, _| None);
                tablet.flush().unwrap();
                assert_eq!(rows(&open(&disk).unwrap()), rows(&tablet));
            }
        }
    }
}

#[test]
fn a_manifest_that_does_not_fit_takes_its_segment_back() {
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let tablet = faulty(&faults, &disk);
    fill(&tablet, 1);
    tablet.flush().unwrap();
    fill(&tablet, 2);
    faults.set(|what, path| (what == "write" && path.ends_with("MANIFEST.tmp")).then_some(ENOSPC));
    assert!(tablet.flush().unwrap_err().is_retryable());
    assert_eq!(files(&disk), ["00000001.seg", "MANIFEST"]);
    faults.set(|_, _| None);
    assert_eq!(tablet.flush().unwrap(), Some(LogIndex(2)));
}

#[test]
fn a_failed_sync_or_manifest_ends_all_writing_and_no_reading() {
    let cases = [
        ("sync", "00000002.seg"),
        ("sync", "MANIFEST.tmp"),
        ("rename", "MANIFEST.tmp"),
        ("sync", "5"),
    ];
    for (operation, name) in cases {
        let disk = SimDisk::new();
        let faults = FaultyDisk::new(&disk);
        let tablet = faulty(&faults, &disk);
        fill(&tablet, 1);
        tablet.flush().unwrap();
        fill(&tablet, 2);
        faults.set(move |what, path| (what == operation && path.ends_with(name)).then_some(EIO));
        let expected = rows(&tablet);
        assert!(matches!(tablet.flush(), Err(Error::Poisoned(_))), "{operation} of {name}");
        faults.set(|_, _| None);
        assert!(matches!(tablet.flush(), Err(Error::Poisoned(_))));
        assert!(matches!(tablet.compact(), Err(Error::Poisoned(_))));
        assert_eq!(rows(&tablet), expected);
    }
}

#[test]
fn merged_inputs_go_to_the_trash_and_a_scan_under_way_reads_on() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    (1..=5).for_each(|index| {
        fill(&tablet, index);
        tablet.flush().unwrap();
    });
    let expected = rows(&tablet);
    let scan = tablet.scan(&everything(), 1).unwrap();
    assert!(tablet.compact().unwrap());
    assert_eq!(files(&disk), ["00000006.seg", "MANIFEST"]);
    assert_eq!(in_trash(&disk).len(), 5);
    let trash = Trash::new(Arc::new(disk.clone()), "/data/trash".into());
    assert!(trash.empty(1, std::time::Duration::ZERO).unwrap() > 0);
    let read: usize = scan.into_iter().flatten().map(|block| block.unwrap().rows()).sum();
    assert_eq!((read, rows(&tablet)), (expected, expected));
}

#[test]
fn a_merge_without_room_is_not_begun() {
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let mut tablet = faulty(&faults, &disk);
    tablet.options.reserve_bytes = 1_000_000;
    (1..=4).for_each(|index| {
        fill(&tablet, index);
        tablet.flush().unwrap();
    });
    let bytes = tablet.stats().bytes;
    faults.free_bytes.store(bytes + 999_999, Ordering::Relaxed);
    let operations = disk.operations();
    for outcome in [tablet.compact().map(drop), tablet.compact_fully()] {
        let Err(error @ Error::NoRoom { .. }) = outcome else { panic!("{outcome:?}") };
        assert!(error.is_retryable());
    }
    assert_eq!(disk.operations(), operations);
    faults.free_bytes.store(bytes + 1_000_000, Ordering::Relaxed);
    assert!(tablet.compact().unwrap());
}

#[test]
fn a_merge_that_fails_leaves_no_file() {
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let tablet = faulty(&faults, &disk);
    (1..=4).for_each(|index| {
        fill(&tablet, index);
        tablet.flush().unwrap();
    });
    let before = files(&disk);
    faults.set(|what, path| (what == "write" && path.ends_with("00000005.seg")).then_some(ENOSPC));
    for _ in 0..3 {
        assert!(tablet.compact().unwrap_err().is_retryable());
        assert_eq!(files(&disk), before);
        faults.set(|what, path| {
            (what == "write" && path.to_string_lossy().ends_with(".seg")).then_some(ENOSPC)
        });
    }
    faults.set(|_, _| None);
    assert!(tablet.compact().unwrap());
}

#[test]
fn a_damaged_segment_is_read_once_by_merges_and_then_left_alone() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    (1..=9).for_each(|index| {
        fill(&tablet, index);
        tablet.flush().unwrap();
    });
    flip(&disk, "00000004.seg", 40);
    let faults = FaultyDisk::new(&disk);
    let tablet =
        Tablet::open(Arc::new(faults.clone()), DIR.into(), spec(), options(&disk)).unwrap();
    assert_eq!(tablet.stats().damaged_segments, 0);
    let before = files(&disk);
    let Err(Error::Source { reason, .. }) = tablet.compact() else { panic!("no damage found") };
    assert!(reason.contains("00000004.seg is corrupt at byte"), "{reason}");
    assert_eq!(files(&disk), before);
    assert_eq!(tablet.stats().damaged_segments, 1);
    let reads = Arc::new(Mutex::new(0));
    let count = reads.clone();
    faults.set(move |what, path| {
        *count.lock() += u32::from(what == "read" && path.ends_with("00000004.seg"));
        None
    });
    assert!(tablet.compact().unwrap(), "the five behind it merge");
    assert!(!tablet.compact().unwrap());
    tablet.compact_fully().unwrap();
    assert_eq!((tablet.stats().segments, *reads.lock()), (3, 0));
    assert!(tablet.verify().is_err());
}

/// Also where it is not read again while the tablet is open.
#[test]
fn whatever_byte_of_a_segment_differs_is_found_by_a_scrub() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    fill(&tablet, 1);
    tablet.flush().unwrap();
    tablet.scrub(|_| true).unwrap();
    let path = Path::new(DIR).join("00000001.seg");
    let bytes = disk.bytes(&path).unwrap();
    let file = disk.open(&path).unwrap();
    for (at, byte) in bytes.iter().enumerate() {
        file.write_at(&[byte ^ 1], at as u64).unwrap();
        assert!(tablet.scrub(|_| true).is_err(), "byte {at} of {}", bytes.len());
        file.write_at(&[*byte], at as u64).unwrap();
    }
    tablet.scrub(|_| false).unwrap();
    assert!(tablet.is_damaged(), "it was not read to its end");
    tablet.scrub(|_| true).unwrap();
    assert!(!tablet.is_damaged());
}

/// Where an operator has put the file back, the tablet is read and merged as before.
#[test]
fn a_scrub_finds_that_a_file_was_put_back_whatever_the_others_are() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    for index in 1..=3 {
        fill(&tablet, index);
        tablet.flush().unwrap();
    }
    let paths: Vec<_> = [1, 3].map(|at| Path::new(DIR).join(format!("0000000{at}.seg"))).into();
    let whole: Vec<Vec<u8>> = paths.iter().map(|path| disk.bytes(path).unwrap()).collect();
    for (path, bytes) in paths.iter().zip(&whole) {
        let middle = bytes.len() / 2;
        disk.open(path).unwrap().write_at(&[!bytes[middle]], middle as u64).unwrap();
    }
    assert!(tablet.scrub(|_| true).is_err());
    assert_eq!(tablet.stats().damaged_segments, 2);
    // Another file under the name, as of a copy that was moved there.
    disk.remove(&paths[1]).unwrap();
    disk.put(&paths[1], whole[1].clone());
    assert!(tablet.scrub(|_| true).is_err());
    assert_eq!(tablet.stats().damaged_segments, 1);
    disk.remove(&paths[0]).unwrap();
    disk.put(&paths[0], whole[0].clone());
    tablet.scrub(|_| true).unwrap();
    assert_eq!(tablet.stats().damaged_segments, 0);
    tablet.compact_fully().unwrap();
    assert_eq!(tablet.stats().segments, 1);
}

#[test]
fn a_dropped_tablet_writes_nothing_more_and_scans_under_way_read_on() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    (1..=4).for_each(|index| {
        fill(&tablet, index);
        tablet.flush().unwrap();
    });
    let expected = rows(&tablet);
    let scan = tablet.scan(&everything(), 1).unwrap();
    fill(&tablet, 5);
    tablet.close();
    let trash = Trash::new(Arc::new(disk.clone()), "/data/trash".into());
    trash.take(Path::new(DIR), "dropped").unwrap();
    trash.empty(1, std::time::Duration::ZERO).unwrap();
    let operations = disk.operations();
    assert!(matches!(tablet.flush(), Err(Error::Dropped(_))));
    assert!(matches!(tablet.compact(), Err(Error::Dropped(_))));
    assert!(matches!(tablet.compact_fully(), Err(Error::Dropped(_))));
    assert!(matches!(tablet.scan(&everything(), 1), Err(Error::Dropped(_))));
    assert_eq!(disk.operations(), operations);
    let read: usize = scan.into_iter().flatten().map(|block| block.unwrap().rows()).sum();
    assert_eq!(read, expected);
}

#[test]
fn a_flush_under_way_stops_when_its_tablet_is_dropped() {
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let tablet = Arc::new(faulty(&faults, &disk));
    fill(&tablet, 1);
    let (dropped, closing) = (tablet.clone(), Arc::new(Mutex::new(None)));
    let thread = closing.clone();
    faults.set(move |what, path| {
        if what == "create" && path.ends_with("00000001.seg") {
            let closing = dropped.clone();
            *thread.lock() = Some(std::thread::spawn(move || closing.close()));
            while dropped.may_write().is_ok() {
                std::thread::yield_now();
            }
        }
        None
    });
    assert!(matches!(tablet.flush(), Err(Error::Dropped(_))));
    closing.lock().take().unwrap().join().unwrap();
    assert_eq!(files(&disk), ["MANIFEST"]);
    faults.set(|_, _| None);
}
