//! Every function against plain loops over the same rows.
#![allow(clippy::unwrap_used)]

mod support;

use arrow_array::{Array, Float64Array, Int64Array, cast::AsArray, types::Float64Type};
use oribi_model::{ColumnType, ReadPath, Value};
use oribi_query::{QueryEngine, QueryOptions, Question};
use proptest::prelude::*;
use std::{collections::BTreeMap, sync::Arc};
use support::{Memory, MemoryTable};

type Row = (u8, i64, Option<i32>);

const FUNCTIONS: [&str; 12] = [
    "count", "sum", "mean", "min", "max", "first", "last", "stddev", "median", "p90", "delta",
    "rate",
];

/// Rows of one window by series, each by time, nulls left out.
fn expected(function: &str, by_series: &BTreeMap<u8, Vec<(i64, f64)>>) -> Option<f64> {
    let mut values: Vec<f64> = by_series.values().flatten().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len() as f64;
    let sum: f64 = values.iter().sum();
    if function == "count" {
        return Some(count);
    }
    if values.is_empty() {
        return None;
    }
    let percentile = |fraction: f64| {
        let place = fraction * (count - 1.0);
        let (low, high) = (values[place.floor() as usize], values[place.ceil() as usize]);
        low + (high - low) * place.fract()
    };
    let samples = by_series
        .iter()
        .flat_map(|(series, rows)| rows.iter().map(move |(time, value)| (*time, *series, *value)));
    let pairs = by_series.values().filter(|rows| rows.len() > 1);
    match function {
        "sum" => Some(sum),
        "mean" => Some(sum / count),
        "min" => values.first().copied(),
        "max" => values.last().copied(),
        "first" => samples.min_by_key(|(time, series, _)| (*time, *series)).map(|sample| sample.2),
        "last" => samples.max_by_key(|(time, series, _)| (*time, *series)).map(|sample| sample.2),
        "stddev" => {
            let squares: f64 = values.iter().map(|value| (value - sum / count).powi(2)).sum();
            (count > 1.0).then(|| (squares / (count - 1.0)).sqrt())
        }
        "median" => Some(percentile(0.5)),
        "p90" => Some(percentile(0.9)),
        "delta" => pairs.map(|rows| rows[rows.len() - 1].1 - rows[0].1).reduce(|a, b| a + b),
        _ => pairs
            .map(|rows| {
                let rises = rows
                    .windows(2)
                    .map(|two| if two[1].1 >= two[0].1 { two[1].1 - two[0].1 } else { two[1].1 });
                rises.sum::<f64>() / ((rows[rows.len() - 1].0 - rows[0].0) as f64 / 1e9)
            })
            .reduce(|a, b| a + b),
    }
}

fn check(rows: &[Row], float: ColumnType, window: i64, tablet: i64) {
    let mut memory = MemoryTable::new(1, "default", "t", &["device"], &[("x", float)]);
    memory.range_ns = tablet;
    let mut stored: BTreeMap<(u8, i64), Option<i32>> = BTreeMap::new();
    for (series, time, value) in rows {
        let cell = value.map(|value| match float {
            ColumnType::Int => Value::Int(value.into()),
            _ => Value::Float(f64::from(value) * 0.1),
        });
        memory.put(&[&format!("d{series}")], *time, &[cell]);
        stored.insert((*series, *time), *value);
    }
    let mut windows: BTreeMap<i64, BTreeMap<u8, Vec<(i64, f64)>>> = BTreeMap::new();
    for ((series, time), value) in &stored {
        if let Some(value) = value {
            let rows = windows.entry(time.div_euclid(window)).or_default();
            let scale = if float == ColumnType::Int { 1.0 } else { 0.1 };
            rows.entry(*series).or_default().push((*time, f64::from(*value) * scale));
        }
    }
    let memory: Arc<dyn ReadPath> = Arc::new(Memory(vec![memory]));
    let select: Vec<String> = FUNCTIONS.iter().map(|name| format!("{name}(x)")).collect();
    let question = Question {
        table: Some("t".into()),
        select: Some(select.join(",")),
        window: Some(format!("{window}ns")),
        ..Question::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let ask = |threads_max, rows_alone_max| {
        let options = QueryOptions { threads_max, rows_alone_max, ..QueryOptions::default() };
        let engine = QueryEngine::new(memory.clone(), options);
        let answer = async { engine.window(question.clone()).await?.collect().await };
        runtime.block_on(answer).unwrap()
    };
    let answer = ask(1, usize::MAX);
    for threads_max in [2, 4] {
        // To the last bit, however the tablets were shared out.
        assert_eq!(ask(threads_max, 0).batches, answer.batches);
    }
    assert_eq!(answer.rows(), windows.len());
    let batch = &answer.batches[0];
    for (place, function) in FUNCTIONS.iter().enumerate() {
        let column = batch.column(place + 1);
        let column: Float64Array = match column.as_any().downcast_ref::<Int64Array>() {
            Some(ints) => ints.unary(|value| value as f64),
            None => column.as_primitive::<Float64Type>().clone(),
        };
        for (row, by_series) in windows.values().enumerate() {
            let found = column.is_valid(row).then(|| column.value(row));
            let wanted = expected(function, by_series);
            let close = match (found, wanted) {
                (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0),
                (a, b) => a == b,
            };
            assert!(close, "{function} in window {row}: {found:?}, expected {wanted:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn functions_agree_with_plain_loops(
        rows in prop::collection::vec(
            (0u8..4, -500i64..500, prop::option::weighted(0.8, -1000i32..1000)),
            1..200,
        ),
        float in any::<bool>(),
        window in 1i64..400,
        tablet in 50i64..2_000,
    ) {
        let kind = if float { ColumnType::Float } else { ColumnType::Int };
        check(&rows, kind, window, tablet);
    }
}
