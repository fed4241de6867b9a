//! Prints how fast messages of JSON become rows, beside sonic-rs: which builds its tree alone, and which
//! builds it and then gives the same rows to the same sink. Times are those of the fastest round.

use oribi_decode::{
    json,
    points::PointsBuilder,
    row::{Cell, RowRules, RowSink, TimeRule},
    time::Precision,
};
use oribi_model::{ArrivalClock, Name, SystemClock};
use sonic_rs::{JsonContainerTrait, JsonType, JsonValueTrait, Value};
use std::{hint::black_box, sync::Arc, time::Instant};

const MESSAGE: &str = r#"{"temperature":21.5,"humidity":40,"pressure":1013.25,"battery":98,"rssi":-67,"voltage":3.291,"current":0.0125,"power":0.041,"uptime":8640012,"errors":0,"state":"running","door_open":false,"firmware":"v1.12.3","counter":123456789,"lux":312.75}"#;
const MESSAGES: usize = 10_000;
const ROUNDS: usize = 200;

/// A message of a Kafka topic: a tag, a time, numbers and a text.
fn tagged(at: usize) -> String {
    format!(
        r#"{{"device":"d{}","time":{},"temperature":{}.{},"humidity":{},"pressure":1013.25,"n":{at},"pad":"{}"}}"#,
        at % 1_000,
        1_700_000_000_000u64 + at as u64,
        15 + at % 20,
        at % 10,
        at % 100,
        "x".repeat(75)
    )
}

fn name(text: &str) -> Name {
    Name::new(text).expect("the name is legal")
}

/// Time of the fastest round in ns a message.
fn fastest(mut round: impl FnMut()) -> f64 {
    let time = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    let best = (0..ROUNDS).map(time).min().unwrap_or_default();
    best.as_nanos() as f64 / MESSAGES as f64
}

/// As rows, each by `read`.
fn rows(
    messages: &[String],
    rules: &RowRules<'_>,
    mut read: impl FnMut(&str, &mut RowSink<'_, '_>),
) {
    let mut builder = PointsBuilder::new(name("default"), name("sensors"));
    for (row, message) in messages.iter().enumerate() {
        let mut sink = RowSink::new(rules, &mut builder, None, row as u32);
        read(message, &mut sink);
    }
    assert_eq!(black_box(builder.finish()).rows(), MESSAGES);
}

fn by_sonic(message: &str, sink: &mut RowSink<'_, '_>) {
    let tree: Value = sonic_rs::from_str(message).expect("the message is JSON");
    for (name, value) in tree.as_object().expect("the message is an object") {
        match value.get_type() {
            JsonType::Number => {
                // Rules about exact numbers want their text, which the tree does not keep.
                match value.as_i64() {
                    Some(int) => {
                        let mut text = itoa::Buffer::new();
                        sink.set(name, Cell::Int(int, text.format(int)));
                    }
                    None => {
                        let float = value.as_f64().unwrap_or_default();
                        sink.set(name, Cell::Float(float, ""));
                    }
                }
            }
            JsonType::Boolean => sink.set(name, Cell::Bool(value.as_bool().unwrap_or_default())),
            JsonType::String => sink.set(name, Cell::Text(value.as_str().unwrap_or_default())),
            _ => {}
        }
    }
    sink.end_row();
}

fn compare(what: &str, messages: &[String], rules: &RowRules<'_>) {
    let tree = fastest(|| {
        for message in messages {
            black_box(sonic_rs::from_str::<Value>(message).expect("the message is JSON"));
        }
    });
    let sonic = fastest(|| rows(messages, rules, by_sonic));
    let ours = fastest(|| {
        rows(messages, rules, |message, sink| {
            json::read_rows(message, sink).expect("the message is JSON");
        });
    });
    println!(
        "{what}: rows by Oribi {ours:.0} ns a message, rows by sonic-rs {sonic:.0} ns ({:.2} x), its tree alone {tree:.0} ns ({:.2} x)",
        sonic / ours,
        tree / ours
    );
}

fn main() {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let plain: Vec<String> = (0..MESSAGES).map(|_| MESSAGE.to_owned()).collect();
    compare("15 members", &plain, &RowRules::new(&arrival));
    let kafka: Vec<String> = (0..MESSAGES).map(tagged).collect();
    let (tags, time) =
        (["device".to_owned()], TimeRule::Column("time".into(), Some(Precision::Ms)));
    let rules = RowRules { tags: &tags, time: &time, ..RowRules::new(&arrival) };
    compare("7 members, a tag, a time", &kafka, &rules);
}
