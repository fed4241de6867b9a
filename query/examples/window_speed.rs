//! Prints how many rows a second the window operator aggregates from blocks in memory, and what
//! a small question costs from text to bytes.

use oribi_model::{
    Block, Column, ColumnId, ColumnKind, ColumnType, ColumnValues, Ints, Name, ReadPath, Run,
    ScanSpec, Schema, SeriesKey, Table, TableId, TableOptions, TableStats, TabletId, TabletScan,
    TimeRange,
};
use oribi_query::{QueryEngine, QueryOptions, Question};
use std::{sync::Arc, time::Instant};

const HOSTS: usize = 100;
const ROWS_PER_HOST: usize = 100_000;
const STEP_NS: i64 = 10_000_000_000;

struct InMemory {
    table: Arc<Table>,
    blocks: Vec<Block>,
}

impl InMemory {
    fn new() -> InMemory {
        let column = |id, name: &str, kind, column_type| Column {
            id: ColumnId(id),
            name: Name::new(name).expect("the name is allowed"),
            kind,
            column_type,
            ints: Ints::Exact,
        };
        let columns = vec![
            column(1, "host", ColumnKind::Tag, ColumnType::Text),
            column(2, "usage", ColumnKind::Field, ColumnType::Float),
        ];
        let table = Table {
            id: TableId(1),
            db: Name::new("default").expect("the name is allowed"),
            name: Name::new("cpu").expect("the name is allowed"),
            schema: Schema { version: 1, columns },
            options: TableOptions::default(),
        };
        let blocks = (0..HOSTS).map(block).collect();
        InMemory { table: Arc::new(table), blocks }
    }
}

fn block(host: usize) -> Block {
    let name = format!("host_{host}");
    let values: Vec<f64> = (0..ROWS_PER_HOST).map(|row| ((row * 7 + host) % 100) as f64).collect();
    let times: Vec<i64> = (0..ROWS_PER_HOST as i64).map(|row| row * STEP_NS).collect();
    Block {
        runs: vec![Run {
            series: SeriesKey::from_tags([(ColumnId(1), name.as_str())]),
            rows: ROWS_PER_HOST,
        }],
        times: times.into(),
        columns: vec![ColumnValues::Float(values.into())],
    }
}

impl ReadPath for InMemory {
    fn table(&self, _: &str, table: &str) -> Option<Arc<Table>> {
        (table == "cpu").then(|| self.table.clone())
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        vec![self.table.clone()]
    }

    fn stats(&self, _: TableId) -> TableStats {
        let end = ROWS_PER_HOST as i64 * STEP_NS;
        TableStats { time: Some(TimeRange::new(0, end)), ..TableStats::default() }
    }

    fn scan(&self, _: TableId, spec: &ScanSpec, _: usize) -> oribi_model::Result<Vec<TabletScan>> {
        let wanted = self.blocks.iter().filter(|block| spec.series.wants(&block.runs[0].series));
        let cut = |block: &Block| {
            let first = block.times.partition_point(|time| *time < spec.time.start);
            let last = block.times.partition_point(|time| *time < spec.time.end);
            Block {
                runs: vec![Run { series: block.runs[0].series.clone(), rows: last - first }],
                times: block.times.slice(first, last - first),
                columns: vec![block.columns[0].slice(first, last - first)],
            }
        };
        let blocks: Vec<Block> = wanted.map(cut).collect();
        let parts = vec![Box::new(blocks.into_iter().map(Ok)) as oribi_model::BlockIter];
        Ok(vec![TabletScan { tablet: TabletId(1), range: TimeRange::ALL, parts }])
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("the system gives a runtime");
    let options = QueryOptions { threads_max: 1, ..QueryOptions::default() };
    let engine = QueryEngine::new(Arc::new(InMemory::new()), options);
    let some = |text: &str| Some(text.to_owned());
    let base = Question { table: some("cpu"), ..Question::default() };
    let rows = (HOSTS * ROWS_PER_HOST) as f64;
    for (select, window) in [
        ("mean(usage)", "1h"),
        ("max(usage)", "10m"),
        ("mean(usage), min(usage), max(usage)", "1h"),
        ("count(*)", "1h"),
        ("stddev(usage)", "1d"),
        ("last(usage)", "1h"),
    ] {
        let question = Question {
            select: some(select),
            window: some(window),
            group_by: some("host"),
            ..base.clone()
        };
        let best = (0..5).map(|_| time(&runtime, &engine, &question)).fold(f64::MAX, f64::min);
        println!("{select:40} {window:>3}: {:7.1} M rows/s", rows / best / 1e6);
    }
    let small = Question {
        select: some("max(usage)"),
        window: some("1m"),
        start: some("1970-01-02T00:00:00.5Z"),
        end: some("1970-01-02T01:00:00.5Z"),
        filter: some("host = 'host_7'"),
        ..base
    };
    let mut times: Vec<f64> = (0..2_000).map(|_| time(&runtime, &engine, &small)).collect();
    times.sort_by(f64::total_cmp);
    println!("one host, one hour, 1m windows: {:.1} us median", times[1_000] * 1e6);
}

fn time(runtime: &tokio::runtime::Runtime, engine: &QueryEngine, question: &Question) -> f64 {
    let start = Instant::now();
    let answer = async { engine.window(question.clone()).await?.collect().await };
    runtime.block_on(answer).expect("the question is well formed");
    start.elapsed().as_secs_f64()
}
