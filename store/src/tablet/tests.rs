//! The tablet against a map that says what it should hold.

mod copies;
mod faults;
mod memory;
mod repairs;

use super::*;
use crate::{
    disk::sim::SimDisk,
    testing::{Random, device, random_batch},
};
use arrow_array::StringArray;
use oribi_model::{
    Bucket, ColumnId, ColumnRead, ColumnType, ColumnValues, Cursor, RowsWanted, SeriesDigests,
    SeriesKey, SeriesKeys, TableId, TabletId, Value,
};
use std::{collections::BTreeMap, path::Path};

type Cells = BTreeMap<u32, Value>;
type Model = BTreeMap<(SeriesKey, i64), Cells>;

#[derive(Clone)]
enum Entry {
    Rows(Arc<RowBatch>),
    Delete(TimeRange, TagPredicate),
}

fn spec() -> TabletSpec {
    let bucket = Bucket { index: 0, count: 1 };
    TabletSpec { id: TabletId(5), table: TableId(3), range: TimeRange::ALL, bucket }
}

fn options(disk: &SimDisk) -> TabletOptions {
    TabletOptions::new(Arc::new(Trash::new(Arc::new(disk.clone()), "/data/trash".into())))
}

fn open(disk: &SimDisk) -> Result<Tablet> {
    let (dir, options) = (PathBuf::from("/data/5"), options(disk));
    let make = if Tablet::exists(disk, &dir)? { Tablet::open } else { Tablet::create };
    make(Arc::new(disk.clone()), dir, spec(), options)
}

fn everything() -> ScanSpec {
    ScanSpec {
        columns: all_columns(),
        time: TimeRange::ALL,
        series: SeriesFilter::All,
        rows: RowsWanted::All,
    }
}

fn all_columns() -> Vec<ColumnRead> {
    let types = [ColumnType::Int, ColumnType::Float, ColumnType::Bool, ColumnType::Text];
    let read = |(at, column_type)| ColumnRead { id: ColumnId(10 + at as u32), column_type };
    types.into_iter().enumerate().map(read).collect()
}

fn random_entry(random: &mut Random) -> Entry {
    if random.below(12) == 0 {
        let start = random.below(100) as i64 * 1_000;
        let tag = TagPredicate::Equal(ColumnId(1), format!("dev{}", random.below(9)));
        let tags = if random.below(2) == 0 { TagPredicate::Always } else { tag };
        return Entry::Delete(TimeRange::new(start, start + 20_000), tags);
    }
    let rows = random.below(60) as usize;
    Entry::Rows(Arc::new(random_batch(random, rows)))
}

fn apply_model(model: &mut Model, entry: &Entry) {
    match entry {
        Entry::Rows(batch) => {
            for row in 0..batch.rows() {
                let key = batch.series.key(batch.row_series[row] as usize);
                let cells = model.entry((key, batch.times[row])).or_default();
                for (id, values) in &batch.columns {
                    if let Some(value) = values.get(row) {
                        cells.insert(id.0, value);
                    }
                }
            }
        }
        Entry::Delete(time, tags) => {
            model.retain(|(key, at), _| !(time.contains(*at) && tags.matches(key)));
        }
    }
}

fn apply(tablet: &Tablet, index: u64, entry: &Entry) {
    match entry {
        Entry::Rows(batch) => tablet.apply(LogIndex(index), batch.clone()),
        Entry::Delete(time, tags) => tablet.delete(LogIndex(index), *time, tags.clone()),
    }
}

fn scanned(tablet: &Tablet, spec: &ScanSpec, parts_max: usize) -> Vec<((SeriesKey, i64), Cells)> {
    let mut rows = Vec::new();
    for block in tablet.scan(spec, parts_max).unwrap().into_iter().flatten() {
        let block = block.unwrap();
        for (series, range) in block.runs() {
            for row in range {
                let cells = spec.columns.iter().zip(&block.columns);
                let cells = cells.filter_map(|(read, values)| Some((read.id.0, values.get(row)?)));
                rows.push(((series.clone(), block.times[row]), cells.collect()));
            }
        }
    }
    rows
}

fn check(tablet: &Tablet, model: &Model, random: &mut Random) {
    let mut columns = all_columns();
    columns.retain(|_| random.below(4) > 0);
    let start = random.below(100) as i64 * 1_000 - 5_000;
    let ranges = [TimeRange::ALL, TimeRange::new(start, start + 30_000)];
    let time = ranges[random.below(2) as usize];
    let only = device(random.below(9));
    let filtered = random.below(2) == 0;
    let wanted = only.clone();
    let equal = only.tags().map(|(tag, value)| TagPredicate::Equal(tag, value.to_owned()));
    let series = match (filtered, random.below(2)) {
        (true, 0) => SeriesFilter::Where(Arc::new(move |key| *key == wanted)),
        (true, _) => SeriesFilter::of(TagPredicate::And(equal.collect()), None),
        (false, _) => SeriesFilter::All,
    };
    let expected =
        model.iter().filter(|((key, at), _)| time.contains(*at) && (!filtered || *key == only));
    let expected: Vec<_> = expected
        .map(|(key, cells)| {
            let mut cells = cells.clone();
            cells.retain(|id, _| columns.iter().any(|read| read.id.0 == *id));
            (key.clone(), cells)
        })
        .collect();
    let scan = ScanSpec { columns, time, series, rows: RowsWanted::All };
    assert_eq!(scanned(tablet, &scan, 1 + random.below(4) as usize), expected);
}

/// The last row of each series must come, whole, also where nothing more was asked for.
fn check_last(tablet: &Tablet, model: &Model, random: &mut Random) {
    let end = if random.below(2) == 0 { i64::MAX } else { random.below(100) as i64 * 1_000 };
    let start = if random.below(2) == 0 { i64::MIN } else { end.min(20_000) };
    let time = TimeRange::new(start, end);
    let others: Vec<SeriesKey> = match random.below(3) {
        0 => Vec::new(),
        1 => (0..9).filter(|_| random.below(2) == 0).map(device).collect(),
        _ => (0..9).map(device).collect(),
    };
    let series = match &others[..] {
        [] => SeriesFilter::All,
        others => {
            let keys = others.iter().map(SeriesKey::as_bytes);
            SeriesFilter::Except(SeriesDigests::of(keys))
        }
    };
    let rows = RowsWanted::Last;
    let scan = ScanSpec { columns: all_columns(), time, series, rows };
    let last = |rows: Vec<((SeriesKey, i64), Cells)>| -> BTreeMap<SeriesKey, (i64, Cells)> {
        rows.into_iter().map(|((key, at), cells)| (key, (at, cells))).collect()
    };
    let wanted = |key: &SeriesKey, at: i64| time.contains(at) && !others.contains(key);
    let inside = model.iter().filter(|((key, at), _)| wanted(key, *at));
    let expected = last(inside.map(|(key, cells)| (key.clone(), cells.clone())).collect());
    assert_eq!(last(scanned(tablet, &scan, 1)), expected);
}

fn check_all(tablet: &Tablet, model: &Model) {
    let expected: Vec<_> = model.clone().into_iter().collect();
    assert_eq!(scanned(tablet, &everything(), 3), expected);
}

#[test]
fn a_tablet_holds_what_a_map_would() {
    for seed in 0..25 {
        let mut random = Random(seed);
        let disk = SimDisk::new();
        let (mut tablet, mut model, mut log) = (open(&disk).unwrap(), Model::new(), Vec::new());
        for _ in 0..60 {
            match random.below(10) {
                0 => tablet.seal(LogIndex(log.len() as u64), vec![7]),
                1 => drop(tablet.flush().unwrap()),
                2 => drop(tablet.compact().unwrap()),
                3 if random.below(3) == 0 => tablet.compact_fully().unwrap(),
                4 if random.below(3) == 0 => {
                    tablet = open(&disk).unwrap();
                    let flushed = tablet.flushed().map_or(0, |flushed| flushed.index.0);
                    for (at, entry) in log.iter().enumerate().skip(flushed as usize) {
                        apply(&tablet, at as u64 + 1, entry);
                    }
                }
                _ => {
                    let entry = random_entry(&mut random);
                    log.push(entry.clone());
                    apply(&tablet, log.len() as u64, &entry);
                    apply_model(&mut model, &entry);
                }
            }
            check(&tablet, &model, &mut random);
            check_last(&tablet, &model, &mut random);
        }
        tablet.seal(LogIndex(log.len() as u64), vec![9]);
        tablet.flush().unwrap();
        tablet.compact_fully().unwrap();
        assert!(tablet.stats().segments <= 1 && tablet.stats().memtable_rows == 0);
        check_all(&open(&disk).unwrap(), &model);
        tablet.verify().unwrap();
    }
}

/// Applies a script until the disk fails; the entries that were applied stay in `log`.
fn run(disk: &SimDisk, log: &[Entry]) -> Result<()> {
    let tablet = open(disk)?;
    for (at, entry) in log.iter().enumerate() {
        let index = at as u64 + 1;
        apply(&tablet, index, entry);
        if index.is_multiple_of(4) {
            tablet.seal(LogIndex(index), vec![index as u8]);
            tablet.flush()?;
        }
        if index.is_multiple_of(9) {
            tablet.compact()?;
        }
    }
    tablet.compact_fully()
}

#[test]
fn a_crash_at_any_operation_loses_nothing_that_was_flushed() {
    let mut random = Random(3);
    let mut log: Vec<Entry> = (0..22).map(|_| random_entry(&mut random)).collect();
    log[9] = Entry::Delete(TimeRange::new(0, 50_000), TagPredicate::Always);
    let mut model = Model::new();
    log.iter().for_each(|entry| apply_model(&mut model, entry));
    let calm = SimDisk::new();
    run(&calm, &log).unwrap();
    println!("a tablet: the power went at {} operations", calm.operations());
    assert!(calm.operations() > 100, "{}", calm.operations());
    for at in 1..=calm.operations() {
        let disk = SimDisk::new();
        disk.crash_at(at);
        let outcome = run(&disk, &log);
        assert!(outcome.is_err() || at > calm.operations() - 10, "operation {at} did not fail");
        for seed in [0, at] {
            let tablet = open(&disk.reboot(seed)).unwrap();
            let flushed = tablet.flushed().map_or(0, |flushed| flushed.index.0);
            for (at, entry) in log.iter().enumerate().skip(flushed as usize) {
                apply(&tablet, at as u64 + 1, entry);
            }
            check_all(&tablet, &model);
        }
    }
}

#[test]
fn any_flipped_byte_any_cut_and_any_two_places_swapped_are_noticed() {
    const BLOCK: usize = 32;

    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    tablet.apply(LogIndex(1), Arc::new(random_batch(&mut Random(5), 60)));
    tablet.seal(LogIndex(1), Vec::new());
    tablet.flush().unwrap();
    let mut damaged = 0;
    for name in ["MANIFEST", "00000001.seg"] {
        let path = Path::new("/data/5").join(name);
        let good = disk.bytes(&path).unwrap();
        let is_noticed = |bad: Vec<u8>| {
            disk.put(&path, bad);
            open(&disk).and_then(|tablet| tablet.verify()).is_err()
        };
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(is_noticed(bad), "byte {at} of {name} is not covered");
            assert!(is_noticed(good[..at].to_vec()), "{name} may be cut to {at} bytes");
        }
        for at in 0..good.len().saturating_sub(2 * BLOCK) {
            let mut bad = good.clone();
            let (one, other) = bad[at..at + 2 * BLOCK].split_at_mut(BLOCK);
            one.swap_with_slice(other);
            assert!(bad == good || is_noticed(bad), "what is at {at} of {name} may be swapped");
        }
        damaged += 2 * good.len();
        disk.put(&path, good);
    }
    assert!(damaged > 1_000, "{damaged}");
    let mut other = spec();
    other.id = TabletId(6);
    let path = Path::new("/data/5/00000001.seg");
    let files = Arc::new(OpenFiles::new(1));
    let outcome = Segment::open(Arc::new(disk.clone()), files, path, &other, 1);
    assert!(matches!(outcome, Err(Error::WrongTablet { .. })));
}

#[test]
fn records_that_come_again_change_nothing_even_after_reopening() {
    let disk = SimDisk::new();
    let mut log: Vec<Arc<RowBatch>> = Vec::new();
    let rows = |random: &mut Random, offsets: std::ops::Range<u64>| {
        let mut batch = random_batch(random, offsets.clone().count());
        batch.cursor = Some(Cursor { source: "topic/0".into(), offsets: offsets.collect() });
        Arc::new(batch)
    };
    let mut random = Random(12);
    let tablet = open(&disk).unwrap();
    for (index, offsets) in [(1, 0..20), (2, 0..20), (3, 10..30)] {
        log.push(rows(&mut random, offsets));
        tablet.apply(LogIndex(index), log[index as usize - 1].clone());
    }
    assert_eq!((tablet.stats().rows, tablet.next_of("topic/0")), (30, 30));
    tablet.seal(LogIndex(3), Vec::new());
    // Not covered by the flush, so it is replayed, and must not count as seen before.
    log.push(rows(&mut random, 25..40));
    tablet.apply(LogIndex(4), log[3].clone());
    tablet.flush().unwrap();
    drop(tablet);
    let tablet = open(&disk).unwrap();
    assert_eq!(tablet.next_of("topic/0"), 30);
    for (at, batch) in log.iter().enumerate() {
        tablet.apply(LogIndex(at as u64 + 1), batch.clone());
    }
    assert_eq!((tablet.stats().memtable_rows, tablet.next_of("topic/0")), (10, 40));
    tablet.apply(LogIndex(5), log[0].clone());
    assert_eq!(tablet.stats().memtable_rows, 10);
}

#[test]
fn blocks_of_long_texts_out_of_memory_are_bounded_in_bytes() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    let (batches, rows) = (60, 20);
    for at in 0..batches {
        let mut series = SeriesKeys::default();
        series.push_bytes(device(1).as_bytes());
        let texts: StringArray = (0..rows).map(|row| Some("x".repeat(40_000 + row))).collect();
        let times = (0..rows as i64).map(|row| at as i64 * 1_000 + row).collect();
        let columns = vec![(ColumnId(13), ColumnValues::Text(texts))];
        let row_series = vec![0; rows];
        let (table, schema_version, cursor) = (TableId(3), 2, None);
        let batch = RowBatch { table, schema_version, series, row_series, times, columns, cursor };
        tablet.apply(LogIndex(at as u64 + 1), Arc::new(batch));
    }
    let (mut found, mut largest) = (0, 0);
    for block in tablet.scan(&everything(), 1).unwrap().into_iter().flatten() {
        let block = block.unwrap();
        found += block.times.len();
        let bytes = block.columns.iter().map(|values| values.bytes()).sum();
        largest = largest.max(bytes);
    }
    assert_eq!(found, batches * rows);
    assert!(largest < 40 << 20, "a block of {largest} bytes");
}

#[test]
fn a_small_write_costs_the_same_however_much_is_held() {
    let disk = SimDisk::new();
    let tablet = open(&disk).unwrap();
    let (mut random, mut index) = (Random(5), 0);
    let mut write = |batches: usize| {
        let batches: Vec<_> =
            (0..batches).map(|_| Arc::new(random_batch(&mut random, 3))).collect();
        let first = index + 1;
        index += batches.len() as u64;
        let work = || {
            (first..)
                .zip(&batches)
                .for_each(|(at, batch)| tablet.apply(LogIndex(at), batch.clone()));
        };
        allocation_counter::measure(work).count_total
    };
    write(1_000);
    let few_held = write(1_000);
    write(20_000);
    let many_held = write(1_000);
    assert!(many_held <= few_held * 2, "{few_held} allocations, then {many_held}");
}
