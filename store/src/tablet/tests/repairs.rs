//! Manifests made again: every row is back, or the repair says why it may not be.

use super::*;
use crate::manifest::{self, Manifest};

const DIR: &str = "/data/5";

fn manifest_path() -> PathBuf {
    Path::new(DIR).join(manifest::NAME)
}

/// Entries 1 to `count` in a tablet that flushes and compacts now and then.
fn fill(disk: &SimDisk, seed: u64, count: u64) -> Vec<Entry> {
    let mut random = Random(seed);
    let tablet = open(disk).unwrap();
    let entries: Vec<Entry> = (0..count).map(|_| random_entry(&mut random)).collect();
    for (index, entry) in (1..).zip(&entries) {
        apply(&tablet, index, entry);
        match random.below(8) {
            0 | 1 => {
                tablet.seal(LogIndex(index), vec![1]);
                tablet.flush().unwrap();
            }
            2 => drop(tablet.compact().unwrap()),
            3 if random.below(4) == 0 => tablet.compact_fully().unwrap(),
            _ => {}
        }
    }
    entries
}

fn repair(disk: &SimDisk, purged: u64, assume_order: bool) -> Result<Repaired> {
    let flushed =
        || Flushed { index: LogIndex(purged), raft_state: vec![7], marks: Marks::default() };
    let purged = (purged > 0).then(flushed);
    let consent = Consent { assume_order, ..Consent::default() };
    let (folder, options): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), options(disk));
    Tablet::repair(&folder, Path::new(DIR), &spec(), &options, &Repair { purged, consent })
}

/// What the tablet gives once the log, which begins behind `purged`, was applied again.
fn replayed(disk: &SimDisk, entries: &[Entry], purged: u64) -> Vec<((SeriesKey, i64), Cells)> {
    let tablet = open(disk).unwrap();
    for (index, entry) in (1..).zip(entries).filter(|(index, _)| *index > purged) {
        apply(&tablet, index, entry);
    }
    let rows = scanned(&tablet, &everything(), 1);
    tablet.seal(LogIndex(entries.len() as u64), vec![2]);
    tablet.flush().unwrap();
    tablet.compact_fully().unwrap();
    assert_eq!(scanned(&open(disk).unwrap(), &everything(), 1), rows);
    rows
}

fn expected(entries: &[Entry]) -> Vec<((SeriesKey, i64), Cells)> {
    let mut model = Model::new();
    entries.iter().for_each(|entry| apply_model(&mut model, entry));
    model.into_iter().collect()
}

#[test]
fn a_damaged_manifest_still_tells_the_order_and_the_log_the_rest() {
    let mut repaired = 0;
    for seed in 0..40 {
        let disk = SimDisk::new();
        let entries = fill(&disk, seed, 40);
        let Some(mut bytes) = disk.bytes(&manifest_path()) else { continue };
        let whole = Manifest::read(&disk, Path::new(DIR), spec().id).unwrap();
        let flushed = whole.flushed.unwrap().index.0;
        assert!(matches!(repair(&disk, 0, false), Err(Error::Unrepairable { .. })), "it is whole");
        // A flipped bit of the checksum leaves all of the text as it was.
        bytes[17] ^= 4;
        disk.put(&manifest_path(), bytes.clone());
        let purged = Random(seed).below(flushed + 1);
        let done = repair(&disk, purged, false).unwrap();
        assert_eq!((done.segments, done.assumed.len()), (whole.segments.len(), 0));
        assert_eq!(disk.bytes(&done.kept.unwrap()), Some(bytes));
        let pending = whole.deletes.iter().filter(|delete| delete.index.0 <= purged).count();
        assert_eq!(done.forgotten_deletes.unwrap().len(), pending);
        let rows = replayed(&disk, &entries, purged);
        if pending == 0 {
            assert_eq!(rows, expected(&entries), "seed {seed}");
            repaired += 1;
        }
        assert!(disk.bytes(&Path::new(DIR).join("MANIFEST.damaged-1")).is_some());
    }
    assert!(repaired > 12, "{repaired}");
}

#[test]
fn a_manifest_damaged_anywhere_is_made_again_or_the_reason_said() {
    let good = SimDisk::new();
    let entries = fill(&good, 3, 60);
    let (bytes, mut outcomes) = (good.bytes(&manifest_path()).unwrap(), [0, 0]);
    let purged = Manifest::read(&good, Path::new(DIR), spec().id).unwrap().flushed.unwrap().index.0;
    for at in (0..bytes.len()).step_by(7) {
        let disk = good.reboot(0);
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 7);
        disk.put(&manifest_path(), bad);
        match repair(&disk, purged, false) {
            Ok(done) if done.forgotten_deletes.as_ref().is_some_and(|gone| gone.is_empty()) => {
                assert_eq!(replayed(&disk, &entries, purged), expected(&entries), "byte {at}");
                outcomes[0] += 1;
            }
            Ok(_) | Err(Error::Unrepairable { .. }) => outcomes[1] += 1,
            Err(Error::FutureFormat { .. }) => assert!((8..12).contains(&at)),
            Err(other) => panic!("byte {at}: {other}"),
        }
    }
    assert!(outcomes[0] > bytes.len() / 7 / 3, "{outcomes:?}");
}

#[test]
fn without_a_manifest_only_segments_that_disagree_need_an_assumption() {
    let batch = |first: i64, value: i64| {
        let mut series = oribi_model::SeriesKeys::default();
        series.push_bytes(device(1).as_bytes());
        let values = arrow_array::Int64Array::from(vec![value; 5_000]);
        Entry::Rows(Arc::new(RowBatch {
            table: TableId(3),
            schema_version: 1,
            series,
            row_series: vec![0; 5_000],
            times: (first..first + 5_000).collect(),
            columns: vec![(ColumnId(10), oribi_model::ColumnValues::Int(values))],
            cursor: None,
        }))
    };
    // The third says the same as the second about the rows of both.
    for (last, disagree) in [(batch(9_000, 2), false), (batch(9_000, 3), true)] {
        let disk = SimDisk::new();
        let tablet = open(&disk).unwrap();
        let entries = [batch(0, 1), batch(6_000, 2), last];
        for (index, entry) in (1..).zip(&entries) {
            apply(&tablet, index, entry);
            tablet.seal(LogIndex(index), vec![1]);
            tablet.flush().unwrap();
        }
        drop(tablet);
        disk.remove(&manifest_path()).unwrap();
        let names = disk.list(Path::new(DIR)).unwrap();
        if disagree {
            let Err(Error::Unrepairable { reason, .. }) = repair(&disk, 3, false) else {
                panic!("segments that disagree were put in some order");
            };
            assert!(reason.contains("2 and 3"), "{reason}");
            assert_eq!(disk.list(Path::new(DIR)).unwrap(), names);
        }
        let done = repair(&disk, 3, disagree).unwrap();
        assert_eq!(done.assumed, if disagree { vec![(2, 3)] } else { vec![] });
        assert_eq!((done.segments, done.rows, done.forgotten_deletes), (3, 15_000, None));
        let feed = open(&disk).unwrap().segment_from(LogIndex(2)).unwrap().unwrap();
        let fed: usize = feed.rows.map(|rows| rows.unwrap().rows()).sum();
        assert_eq!((feed.last, fed), (LogIndex(3), 13_000), "a reader of the feed misses none");
        assert_eq!(replayed(&disk, &entries, 3), expected(&entries));
    }
}

#[test]
fn what_was_merged_is_left_out_and_kept() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    let mut random = Random(9);
    let entries: Vec<Entry> =
        (0..3).map(|_| Entry::Rows(Arc::new(random_batch(&mut random, 50)))).collect();
    for (index, entry) in (1..).zip(&entries) {
        apply(&tablet, index, entry);
        tablet.seal(LogIndex(index), vec![1]);
        tablet.flush().unwrap();
    }
    let merged = Path::new(DIR).join("00000001.seg");
    let bytes = disk.bytes(&merged).unwrap();
    tablet.compact_fully().unwrap();
    drop(tablet);
    disk.put(&merged, bytes.clone());
    let mut manifest = disk.bytes(&manifest_path()).unwrap();
    manifest[16] ^= 1;
    disk.put(&manifest_path(), manifest);
    let operations = disk.operations();
    let done = repair(&disk, 3, false).unwrap();
    let aside = Path::new(DIR).join("00000001.seg.damaged-1");
    assert_eq!((done.segments, &done.left_out[..]), (1, std::slice::from_ref(&aside)));
    assert_eq!(replayed(&disk, &entries, 3), expected(&entries));
    assert_eq!(disk.bytes(&aside), Some(bytes));
    assert!(disk.operations() > operations);
}

#[test]
fn a_repair_that_is_cut_short_may_be_made_again() {
    let good = SimDisk::new();
    let entries = fill(&good, 3, 60);
    let purged = Manifest::read(&good, Path::new(DIR), spec().id).unwrap().flushed.unwrap().index.0;
    let mut bytes = good.bytes(&manifest_path()).unwrap();
    bytes[17] ^= 1;
    for at in 1.. {
        let disk = good.reboot(0);
        disk.put(&manifest_path(), bytes.clone());
        disk.crash_at(at);
        let done = repair(&disk, purged, false);
        for seed in [0, at] {
            let disk = disk.reboot(seed);
            match repair(&disk, purged, false) {
                Ok(_) => {}
                Err(Error::Unrepairable { reason, .. }) => {
                    assert_eq!(reason, "its manifest is whole, and its segments are there")
                }
                Err(other) => panic!("{other}"),
            }
            assert_eq!(replayed(&disk, &entries, purged), expected(&entries));
        }
        if done.is_ok() {
            assert!(at > 5);
            return;
        }
    }
}

#[test]
fn a_segment_that_is_gone_may_be_given_up_and_costs_its_rows_alone() {
    let remove = |disk: &SimDisk, path: &Path| disk.remove(path).unwrap();
    let cut = |disk: &SimDisk, path: &Path| disk.open(path).unwrap().set_len(50).unwrap();
    for damage in [remove as fn(&SimDisk, &Path), cut] {
        let disk = SimDisk::new();
        let entries = fill(&disk, 5, 60);
        let manifest = Manifest::read(&disk, Path::new(DIR), spec().id).unwrap();
        assert!(repair(&disk, 0, true).unwrap_err().to_string().contains("whole"));
        let gone = manifest.segments.last().unwrap().clone();
        damage(&disk, &crate::tablet::open::segment_path(Path::new(DIR), gone.number));
        let refused = repair(&disk, 0, true).unwrap_err().to_string();
        assert!(refused.contains(&format!("{} rows", gone.rows)), "{refused}");
        let consent = Consent { accept_loss: true, ..Consent::default() };
        let (folder, options): (Arc<dyn Disk>, _) = (Arc::new(disk.clone()), options(&disk));
        let asked = Repair { purged: None, consent };
        let done = Tablet::repair(&folder, Path::new(DIR), &spec(), &options, &asked).unwrap();
        assert_eq!(done.lost.iter().map(|lost| lost.number).collect::<Vec<_>>(), [gone.number]);
        assert_eq!(done.segments, manifest.segments.len() - 1);
        let tablet = open(&disk).unwrap();
        tablet.verify().unwrap();
        let known: Vec<_> = expected(&entries).into_iter().map(|(key, _)| key).collect();
        let held = scanned(&tablet, &everything(), 1);
        assert!(held.iter().all(|(key, _)| known.contains(key)));
        assert_eq!(tablet.stats().rows, done.rows);
    }
}
