//! Prints rows a second of the decoders in their fastest round.

use oribi_decode::{
    json,
    line_protocol::{HeadPool, Options, decode_with},
    points::PointsBuilder,
    row::{RowRules, RowSink, TimeRule},
    time::Precision,
};
use oribi_model::{ArrivalClock, Name, SystemClock};
use std::{fmt::Write as _, sync::Arc, time::Instant};

const MESSAGE: &str = r#"{"temperature":21.5,"humidity":40,"pressure":1013.25,"battery":98,"rssi":-67,"voltage":3.291,"current":0.0125,"power":0.041,"uptime":8640012,"errors":0,"state":"running","door_open":false,"firmware":"v1.12.3","counter":123456789,"lux":312.75}"#;
const ROUNDS: usize = 100;

fn name(text: &str) -> Name {
    Name::new(text).expect("the name is legal")
}

/// Prints how many `rows` a second `round` does when nothing disturbs it.
fn fastest(what: &str, rows: usize, mut round: impl FnMut()) {
    let time = |_| {
        let start = Instant::now();
        round();
        start.elapsed()
    };
    let best = (0..ROUNDS).map(time).min().unwrap_or_default();
    let row_ns = best.as_nanos() as f64 / rows as f64;
    println!("{what}: {:.2} M rows/s, {row_ns:.0} ns a row", 1e3 / row_ns);
}

/// A body of as many rows for each host, by turns.
fn line_protocol(arrival: &ArrivalClock, hosts: u64, rows: u64) {
    let mut body = String::new();
    for row in 0..rows {
        let host = row % hosts;
        writeln!(
            body,
            "cpu,hostname=host_{host},region=eu-central-1,datacenter=eu-central-1a,rack=6,os=Ubuntu15.10,\
             arch=x86,team=SF,service=19,service_version=1,service_environment=test usage_user=58i,\
             usage_system=2i,usage_idle=24i,usage_nice=61i,usage_iowait=22i,usage_irq=63i,\
             usage_softirq=6i,usage_steal=44i,usage_guest=80i,usage_guest_nice=38i {}",
            1_451_606_400_000_000_000 + row / hosts * 10_000_000_000
        )
        .expect("a string takes every text");
    }
    let options = Options::new(name("default"), arrival);
    let pool = HeadPool::default();
    fastest(&format!("line protocol, {rows} rows of {hosts} hosts"), rows as usize, || {
        let mut heads = pool.take();
        assert_eq!(decode_with(body.as_bytes(), &options, &mut heads).rows(), rows as usize);
        pool.put(heads);
    });
}

fn json(arrival: &ArrivalClock) {
    let fixed = [("site".to_owned(), "s".to_owned())];
    let rules = RowRules { fixed: &fixed, ..RowRules::new(arrival) };
    fastest("json", 5_000, || {
        let mut builder = PointsBuilder::new(name("default"), name("sensors"));
        let series = builder.checked_series(&[("site", "s")]).expect("the tag is legal");
        for row in 0..5_000 {
            let mut sink = RowSink::new(&rules, &mut builder, Some(series), row);
            json::read_rows(MESSAGE, &mut sink).expect("the message is JSON");
        }
        assert_eq!(builder.finish().rows(), 5_000);
    });
}

/// Messages of which a member is the tag and another one the time, as of a Kafka topic.
fn tagged_json(arrival: &ArrivalClock) {
    let messages: Vec<String> = (0..32_768u64).map(tagged).collect();
    let (tags, time) =
        (["device".to_owned()], TimeRule::Column("time".into(), Some(Precision::Ms)));
    let rules = RowRules { tags: &tags, time: &time, ..RowRules::new(arrival) };
    fastest("json with a tag and a time", messages.len(), || {
        let mut builder = PointsBuilder::new(name("default"), name("sensors"));
        for (row, message) in messages.iter().enumerate() {
            let mut sink = RowSink::new(&rules, &mut builder, None, row as u32);
            json::read_rows(message, &mut sink).expect("the message is JSON");
        }
        assert_eq!(builder.finish().rows(), messages.len());
    });
}

fn tagged(at: u64) -> String {
    format!(
        r#"{{"device":"d{}","time":{},"temperature":{}.{},"humidity":{},"pressure":1013.25,"n":{at},"pad":"{}"}}"#,
        at % 1_000,
        1_700_000_000_000 + at,
        15 + at % 20,
        at % 10,
        at % 100,
        "x".repeat(75)
    )
}

fn main() {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    for (hosts, rows) in [(100, 10_000), (4_000, 4_000), (20_000, 10_000)] {
        line_protocol(&arrival, hosts, rows);
    }
    json(&arrival);
    tagged_json(&arrival);
}
