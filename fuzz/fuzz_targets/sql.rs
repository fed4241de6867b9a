//! Texts of any kind as SQL, as a `where` and as the condition of a delete: guard, parser, planner and the rewrites
//! between them. Nothing may panic, overflow its stack or outlive its limits by much.
#![no_main]

use libfuzzer_sys::fuzz_target;
use oribi_model::{
    Column, ColumnId, ColumnKind, ColumnType, Ints, Name, ReadPath, Result, ScanSpec, Schema, Table, TableId,
    TableOptions, TableStats, TabletScan,
};
use oribi_query::{QueryEngine, QueryOptions, Question, tag_predicate};
use std::sync::{Arc, OnceLock};

/// A table without rows.
struct Empty(Arc<Table>);

impl Empty {
    fn new() -> Empty {
        let column = |id, name: &str, kind, column_type| Column {
            id: ColumnId(id),
            name: Name::new(name).expect("the name is allowed"),
            kind,
            column_type,
            ints: Ints::Exact,
        };
        let columns = vec![
            column(1, "site", ColumnKind::Tag, ColumnType::Text),
            column(2, "n", ColumnKind::Field, ColumnType::Int),
            column(3, "f", ColumnKind::Field, ColumnType::Float),
            column(4, "ok", ColumnKind::Field, ColumnType::Bool),
            column(5, "s", ColumnKind::Field, ColumnType::Text),
        ];
        Empty(Arc::new(Table {
            id: TableId(1),
            db: Name::new("default").expect("the name is allowed"),
            name: Name::new("t").expect("the name is allowed"),
            schema: Schema { version: 1, columns },
            options: TableOptions::default(),
        }))
    }
}

impl ReadPath for Empty {
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>> {
        ((db, table) == ("default", "t")).then(|| self.0.clone())
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        vec![self.0.clone()]
    }

    fn stats(&self, _: TableId) -> TableStats {
        TableStats::default()
    }

    fn scan(&self, _: TableId, _: &ScanSpec, _: usize) -> Result<Vec<TabletScan>> {
        Ok(Vec::new())
    }
}

struct Fuzzed {
    engine: QueryEngine,
    options: QueryOptions,
    table: Arc<Table>,
    runtime: tokio::runtime::Runtime,
}

fuzz_target!(|text: &str| {
    static FUZZED: OnceLock<Fuzzed> = OnceLock::new();
    let fuzzed = FUZZED.get_or_init(|| {
        let (empty, options) =
            (Empty::new(), QueryOptions { time_ms_max: 2_000, threads_max: 1, ..QueryOptions::default() });
        Fuzzed {
            table: empty.0.clone(),
            engine: QueryEngine::new(Arc::new(empty), options.clone()),
            options,
            runtime: tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime starts"),
        }
    });
    let Fuzzed { engine, options, table, runtime } = fuzzed;
    let _ = tag_predicate(text, table, options);
    let question = Question {
        table: Some("t".into()),
        select: Some("count(*)".into()),
        filter: Some(text.into()),
        ..Question::default()
    };
    // To the last row, of which some fail.
    let _ = runtime.block_on(async { engine.window(question).await?.collect().await });
    let _ = runtime.block_on(async { engine.sql(None, text.into()).await?.collect().await });
});
