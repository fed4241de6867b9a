//! Figures that are made in one place and merged in another.
#![allow(clippy::unwrap_used)]

mod support;

use arrow_array::RecordBatch;
use axum::body::Bytes;
use oribi_model::{ColumnType, ReadPath, Value};
use oribi_query::{Error, QueryEngine, QueryOptions, Question, WindowPlan};
use proptest::prelude::*;
use std::sync::Arc;
use support::{Memory, MemoryTable};
use tokio::runtime::Runtime;

const SELECT: &str = "count(*), sum(i), mean(i), min(i), max(i), first(i), last(i), stddev(i), \
     median(i), rate(i), delta(i), sum(f), mean(f), min(f), max(f), first(f), last(f), stddev(f), \
     p90(f), rate(f), delta(f), count(t), min(t), max(t), first(t), last(t), min(b), max(b), last(b), \
     first(time), last(time), min(time), max(time)";

/// Host and room, time, and what to make values of, where there is one.
type Row = ((u8, u8), i64, Option<i32>);

fn table(rows: &[Row]) -> MemoryTable {
    use ColumnType::{Bool, Float, Int, Text};
    let fields = [("i", Int), ("f", Float), ("t", Text), ("b", Bool)];
    let mut table = MemoryTable::new(1, "default", "m", &["host", "room"], &fields);
    table.range_ns = 100;
    for ((host, room), time, value) in rows {
        // The empty one is null.
        let room = if *room == 0 { String::new() } else { format!("r{room}") };
        let whole = value.map(|value| Value::Int(i64::from(value) << 31));
        let fields = value.map(|value| {
            let float = f64::from(value) * 0.1;
            [Value::Float(float), Value::Text(format!("x{value}")), Value::Bool(value % 2 == 0)]
        });
        let fields = match fields {
            Some(fields) => fields.map(Some),
            None => [None, None, None],
        };
        let fields = [[whole].as_slice(), &fields].concat();
        table.put(&[&format!("h{host}"), &room], *time, &fields);
    }
    table
}

fn engine(rows: &[Row]) -> QueryEngine {
    let read: Arc<dyn ReadPath> = Arc::new(Memory(vec![table(rows)]));
    QueryEngine::new(read, QueryOptions { threads_max: 2, rows_alone_max: 5, ..Default::default() })
}

fn plan(window: Option<&str>, group_by: Option<&str>) -> WindowPlan {
    let text = |text: &str| Some(text.to_owned());
    let question = Question {
        table: text("m"),
        select: text(SELECT),
        window: window.and_then(text),
        group_by: group_by.and_then(text),
        fill: text("null"),
        ..Question::default()
    };
    question.plan(0).unwrap()
}

fn answer(
    runtime: &Runtime,
    engine: &QueryEngine,
    plan: &WindowPlan,
    figures: Option<Vec<Bytes>>,
) -> Result<Vec<RecordBatch>, Error> {
    runtime.block_on(async {
        let rows = match figures {
            None => engine.planned(plan.clone()).await?,
            Some(figures) => engine.merged(plan.clone(), figures).await?,
        };
        Ok(rows.collect().await?.batches)
    })
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = ((0u8..3, 0u8..3), -500i64..500, prop::option::weighted(0.8, -1000i32..1000));
    prop::collection::vec(row, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// To the last bit, whichever node has which tablet and whoever is heard first.
    #[test]
    fn figures_of_nodes_make_the_answer_of_one(
        rows in rows(),
        owners in prop::collection::vec(0usize..4, 10),
        order in Just((0..4usize).collect::<Vec<_>>()).prop_shuffle(),
        window in prop::option::of(prop::sample::select(&["7ns", "130ns", "1d"][..])),
        group_by in prop::option::of(prop::sample::select(&["host", "room,host", "*"][..])),
    ) {
        let runtime = runtime();
        let plan = plan(window, group_by);
        let whole = answer(&runtime, &engine(&rows), &plan, None).unwrap();
        let owner = |time: i64| owners[(time.div_euclid(100) + 5) as usize];
        let parts: Vec<Bytes> = order
            .iter()
            .map(|node| {
                let own: Vec<Row> =
                    rows.iter().filter(|(_, time, _)| owner(*time) == *node).cloned().collect();
                runtime.block_on(engine(&own).figures(plan.clone())).unwrap()
            })
            .collect();
        // Whoever merges has no rows.
        let merged = answer(&runtime, &engine(&[]), &plan, Some(parts)).unwrap();
        prop_assert_eq!(merged, whole);
    }

    /// Bytes that are no figures are refused, also where their checksum fits, or are some figures.
    #[test]
    fn damaged_figures_are_refused(
        rows in rows(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let runtime = runtime();
        let plan = plan(Some("50ns"), Some("host"));
        let engine = engine(&rows);
        let good = runtime.block_on(engine.figures(plan.clone())).unwrap().to_vec();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        prop_assume!(bad[at] != byte);
        bad[at] = byte;
        let found = answer(&runtime, &engine, &plan, Some(vec![bad.clone().into()]));
        prop_assert!(matches!(found, Err(Error::Figures { .. })), "{:?}", found.err());
        let short = good[..cut.index(good.len())].to_vec();
        let found = answer(&runtime, &engine, &plan, Some(vec![short.into()]));
        prop_assert!(matches!(found, Err(Error::Figures { .. })), "cut short");
        const HEAD_BYTES: usize = 9;
        if at >= HEAD_BYTES {
            let crc = crc32c::crc32c(&bad[HEAD_BYTES..]).to_le_bytes();
            bad[HEAD_BYTES - crc.len()..HEAD_BYTES].copy_from_slice(&crc);
            // Twice, so that they are merged with others, too.
            let found = answer(&runtime, &engine, &plan, Some(vec![bad.into(), good.into()]));
            let expected = match found {
                Ok(_) | Err(Error::Figures { .. } | Error::Overflow { .. }) => true,
                Err(Error::TooManyWindows { .. } | Error::AnswerLimit { .. }) => true,
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            };
            prop_assert!(expected);
        }
    }
}

#[test]
fn figures_of_another_question_are_refused() {
    let runtime = runtime();
    let engine = engine(&[((1, 1), 5, Some(3))]);
    let figures = runtime.block_on(engine.figures(plan(None, Some("host")))).unwrap();
    for other in [plan(None, None), plan(None, Some("host,room"))] {
        let found = answer(&runtime, &engine, &other, Some(vec![figures.clone()]));
        assert!(matches!(found, Err(Error::Figures { .. })), "{other:?}");
    }
}
