//! Segments of every version stay readable; large ones come back as they were.

use super::*;
use crate::{
    OpenFiles,
    disk::{Disk, sim::SimDisk},
};
use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use oribi_model::*;
use std::{path::Path, sync::Arc};

const ROWS: usize = 9_000;
const SERIES: usize = 3;

fn spec() -> TabletSpec {
    let bucket = Bucket { index: 0, count: 1 };
    TabletSpec { id: TabletId(77), table: TableId(4), range: TimeRange::ALL, bucket }
}

fn columns() -> Vec<(ColumnId, ColumnType)> {
    let types = [
        ColumnType::Int,
        ColumnType::Float,
        ColumnType::Float,
        ColumnType::Bool,
        ColumnType::Text,
        ColumnType::Int,
    ];
    types.into_iter().enumerate().map(|(at, kind)| (ColumnId(20 + at as u32), kind)).collect()
}

/// What `segment-v1.seg` holds. The second series has irregular times; the last column has
/// values in its last rows alone.
fn contents() -> Block {
    let each = ROWS / SERIES;
    let key = |at: usize| SeriesKey::from_tags([(ColumnId(1), format!("s{at}").as_str())]);
    let runs = (0..SERIES).map(|at| Run { series: key(at), rows: each }).collect();
    let time = |row: usize| {
        let jitter = if row / each == 1 { (row * 7_919 % 1_000) as i64 } else { 0 };
        1_700_000_000_000_000_000 + (row % each) as i64 * 1_000_000_000 + jitter * 1_000_000
    };
    let rows = || 0..ROWS;
    let ints: Int64Array =
        rows().map(|r| (r % 5 != 0).then_some((r * r % 97) as i64 - 40)).collect();
    let decimals = rows().map(|r| if r == 17 { 0.5 } else { (r % 300) as f64 / 10.0 });
    let floats = rows().map(|r| if r == 3 { -0.0 } else { 1.0 / (r as f64 + 3.0) });
    let bools: BooleanArray = rows().map(|r| (r % 11 != 0).then_some(r % 3 == 0)).collect();
    let texts: StringArray =
        rows().map(|r| (r % 4 != 1).then(|| format!("état {}", r % 13))).collect();
    let late: Int64Array = rows().map(|r| (r > 8_500).then_some(i64::MIN + r as i64)).collect();
    Block {
        runs,
        times: rows().map(time).collect::<Vec<_>>().into(),
        columns: vec![
            ColumnValues::Int(ints),
            ColumnValues::Float(Float64Array::from_iter_values(decimals)),
            ColumnValues::Float(Float64Array::from_iter_values(floats)),
            ColumnValues::Bool(bools),
            ColumnValues::Text(texts),
            ColumnValues::Int(late),
        ],
    }
}

fn written() -> SimDisk {
    let disk = SimDisk::new();
    crate::disk::create_dir_durably(&disk, Path::new("/d")).unwrap();
    let path = Path::new("/d/1.seg");
    let file = disk.create(path).unwrap();
    let mut writer = SegmentWriter::new(file, path, &spec(), columns(), None).unwrap();
    writer.push(contents()).unwrap();
    writer.finish().unwrap();
    disk
}

fn open(disk: &SimDisk) -> crate::Result<Segment> {
    let files = Arc::new(OpenFiles::new(1));
    Segment::open(Arc::new(disk.clone()), files, Path::new("/d/1.seg"), &spec(), 1)
}

fn check(disk: &SimDisk) {
    let segment = open(disk).unwrap();
    segment.verify().unwrap();
    let expected = contents();
    assert_eq!(segment.columns(), columns());
    let mut series = Vec::new();
    let each = |key: &[u8], _, rows| series.push((SeriesKey::from_bytes(key).unwrap(), rows));
    segment.find_series(&SeriesFilter::All, None, each).unwrap();
    let rows = |at: usize, run: &Run| (at * run.rows) as u64..((at + 1) * run.rows) as u64;
    let runs = expected.runs.iter().enumerate();
    let runs: Vec<_> = runs.map(|(at, run)| (run.series.clone(), rows(at, run))).collect();
    assert_eq!(series, runs);
    assert_eq!(segment.series_count(), SERIES);
    let pages = 0..ROWS.div_ceil(PAGE_ROWS);
    assert_eq!(segment.read_times(pages.clone()).unwrap(), expected.times);
    for (at, values) in expected.columns.iter().enumerate() {
        let read = segment.read_column(at, pages.clone()).unwrap();
        assert_eq!(read, *values);
        if let (ColumnValues::Float(read), ColumnValues::Float(values)) = (&read, values) {
            let bits = |array: &Float64Array| -> Vec<u64> {
                array.values().iter().map(|value| value.to_bits()).collect()
            };
            assert_eq!(bits(read), bits(values));
        }
    }
}

#[test]
fn a_segment_comes_back_bit_by_bit() {
    check(&written());
}

#[test]
fn a_segment_of_version_1_stays_readable() {
    let disk = SimDisk::new();
    let bytes = include_bytes!("../../tests/fixtures/segment-v1.seg");
    disk.put(Path::new("/d/1.seg"), bytes.to_vec());
    check(&disk);
}

#[test]
fn a_segment_of_version_2_stays_readable() {
    let disk = SimDisk::new();
    let bytes = include_bytes!("../../tests/fixtures/segment-v2.seg");
    disk.put(Path::new("/d/1.seg"), bytes.to_vec());
    check(&disk);
}

#[test]
fn a_segment_of_version_3_stays_readable() {
    let disk = SimDisk::new();
    let bytes = include_bytes!("../../tests/fixtures/segment-v3.seg");
    disk.put(Path::new("/d/1.seg"), bytes.to_vec());
    check(&disk);
}

#[test]
fn a_future_version_is_refused_by_name() {
    let disk = written();
    let path = Path::new("/d/1.seg");
    let mut bytes = disk.bytes(path).unwrap();
    bytes[8] = 4;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    disk.put(path, bytes);
    assert!(matches!(open(&disk), Err(crate::Error::FutureFormat { found: 4, known: 3, .. })));
}

#[test]
fn pages_and_chunks_of_long_texts_are_short() {
    const LONG: usize = 600;
    let text = |row: usize| format!("{row:05}").repeat(12_000);
    let series = SeriesKey::from_tags([(ColumnId(1), "camera")]);
    let disk = SimDisk::new();
    crate::disk::create_dir_durably(&disk, Path::new("/d")).unwrap();
    let path = Path::new("/d/1.seg");
    let columns = vec![(ColumnId(20), ColumnType::Text), (ColumnId(21), ColumnType::Int)];
    let file = disk.create(path).unwrap();
    let mut writer = SegmentWriter::new(file, path, &spec(), columns, None).unwrap();
    for start in (0..LONG).step_by(150) {
        let rows = start..start + 150;
        let texts: StringArray = rows.clone().map(|row| Some(text(row))).collect();
        let ints: Int64Array = rows.clone().map(|row| Some(row as i64)).collect();
        let columns = vec![ColumnValues::Text(texts), ColumnValues::Int(ints)];
        let runs = vec![Run { series: series.clone(), rows: rows.len() }];
        let times = rows.map(|row| row as i64).collect::<Vec<_>>().into();
        writer.push(Block { runs, times, columns }).unwrap();
    }
    writer.finish().unwrap();
    let segment = open(&disk).unwrap();
    segment.verify().unwrap();
    assert_eq!(segment.rows(), LONG as u64);
    let (mut row, mut chunks) = (0, 0);
    for page in 0..segment.pages() {
        let rows = segment.page_rows(page);
        assert_eq!((rows.start, segment.page_of(rows.start)), (row, page));
        assert!(rows.end - rows.start <= 18, "{rows:?}");
        chunks += usize::from(segment.rest_of_chunk(page).len() == 1);
        let texts = segment.read_column(0, page..page + 1).unwrap();
        for (at, row) in rows.clone().enumerate() {
            assert_eq!(texts.get(at), Some(Value::Text(text(row as usize))));
        }
        row = rows.end;
    }
    assert_eq!((row, chunks), (LONG as u64, 3));
}

/// Writes the fixture of a new format version; never again for an old one.
#[test]
#[ignore = "makes a fixture"]
fn make_fixture() {
    let bytes = written().bytes(Path::new("/d/1.seg")).unwrap();
    std::fs::write(format!("tests/fixtures/segment-v{FORMAT_VERSION}.seg"), bytes).unwrap();
}
