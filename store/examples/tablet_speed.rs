//! Prints how fast rows go through a tablet and how small they become: hosts with ten integer
//! columns that walk at random between 0 and 100, 100 hosts unless the first argument says how many.

use arrow_array::Int64Array;
use oribi_model::*;
use oribi_store::{Tablet, TabletOptions, Trash, codec, disk::sim::SimDisk};
use std::{hint::black_box, sync::Arc, time::Instant};

const ROWS: usize = 2_592_000;
const ROWS_A_BATCH: usize = 10_000;
const COLUMNS: usize = 10;

struct Random(u64);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A standard normal number, near enough.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn batches(hosts: u32) -> Vec<Arc<RowBatch>> {
    let mut random = Random(1);
    let mut series = SeriesKeys::default();
    for host in 0..hosts {
        let key = SeriesKey::from_tags([(ColumnId(1), format!("host_{host}").as_str())]);
        series.push_bytes(key.as_bytes());
    }
    let mut state: Vec<f64> =
        (0..hosts as usize * COLUMNS).map(|_| random.unit() * 100.0).collect();
    let batch = |from: usize| {
        let rows = (from..ROWS.min(from + ROWS_A_BATCH))
            .map(|row| (row / hosts as usize, row as u32 % hosts));
        let (mut times, mut row_series, mut cells) =
            (Vec::new(), Vec::new(), vec![Vec::new(); COLUMNS]);
        for (at, host) in rows {
            times.push(1_451_606_400_000_000_000 + at as i64 * 10_000_000_000);
            row_series.push(host);
            for (column, cells) in cells.iter_mut().enumerate() {
                let value = &mut state[host as usize * COLUMNS + column];
                *value = (*value + random.normal()).clamp(0.0, 100.0);
                cells.push(*value as i64);
            }
        }
        let columns = cells.into_iter().enumerate();
        let columns = columns.map(|(at, cells)| {
            (ColumnId(10 + at as u32), ColumnValues::Int(Int64Array::from(cells)))
        });
        let (table, series, columns) = (TableId(1), series.clone(), columns.collect());
        Arc::new(RowBatch {
            table,
            schema_version: 1,
            series,
            row_series,
            times,
            columns,
            cursor: None,
        })
    };
    (0..ROWS).step_by(ROWS_A_BATCH).map(batch).collect()
}

fn report(what: &str, rows: usize, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    let (per_row, rate) = (seconds * 1e6 / rows as f64, rows as f64 / seconds / 1e6);
    println!("{what:<24} {per_row:>8.4} us each {rate:>9.2} M/s");
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let hosts = std::env::args().nth(1).map_or(Ok(100), |hosts| hosts.parse())?;
    let (batches, rows) = (batches(hosts), ROWS);
    let mut bytes = Vec::new();
    let started = Instant::now();
    for batch in &batches {
        codec::encode_batch(batch, &mut bytes);
    }
    report("codec, rows", rows, started);
    println!("log bytes per row        {:>8.2}", bytes.len() as f64 / rows as f64);
    let bucket = Bucket { index: 0, count: 1 };
    let spec = TabletSpec { id: TabletId(1), table: TableId(1), range: TimeRange::ALL, bucket };
    let disk = Arc::new(SimDisk::new());
    let trash = Arc::new(Trash::new(disk.clone(), "/trash".into()));
    let options = || TabletOptions::new(trash.clone());
    let tablet = Tablet::create(disk.clone(), "/t".into(), spec, options())?;
    let started = Instant::now();
    for (at, batch) in batches.iter().enumerate() {
        tablet.apply(LogIndex(at as u64 + 1), batch.clone());
    }
    report("apply, rows", rows, started);
    let started = Instant::now();
    tablet.seal(LogIndex(batches.len() as u64), Vec::new());
    tablet.flush()?;
    report("flush, rows", rows, started);
    let metrics = rows * COLUMNS;
    println!("bytes per metric         {:>8.4}", tablet.stats().bytes as f64 / metrics as f64);
    let started = Instant::now();
    let tablet = Tablet::open(disk, "/t".into(), spec, options())?;
    println!("open                     {:>8.2} ms", started.elapsed().as_secs_f64() * 1e3);
    let column = |at| ColumnRead { id: ColumnId(10 + at as u32), column_type: ColumnType::Int };
    let columns = (0..COLUMNS).map(column).collect();
    let scan = ScanSpec {
        columns,
        time: TimeRange::ALL,
        series: SeriesFilter::All,
        rows: RowsWanted::All,
    };
    let started = Instant::now();
    for block in tablet.scan(&scan, 1)?.into_iter().flatten() {
        black_box(block?);
    }
    report("scan, values", metrics, started);
    Ok(())
}
