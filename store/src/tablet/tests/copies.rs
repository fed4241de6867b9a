//! One replica's files in the place of another's: all of them or none, whatever happens meanwhile.

use super::*;
use crate::{checksum, testing::FaultyDisk};
use std::sync::atomic::Ordering;

/// Takes over all that a pin has, in pieces of a few hundred bytes.
fn copy(pin: &Pin, tablet: &Tablet) -> Result<Flushed> {
    let mut staging = tablet.stage(&pin.sums()?, None)?;
    pull(pin, &mut staging, usize::MAX)?;
    tablet.install(staging)
}

/// Writes as many pieces.
fn pull(pin: &Pin, staging: &mut Staging, pieces: usize) -> Result<()> {
    for _ in 0..pieces {
        let Some(Gap { file, bytes }) = staging.gap() else { break };
        let piece = bytes.start..bytes.end.min(bytes.start + 700);
        staging.write(file, bytes.start, &pin.read(file, piece)?)?;
    }
    Ok(())
}

/// Applies a log, flushes now and then, and compacts now and then.
fn filled(disk: &SimDisk, log: &[Entry]) -> Tablet {
    let tablet = open(disk).unwrap();
    for (at, entry) in log.iter().enumerate() {
        let index = at as u64 + 1;
        apply(&tablet, index, entry);
        if index.is_multiple_of(4) {
            tablet.seal(LogIndex(index), vec![index as u8]);
            tablet.flush().unwrap();
        }
    }
    tablet
}

fn random_log(seed: u64, entries: usize) -> (Vec<Entry>, Vec<Model>) {
    let mut random = Random(seed);
    let mut log: Vec<Entry> = (0..entries).map(|_| random_entry(&mut random)).collect();
    log[entries / 2] = Entry::Delete(TimeRange::new(0, 30_000), TagPredicate::Always);
    let (mut model, mut models) = (Model::new(), vec![Model::new()]);
    for entry in &log {
        apply_model(&mut model, entry);
        models.push(model.clone());
    }
    (log, models)
}

/// What the tablet holds is what the first so many entries say.
fn check_at(tablet: &Tablet, models: &[Model], index: usize) {
    check_all(tablet, &models[index]);
}

#[test]
fn a_copy_holds_what_the_source_had_flushed_and_nothing_of_its_own() {
    for seed in 0..12 {
        let (log, models) = random_log(seed, 18);
        let source = filled(&SimDisk::new(), &log);
        let pin = source.pin().unwrap().unwrap();
        assert_eq!(pin.flushed().index, LogIndex(16));
        // Its own is shorter, and in part not flushed.
        let disk = SimDisk::new();
        let target = filled(&disk, &log[..seed as usize]);
        let flushed = copy(&pin, &target).unwrap();
        assert_eq!(flushed, *pin.flushed());
        assert_eq!((target.applied(), target.flushed()), (Some(LogIndex(16)), Some(flushed)));
        check_at(&target, &models, 16);
        for (at, entry) in log.iter().enumerate() {
            apply(&target, at as u64 + 1, entry);
        }
        check_at(&target, &models, 18);
        let again = open(&disk).unwrap();
        check_at(&again, &models, 16);
        again.verify().unwrap();
        again.compact_fully().unwrap();
        check_at(&again, &models, 16);
    }
}

#[test]
fn what_is_pinned_can_be_read_after_a_merge_and_a_drop() {
    let (log, models) = random_log(3, 16);
    let disk = SimDisk::new();
    let source = filled(&disk, &log);
    let pin = source.pin().unwrap().unwrap();
    source.compact_fully().unwrap();
    let later = source.pin().unwrap().unwrap();
    source.close();
    let trash = Trash::new(Arc::new(disk.clone()), "/data/trash".into());
    trash.take(Path::new("/data/5"), "dropped").unwrap();
    trash.empty(1, std::time::Duration::ZERO).unwrap();
    for pin in [pin, later] {
        let target = open(&SimDisk::new()).unwrap();
        copy(&pin, &target).unwrap();
        check_at(&target, &models, 16);
    }
    assert!(matches!(source.pin(), Err(Error::Dropped(_))));
}

#[test]
fn an_empty_replica_takes_no_file_but_a_small_manifest() {
    let source = open(&SimDisk::new()).unwrap();
    assert!(source.pin().unwrap().is_none());
    source.seal(LogIndex(3), vec![1; 200]);
    source.flush().unwrap();
    let pin = source.pin().unwrap().unwrap();
    let disk = SimDisk::new();
    copy(&pin, &open(&disk).unwrap()).unwrap();
    assert_eq!(disk.list(Path::new("/data")).unwrap(), ["5", "trash"]);
    assert_eq!(disk.list(Path::new("/data/5")).unwrap(), ["MANIFEST"]);
    let bytes = disk.bytes(Path::new("/data/5/MANIFEST")).unwrap().len();
    assert!(bytes <= 4_096, "{bytes} bytes");
}

#[test]
fn a_damaged_piece_is_noticed_and_the_file_is_taken_again() {
    let (log, models) = random_log(4, 16);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    let target = open(&SimDisk::new()).unwrap();
    let mut staging = target.stage(&pin.sums().unwrap(), None).unwrap();
    for wanted in [0, 2] {
        while staging.gap().unwrap().file != wanted {
            pull(&pin, &mut staging, 1).unwrap();
        }
        let Gap { file, bytes } = staging.gap().unwrap();
        let mut piece = pin.read(file, bytes.clone()).unwrap();
        piece[7] ^= 1;
        let outcome = staging.write(file, bytes.start, &piece);
        assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
        assert_eq!(staging.gap(), Some(Gap { file, bytes }));
    }
    pull(&pin, &mut staging, usize::MAX).unwrap();
    target.install(staging).unwrap();
    check_at(&target, &models, 16);
}

#[test]
fn a_damaged_source_is_not_copied() {
    let (log, _) = random_log(5, 16);
    let disk = SimDisk::new();
    drop(filled(&disk, &log));
    let path = Path::new("/data/5/00000002.seg");
    let mut bytes = disk.bytes(path).unwrap();
    bytes[40] ^= 1;
    disk.put(path, bytes);
    let source = open(&disk).unwrap();
    let outcome = source.pin().unwrap().unwrap().sums();
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
    assert_eq!(source.stats().damaged_segments, 1);
}

#[test]
fn pieces_that_do_not_fit_change_nothing() {
    let (log, _) = random_log(6, 8);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    let sums = pin.sums().unwrap();
    let target = open(&SimDisk::new()).unwrap();
    let mut staging = target.stage(&sums, None).unwrap();
    let before = staging.gap();
    for (file, offset, bytes) in
        [(0, 1, vec![1]), (9, 0, vec![1]), (0, 0, vec![0; sums[0].bytes as usize + 1])]
    {
        let outcome = staging.write(file, offset, &bytes);
        assert!(matches!(outcome, Err(Error::NotTakenOver { .. })), "{outcome:?}");
    }
    assert_eq!(staging.gap(), before);
    for (file, piece) in [(0, 5..5), (0, 0..sums[0].bytes + 1), (9, 0..1), (usize::MAX, 0..1)] {
        assert!(matches!(pin.read(file, piece), Err(Error::NotTakenOver { .. })));
    }
    // Not all is there.
    let outcome = target.install(staging);
    assert!(matches!(outcome, Err(Error::NotTakenOver { .. })), "{outcome:?}");
    assert_eq!(target.stats(), TabletStats::default());
    let long = FileSum { bytes: u64::MAX, crc: 0 };
    for sums in [&[][..], &[long], &[FileSum { bytes: 0, crc: 0 }], &[sums[0]; 70_000]] {
        assert!(matches!(target.stage(sums, None), Err(Error::NotTakenOver { .. })));
    }
}

#[test]
fn what_is_as_new_or_of_another_tablet_is_not_installed() {
    let (log, models) = random_log(7, 18);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    for own in [16, 18] {
        let target = filled(&SimDisk::new(), &log[..own]);
        let outcome = copy(&pin, &target);
        assert!(matches!(outcome, Err(Error::NotTakenOver { .. })), "{outcome:?}");
        check_at(&target, &models, own);
    }
    let other = TabletSpec { id: TabletId(6), ..spec() };
    let disk = SimDisk::new();
    let folder: Arc<dyn Disk> = Arc::new(disk.clone());
    let target = Tablet::create(folder, "/data/6".into(), other, options(&disk)).unwrap();
    assert!(matches!(copy(&pin, &target), Err(Error::WrongTablet { .. })));
    assert_eq!(target.stats(), TabletStats::default());
}

#[test]
fn any_manifest_may_come() {
    let (log, _) = random_log(8, 8);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    let sums = pin.sums().unwrap();
    for seed in 0..300 {
        let mut random = Random(seed);
        let target = open(&SimDisk::new()).unwrap();
        let mut staging = target.stage(&sums, None).unwrap();
        checksum::ignored(|| {
            while let Some(Gap { file, bytes }) = staging.gap() {
                let mut piece = pin.read(file, bytes.clone()).unwrap();
                if file == seed as usize % 2 {
                    for _ in 0..1 + random.below(3) {
                        let at = random.below(piece.len() as u64) as usize;
                        piece[at] = random.below(256) as u8;
                    }
                }
                staging.write(file, bytes.start, &piece).unwrap();
            }
            if target.install(staging).is_ok() {
                let _ = target
                    .scan(&everything(), 1)
                    .map(|parts| parts.into_iter().flatten().take_while(Result::is_ok).count());
            }
        });
    }
}

#[test]
fn a_copy_without_room_is_not_begun() {
    let (log, _) = random_log(9, 16);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    let sums = pin.sums().unwrap();
    let bytes: u64 = sums.iter().map(|sum| sum.bytes).sum();
    let disk = SimDisk::new();
    let faults = FaultyDisk::new(&disk);
    let mut target =
        Tablet::create(Arc::new(faults.clone()), "/data/5".into(), spec(), options(&disk)).unwrap();
    target.options.reserve_bytes = 1_000;
    faults.free_bytes.store(bytes + 999, Ordering::Relaxed);
    let before = disk.list(Path::new("/data")).unwrap_or_default();
    let outcome = target.stage(&sums, None).map(drop);
    assert!(matches!(outcome, Err(Error::NoRoom { .. })), "{outcome:?}");
    assert_eq!(disk.list(Path::new("/data")).unwrap_or_default().len(), before.len().max(1));
    faults.free_bytes.store(bytes + 1_000, Ordering::Relaxed);
    assert!(target.stage(&sums, None).is_ok());
}

#[test]
fn files_that_are_wanted_again_are_not_copied_again() {
    let (log, models) = random_log(10, 24);
    let disk = SimDisk::new();
    let source = filled(&disk, &log[..16]);
    let pin = source.pin().unwrap().unwrap();
    let target = open(&SimDisk::new()).unwrap();
    let mut staging = target.stage(&pin.sums().unwrap(), None).unwrap();
    // The first two segments, and a part of the third.
    while staging.gap().unwrap().file < 3 {
        pull(&pin, &mut staging, 1).unwrap();
    }
    pull(&pin, &mut staging, 1).unwrap();
    let (have, _) = staging.progress();
    // The source has gone on.
    for (at, entry) in log.iter().enumerate().skip(16) {
        apply(&source, at as u64 + 1, entry);
    }
    source.seal(LogIndex(24), vec![24]);
    source.flush().unwrap();
    let (manifest, later) = (pin.sums().unwrap()[0].bytes, source.pin().unwrap().unwrap());
    let mut staging = target.stage(&later.sums().unwrap(), Some(staging)).unwrap();
    assert_eq!(staging.progress().0, have - manifest);
    pull(&later, &mut staging, usize::MAX).unwrap();
    target.install(staging).unwrap();
    check_at(&target, &models, 24);
}

#[test]
fn a_crash_at_any_operation_leaves_the_old_rows_or_the_new_ones() {
    let (log, models) = random_log(11, 16);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    for own in [0, 3, 9] {
        let calm = SimDisk::new();
        let target = filled(&calm, &log[..own]);
        let begin = calm.operations();
        copy(&pin, &target).unwrap();
        println!("a copy: the power went at {} operations", calm.operations() - begin);
        assert!(calm.operations() - begin > 30);
        for at in begin + 1..=calm.operations() {
            let disk = SimDisk::new();
            let target = filled(&disk, &log[..own]);
            disk.crash_at(at);
            let _ = copy(&pin, &target);
            for seed in [0, at] {
                let disk = disk.reboot(seed);
                let tablet = open(&disk).unwrap();
                let flushed = tablet.flushed().map_or(0, |flushed| flushed.index.0 as usize);
                assert!(flushed == 16 || flushed == own / 4 * 4, "flushed is {flushed}");
                for (at, entry) in log[..own].iter().enumerate() {
                    apply(&tablet, at as u64 + 1, entry);
                }
                check_at(&tablet, &models, flushed.max(own));
                if flushed < 16 {
                    copy(&pin, &tablet).unwrap();
                }
                check_at(&tablet, &models, 16);
                let left = disk.list(Path::new("/data")).unwrap();
                assert!(flushed == 16 || !left.contains(&"5.copy".to_owned()), "{left:?}");
                check_at(&open(&disk).unwrap(), &models, 16);
            }
        }
    }
}

#[test]
fn a_copy_that_fails_leaves_the_tablet_as_it_was_and_may_be_tried_again() {
    const EIO: i32 = 5;
    let (log, models) = random_log(12, 16);
    let source = filled(&SimDisk::new(), &log);
    let pin = source.pin().unwrap().unwrap();
    for (operation, name) in [
        ("make", "5.copy"),
        ("create", "00000001.part"),
        ("write", "00000002.part"),
        ("sync", "00000002.part"),
        ("rename", "00000002.part"),
        ("create", "MANIFEST.tmp"),
    ] {
        let disk = SimDisk::new();
        let faults = FaultyDisk::new(&disk);
        let folder: Arc<dyn Disk> = Arc::new(faults.clone());
        let target = Tablet::create(folder, "/data/5".into(), spec(), options(&disk)).unwrap();
        for (at, entry) in log[..3].iter().enumerate() {
            apply(&target, at as u64 + 1, entry);
        }
        faults.set(move |what, path| (what == operation && path.ends_with(name)).then_some(EIO));
        let error = copy(&pin, &target).unwrap_err();
        assert!(error.is_retryable(), "{operation} of {name}: {error}");
        check_at(&target, &models, 3);
        faults.set(|_, _| None);
        copy(&pin, &target).unwrap();
        check_at(&target, &models, 16);
        assert_eq!(disk.list(Path::new("/data")).unwrap(), ["5", "trash"]);
    }
}
