//! Prints messages a second through the MQTT listener over a write path that does nothing.

use futures::future::BoxFuture;
use oribi_connectors::{MqttListener, MqttListenerOptions};
use oribi_ingest::{Ingest, Receipt, Result};
use oribi_model::{
    ArrivalClock, Name, Points, ReadPath, Rejection, ScanSpec, SystemClock, Table, TableId,
    TableStats, TabletScan,
};
use std::{
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
