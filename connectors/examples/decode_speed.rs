//! Prints rows a second of the decoders in their fastest round, and messages a second through the
//! MQTT listener over a write path that does nothing. With the argument `decoders`, of these only.

use futures::future::BoxFuture;
use oribi_connectors::{
    MqttListener, MqttListenerOptions,
    decode::{
        json,
        line_protocol::{HeadPool, Options, decode_with},
        row::{RowRules, RowSink, TimeRule},
        table::TableBuilder,
        time::Precision,
    },
};
use oribi_ingest::{Ingest, Receipt, Result};
use oribi_model::{
    ArrivalClock, Name, Points, ReadPath, Rejection, ScanSpec, SystemClock, Table, TableId,
    TableStats, TabletScan,
};
use std::{
    fmt::Write as _,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

const MESSAGE: &str = r#"{"temperature":21.5,"humidity":40,"pressure":1013.25,"battery":98,"rssi":-67,"voltage":3.291,"current":0.0125,"power":0.041,"uptime":8640012,"errors":0,"state":"running","door_open":false,"firmware":"v1.12.3","counter":123456789,"lux":312.75}"#;
const WINDOW: usize = 500;
const CONNECTIONS: usize = 4;
const MESSAGES: usize = 400_000;
const ROUNDS: usize = 100;

struct Nothing;

impl ReadPath for Nothing {
    fn table(&self, _: &str, _: &str) -> Option<Arc<Table>> {
        None
    }

    fn tables(&self) -> Vec<Arc<Table>> {
        Vec::new()
    }

    fn stats(&self, _: TableId) -> TableStats {
        TableStats::default()
    }

    fn scan(&self, _: TableId, _: &ScanSpec, _: usize) -> oribi_model::Result<Vec<TabletScan>> {
        Ok(Vec::new())
    }
}

impl Ingest for Nothing {
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        let rows = points.iter().map(|points| points.rows() as u64).sum();
        Box::pin(async move { Ok(Receipt { rows, ..Receipt::default() }) })
    }
    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>> {
        self.write(points)
    }
    fn refused(&self, _: &[Points]) -> Vec<Rejection> {
        Vec::new()
    }
    fn table(&self, _: &str, _: &str) -> Option<Arc<Table>> {
        None
    }
    fn databases(&self) -> Vec<Name> {
        Vec::new()
    }
    fn create_database(&self, _: Name) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
    fn drop_database(&self, _: Name) -> BoxFuture<'_, Result<()>> {
        Box::pin(async { Ok(()) })
    }
}

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
        let mut builder = TableBuilder::new(name("default"), name("sensors"));
        let series = builder.series(&[("site", "s")]).expect("the tag is legal");
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
        let mut builder = TableBuilder::new(name("default"), name("sensors"));
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

fn publisher(address: SocketAddr, number: usize) {
    let mut stream = TcpStream::connect(address).expect("the listener accepts");
    let connect = [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'a' + number as u8];
    stream.write_all(&connect).expect("the listener reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("the listener answers");
    let topic = format!("sensors/site/dev{number}");
    let mut packet = vec![0x32];
    let length = 2 + topic.len() + 2 + MESSAGE.len();
    packet.extend([(length & 127) as u8 | 128, (length >> 7) as u8, 0, topic.len() as u8]);
    packet.extend(topic.as_bytes());
    let id_at = packet.len();
    packet.extend([0, 0]);
    packet.extend(MESSAGE.as_bytes());
    let (mut sent, mut acked) = (0, 0);
    let (mut output, mut input) = (Vec::new(), [0; 8192]);
    while acked < MESSAGES {
        output.clear();
        while sent < MESSAGES && sent - acked < WINDOW {
            let id = (sent % 60_000 + 1) as u16;
            packet[id_at..id_at + 2].copy_from_slice(&id.to_be_bytes());
            output.extend_from_slice(&packet);
            sent += 1;
        }
        stream.write_all(&output).expect("the listener reads");
        let mut bytes = stream.read(&mut input).expect("the listener answers");
        while !bytes.is_multiple_of(4) {
            bytes += stream.read(&mut input[bytes..]).expect("the listener answers");
        }
        acked += bytes / 4;
    }
}

fn main() {
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    for (hosts, rows) in [(100, 10_000), (4_000, 4_000), (20_000, 10_000)] {
        line_protocol(&arrival, hosts, rows);
    }
    json(&arrival);
    tagged_json(&arrival);
    if std::env::args().nth(1).as_deref() == Some("decoders") {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let shutdown = CancellationToken::new();
    let guard = runtime.enter();
    let options = MqttListenerOptions::default();
    let (ingest, read) = (Arc::new(Nothing), Arc::new(Nothing));
    let started = MqttListener::start(socket, options, ingest, read, arrival, shutdown.clone());
    let listener = started.expect("the listener starts");
    drop(guard);
    let address = listener.local_addr();
    let start = Instant::now();
    std::thread::scope(|scope| {
        for number in 0..CONNECTIONS {
            scope.spawn(move || publisher(address, number));
        }
    });
    let rate = (CONNECTIONS * MESSAGES) as f64 / start.elapsed().as_secs_f64();
    println!("mqtt qos 1, {} B: {:.0} k messages/s", MESSAGE.len(), rate / 1e3);
    shutdown.cancel();
    runtime.block_on(listener.join());
}
