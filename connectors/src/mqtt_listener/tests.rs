use super::*;
use crate::testing::{Memory, arrival};
use oribi_model::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

mod bounds;
mod rights;
mod wills;

struct Door {
    listener: MqttListener,
    shutdown: CancellationToken,
}

fn open(memory: &Arc<Memory>) -> Door {
    open_with(memory, MqttListenerOptions::default())
}

fn open_with(memory: &Arc<Memory>, options: MqttListenerOptions) -> Door {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let shutdown = CancellationToken::new();
    let options = MqttListenerOptions { packet_bytes_max: 64 * 1024, ..options };
    let (ingest, read) = (memory.clone(), memory.clone());
    let listener = MqttListener::start(socket, options, ingest, read, arrival(), shutdown.clone());
    Door { listener: listener.unwrap(), shutdown }
}

impl Door {
    async fn close(self) {
        self.shutdown.cancel();
        self.listener.join().await;
    }

    /// A socket with these bytes sent.
    async fn send(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(self.listener.local_addr()).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// A 3.1.1 client with a session to keep.
    async fn connect(&self, client: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.listener.local_addr()).await.unwrap();
        let mut packet = vec![0x10, 12 + client.len() as u8];
        packet.extend_from_slice(b"\0\x04MQTT\x04\0\0\0");
        packet.extend_from_slice(&[0, client.len() as u8]);
        packet.extend_from_slice(client.as_bytes());
        stream.write_all(&packet).await.unwrap();
        assert_eq!(read(&mut stream).await[..2], [0x20, 2]);
        stream
    }
}

/// One packet of at most 127 bytes.
async fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.unwrap();
    let mut packet = head.to_vec();
    packet.resize(2 + usize::from(head[1]), 0);
    stream.read_exact(&mut packet[2..]).await.unwrap();
    packet
}

fn publish(qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(qos, id, topic, &[], payload)
}

/// With these bytes before the payload: those of the properties in MQTT 5.
fn publish_with(qos: u8, id: u16, topic: &str, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut content = text(topic.as_bytes());
    if qos > 0 {
        content.extend_from_slice(&id.to_be_bytes());
    }
    content.extend_from_slice(properties);
    content.extend_from_slice(payload);
    packet(0x30 | qos << 1, content)
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// A CONNECT of MQTT 5 with these flags and bytes behind the keep-alive.
fn connect_v5(flags: u8, rest: &[Vec<u8>]) -> Vec<u8> {
    let head = [b"\0\x04MQTT\x05", &[flags, 0, 0][..]].concat();
    packet(0x10, [head, rest.concat()].concat())
}

fn packet(head: u8, content: Vec<u8>) -> Vec<u8> {
    let mut packet = vec![head];
    let mut length = content.len();
    loop {
        let more = length > 127;
        packet.push((length & 127) as u8 | if more { 128 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    packet.extend(content);
    packet
}

async fn closed(mut stream: TcpStream) -> Vec<u8> {
    let mut rest = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut rest).await;
    rest
}

#[tokio::test]
async fn an_ack_waits_for_the_write() {
    let memory = Memory::gated(0);
    let door = open(&memory);
    let mut client = door.connect("a").await;
    let mut packets = publish(1, 7, "sensors/s/d", br#"{"t":21.5,"site":"s"}"#);
    packets.extend(publish(2, 8, "sensors/s/d", b"5"));
    packets.extend([0xc0, 0]);
    client.write_all(&packets).await.unwrap();
    // The ping behind them is answered, they are not.
    assert_eq!(read(&mut client).await, [0xd0, 0]);
    memory.gate.add_permits(1 << 20);
    assert_eq!(read(&mut client).await, [0x40, 2, 0, 7]);
    assert_eq!(read(&mut client).await, [0x50, 2, 0, 8]);
    // The replay is answered and not stored again.
    client.write_all(&publish(2, 8, "sensors/s/d", b"5")).await.unwrap();
    assert_eq!(read(&mut client).await, [0x50, 2, 0, 8]);
    client.write_all(&[0x62, 2, 0, 8]).await.unwrap();
    assert_eq!(read(&mut client).await, [0x70, 2, 0, 8]);
    assert_eq!(memory.rows("sensors"), 2);
    {
        let written = memory.written.lock();
        let points = &written[0];
        assert_eq!(points.fields[0].values.get(0), Some(Value::Float(21.5)));
        assert_eq!((points.fields.len(), points.tags.len()), (2, 2));
    }
    door.close().await;
}

#[tokio::test]
async fn what_cannot_be_decoded_becomes_a_dead_letter_and_is_acked() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.connect("a").await;
    let large = vec![b'x'; 100_000];
    let bad: [(&str, &[u8]); 6] = [
        ("sensors/s/d", b"{\"t\":"),
        ("sensors/s/d", br#"{"site":"other","t":1}"#),
        ("sensors/s/d", b"\xff\xfe"),
        ("_x/y", b"1"),
        ("refused/x", b"1"),
        ("sensors/s/d", &large),
    ];
    for (id, (topic, payload)) in (1u16..).zip(bad) {
        client.write_all(&publish(1, id, topic, payload)).await.unwrap();
        assert_eq!(read(&mut client).await, [0x40, 2, 0, id as u8]);
    }
    assert_eq!(memory.rows("_dead_letters"), bad.len());
    for (id, (topic, payload)) in (1u16..).zip([
        ("telegraf/h/cpu", &b"cpu,host=a v=1i 5\ncpu,host=b v=2i 5\n"[..]),
        ("plant/temperature", b"21.5"),
        ("plant/state", b"online"),
        ("plant/x", b"[{\"v\":1},{\"v\":2}]\0"),
    ]) {
        client.write_all(&publish(1, id, topic, payload)).await.unwrap();
        assert_eq!(read(&mut client).await, [0x40, 2, 0, id as u8]);
    }
    assert_eq!((memory.rows("cpu"), memory.rows("plant")), (2, 4));
    door.close().await;
}

#[tokio::test]
async fn subscriptions_fail_and_the_connection_stays() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.connect("a").await;
    client.write_all(&[0x82, 6, 0, 1, 0, 1, b'a', 1]).await.unwrap();
    assert_eq!(read(&mut client).await, [0x90, 3, 0, 1, 0x80]);
    client.write_all(&[0xa2, 5, 0, 2, 0, 1, b'a']).await.unwrap();
    assert_eq!(read(&mut client).await, [0xb0, 2, 0, 2]);
    client.write_all(&[0xc0, 0]).await.unwrap();
    assert_eq!(read(&mut client).await, [0xd0, 0]);
    door.close().await;
}

#[tokio::test]
async fn broken_packets_end_only_their_connection() {
    let memory = Memory::open();
    let door = open(&memory);
    let deep = "/".repeat(65_000);
    for bad in [
        publish(1, 0, "a", b"1"),
        publish(2, 0, "a", b"1"),
        publish(0, 0, "", b"1"),
        publish(1, 1, "a/+", b"1"),
        publish(3, 1, "a", b"1"),
        vec![0x30, 0xff, 0xff, 0xff, 0xff, 0x7f],
        vec![0x82, 1, 0],
        vec![0, 0],
    ] {
        let mut client = door.connect("a").await;
        client.write_all(&bad).await.unwrap();
        assert!(closed(client).await.is_empty(), "{bad:?}");
    }
    let mut wrong = TcpStream::connect(door.listener.local_addr()).await.unwrap();
    wrong.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    assert!(closed(wrong).await.is_empty());
    let mut client = door.connect("a").await;
    client.write_all(&publish(1, 1, &deep, b"1")).await.unwrap();
    assert_eq!(read(&mut client).await, [0x40, 2, 0, 1]);
    door.close().await;
}

#[tokio::test]
async fn a_second_client_of_one_name_takes_over_and_wills_are_stored() {
    let memory = Memory::open();
    let door = open(&memory);
    let first = door.connect("same").await;
    let mut second = door.connect("same").await;
    assert!(closed(first).await.is_empty());
    second.write_all(&[0xc0, 0]).await.unwrap();
    assert_eq!(read(&mut second).await, [0xd0, 0]);

    let mut doomed = TcpStream::connect(door.listener.local_addr()).await.unwrap();
    let connect = b"\x10\x18\0\x04MQTT\x04\x06\0\0\0\x01w\0\x06will/x\0\x01\x35";
    doomed.write_all(connect).await.unwrap();
    assert_eq!(read(&mut doomed).await, [0x20, 2, 0, 0]);
    drop(doomed);
    while door.listener.counters().messages.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    door.close().await;
    assert_eq!(memory.rows("will"), 1);
}

#[tokio::test]
async fn a_real_client_of_version_5_is_served() {
    use rumqttc::v5::{AsyncClient, Event, Incoming, MqttOptions, mqttbytes::QoS};
    let memory = Memory::open();
    let door = open(&memory);
    let address = door.listener.local_addr();
    let options = MqttOptions::new("r5", address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::new(options, 100);
    for message in 0..20 {
        let payload = format!("{{\"v\":{message}}}");
        let qos = if message % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        client.publish("sensors/a/b", qos, true, payload).await.unwrap();
    }
    let mut done = 0;
    while done < 20 {
        if let Event::Incoming(Incoming::PubAck(_) | Incoming::PubComp(_)) =
            events.poll().await.unwrap()
        {
            done += 1;
        }
    }
    assert_eq!(memory.rows("sensors"), 20);
    door.close().await;
}

#[tokio::test]
async fn full_batches_hold_the_reader_back_and_lose_nothing() {
    let memory = Memory::open();
    let door = open_with(&memory, MqttListenerOptions { batch_rows_max: 7, ..Default::default() });
    let mut client = door.connect("a").await;
    let packets: Vec<u8> =
        (1..=100).flat_map(|id| publish(1, id, "sensors/s/d", b"{\"v\":1}")).collect();
    client.write_all(&packets).await.unwrap();
    for id in 1..=100 {
        assert_eq!(read(&mut client).await, [0x40, 2, 0, id]);
    }
    assert_eq!(memory.rows("sensors"), 100);
    door.close().await;
}

/// `count` publishes, each answered before the next one goes out.
async fn publish_in_turn(client: &mut TcpStream, topic: &str, count: u8) {
    for id in 1..=count {
        client.write_all(&publish(1, id.into(), topic, b"{\"v\":1}")).await.unwrap();
        assert_eq!(read(client).await, [0x40, 2, 0, id]);
    }
}

#[tokio::test]
async fn a_client_that_waits_for_tables_holds_up_nobody_else() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut bad = door.connect("bad").await;
    let packets = [
        publish(1, 1, "sensors/s/bad", b"{\"v\":1}"),
        publish(1, 2, "new/x", b"1"),
        publish(2, 3, "sensors/s/bad", b"{\"v\":3}"),
        vec![0xc0, 0],
    ];
    bad.write_all(&packets[0]).await.unwrap();
    assert_eq!(read(&mut bad).await, [0x40, 2, 0, 1]);
    bad.write_all(&packets[1..].concat()).await.unwrap();
    // It is alive, but gets no ack of what comes after the row that waits.
    assert_eq!(read(&mut bad).await, [0xd0, 0]);
    // Clients of every shard, that of the other client among them.
    for at in 0..8 {
        let mut good = door.connect(&format!("good{at}")).await;
        publish_in_turn(&mut good, "sensors/s/good", 20).await;
    }
    assert_eq!(memory.rows("new"), 0);
    assert_eq!(door.listener.counters().waiting.load(Ordering::Relaxed), 1);
    // What it sends meanwhile queues behind, so that its own rows keep their order.
    bad.write_all(&publish(1, 4, "sensors/s/late", b"{\"v\":4}")).await.unwrap();
    bad.write_all(&[0xc0, 0]).await.unwrap();
    assert_eq!(read(&mut bad).await, [0xd0, 0]);
    let mut good = door.connect("good").await;
    publish_in_turn(&mut good, "sensors/s/good", 5).await;
    *memory.room.lock() = 1;
    assert_eq!(read(&mut bad).await, [0x40, 2, 0, 2]);
    assert_eq!(read(&mut bad).await, [0x50, 2, 0, 3]);
    assert_eq!(read(&mut bad).await, [0x40, 2, 0, 4]);
    assert_eq!((memory.rows("new"), memory.rows("sensors")), (1, 3 + 8 * 20 + 5));
    assert_eq!(memory.rows("_dead_letters"), 0);
    assert_eq!(door.listener.counters().waiting.load(Ordering::Relaxed), 0);
    door.close().await;
}

#[tokio::test]
async fn a_client_with_much_that_waits_is_not_read_from_and_loses_nothing() {
    let memory = Memory::open();
    let options = MqttListenerOptions { batch_bytes_max: 64 << 10, ..Default::default() };
    let door = open_with(&memory, options);
    let mut bad = door.connect("bad").await;
    let text = format!("{{\"v\":\"{}\"}}", "x".repeat(40_000));
    bad.write_all(&publish(1, 1, "new/x", text.as_bytes())).await.unwrap();
    let (mut from_bad, mut to_bad) = bad.into_split();
    let sends = tokio::spawn(async move {
        for id in 2..=200 {
            to_bad.write_all(&publish(1, id, "sensors/s/d", text.as_bytes())).await.unwrap();
        }
        to_bad
    });
    let mut good = door.connect("good").await;
    publish_in_turn(&mut good, "sensors/s/good", 20).await;
    let taken = door.listener.counters().messages.load(Ordering::Relaxed);
    assert!(taken < 50, "8 MB were taken in for one client: {taken} messages");
    *memory.room.lock() = 1;
    for id in 1..=200u8 {
        let mut ack = [0; 4];
        from_bad.read_exact(&mut ack).await.unwrap();
        assert_eq!(ack, [0x40, 2, 0, id]);
    }
    drop(sends.await.unwrap());
    assert_eq!((memory.rows("new"), memory.rows("sensors")), (1, 199 + 20));
    door.close().await;
}

#[tokio::test]
async fn a_stop_does_not_wait_for_tables() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.connect("a").await;
    let mut packets = publish(1, 1, "new/x", b"1");
    packets.extend([0xc0, 0]);
    client.write_all(&packets).await.unwrap();
    assert_eq!(read(&mut client).await, [0xd0, 0]);
    door.close().await;
    assert!(closed(client).await.is_empty(), "what is not stored is not acked");
    assert_eq!(memory.rows("new"), 0);
}
