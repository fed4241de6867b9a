//! Random rows and failing disks for this crate's tests.

use crate::disk::{Disk, DiskDir, DiskFile, DiskLock, sim::SimDisk};
use arrow_array::{BooleanArray, Float64Array, Int64Array, StringArray};
use oribi_model::{ColumnId, ColumnValues, Cursor, RowBatch, SeriesKey, SeriesKeys, TableId};
use parking_lot::Mutex;
use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }
}

pub(crate) fn device(number: u64) -> SeriesKey {
    SeriesKey::from_tags([(ColumnId(1), format!("dev{number}").as_str()), (ColumnId(2), "x")])
}

/// Rows with columns 10 (int), 11 (float), 12 (bool) and 13 (text), some of them left out.
pub(crate) fn random_batch(random: &mut Random, rows: usize) -> RowBatch {
    let mut series = SeriesKeys::default();
    let count = if rows == 0 { 0 } else { 1 + random.below(5) };
    let first = random.below(8);
    for number in 0..count {
        series.push_bytes(device((first + number) % 9).as_bytes());
    }
    let unit = [1, 1_000, 1_000_000_000][random.below(3) as usize];
    let time = |random: &mut Random| random.below(120) as i64 * unit - 10 * unit;
    let times: Vec<i64> = (0..rows).map(|_| time(random)).collect();
    let row_series = (0..rows).map(|_| random.below(count) as u32).collect();
    let mut columns = Vec::new();
    let nulls = random.below(2) == 0;
    let null = |random: &mut Random| nulls && random.below(3) == 0;
    if random.below(4) > 0 {
        let cells = (0..rows).map(|_| (!null(random)).then_some(random.below(200) as i64 - 100));
        columns.push((ColumnId(10), ColumnValues::Int(cells.collect::<Int64Array>())));
    }
    if random.below(4) > 0 {
        let divisor = [1.0, 10.0, 3.0][random.below(3) as usize];
        let float = |random: &mut Random| -(random.below(1000) as f64) / divisor;
        let cells = (0..rows).map(|_| (!null(random)).then(|| float(random)));
        columns.push((ColumnId(11), ColumnValues::Float(cells.collect::<Float64Array>())));
    }
    if random.below(4) > 0 {
        let cells = (0..rows).map(|_| (!null(random)).then_some(random.below(2) == 0));
        columns.push((ColumnId(12), ColumnValues::Bool(cells.collect::<BooleanArray>())));
    }
    if random.below(4) > 0 {
        let cells = (0..rows).map(|_| (!null(random)).then(|| format!("t{}", random.below(20))));
        columns.push((ColumnId(13), ColumnValues::Text(cells.collect::<StringArray>())));
    }
    let cursor = (random.below(3) == 0).then(|| {
        let mut offset = random.below(1 << 40);
        // Each of its own, so that no row of a test counts as seen.
        let source = format!("source/{offset}").into();
        let mut next = || {
            offset += random.below(3);
            offset
        };
        Cursor { source, offsets: (0..rows).map(|_| next()).collect() }
    });
    RowBatch { table: TableId(3), schema_version: 2, series, row_series, times, columns, cursor }
}

type Rule = Box<dyn FnMut(&'static str, &Path) -> Option<i32> + Send>;

/// A disk some of whose operations fail, with the error numbers that a rule gives for an
/// operation and its path.
#[derive(Clone)]
pub(crate) struct FaultyDisk {
    disk: SimDisk,
    rule: Arc<Mutex<Rule>>,
    pub(crate) free_bytes: Arc<AtomicU64>,
}

struct FaultyFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    rule: Arc<Mutex<Rule>>,
}

struct FaultyDir {
    dir: Box<dyn DiskDir>,
    path: PathBuf,
    rule: Arc<Mutex<Rule>>,
}

fn judge(rule: &Mutex<Rule>, operation: &'static str, path: &Path) -> io::Result<()> {
    match rule.lock()(operation, path) {
        Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        None => Ok(()),
    }
}

impl FaultyDisk {
    pub(crate) fn new(disk: &SimDisk) -> FaultyDisk {
        let rule: Arc<Mutex<Rule>> = Arc::new(Mutex::new(Box::new(|_, _| None)));
        FaultyDisk { disk: disk.clone(), rule, free_bytes: Arc::new(AtomicU64::new(1 << 40)) }
    }

    pub(crate) fn set(
        &self,
        rule: impl FnMut(&'static str, &Path) -> Option<i32> + Send + 'static,
    ) {
        *self.rule.lock() = Box::new(rule);
    }

    fn wrap(&self, path: &Path, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(FaultyFile { file, path: path.to_owned(), rule: self.rule.clone() })
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        judge(&self.rule, "create", path)?;
        Ok(self.wrap(path, self.disk.create(path)?))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        judge(&self.rule, "open", path)?;
        Ok(self.wrap(path, self.disk.open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        judge(&self.rule, "rename", from)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        judge(&self.rule, "make", path)?;
        self.disk.create_dir_all(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        self.disk.list(path)
    }

    fn open_dir(&self, path: &Path) -> io::Result<Box<dyn DiskDir>> {
        judge(&self.rule, "open", path)?;
        let (rule, path, dir) = (self.rule.clone(), path.to_owned(), self.disk.open_dir(path)?);
        Ok(Box::new(FaultyDir { rule, path, dir }))
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        self.disk.lock(path)
    }
}

impl DiskDir for FaultyDir {
    fn sync(&self) -> io::Result<()> {
        judge(&self.rule, "sync", &self.path)?;
        self.dir.sync()
    }
}

impl DiskFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        judge(&self.rule, "read", &self.path)?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        judge(&self.rule, "write", &self.path)?;
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        judge(&self.rule, "sync", &self.path)?;
        self.file.sync()
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }
}
