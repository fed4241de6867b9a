//! Who may connect, and publish what.

use super::*;
use oribi_access::{
    Access, Denied, Doorkeeper, Glob, Grant, May, Passport, Presented, Rights, Token,
};
use parking_lot::Mutex;
use std::{
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
};

/// Knows one token for each secret.
#[derive(Debug, Default)]
struct Keeper {
    tokens: Mutex<Vec<(String, Arc<Token>)>>,
    epoch: AtomicU64,
    denied: Mutex<Vec<String>>,
}

impl Keeper {
    fn add(&self, secret: &str, rights: Rights) {
        let mut tokens = self.tokens.lock();
        let token = Token {
            id: tokens.len() as u64 + 1,
            version: 1,
            name: secret.into(),
            digest: None,
            previous: None,
            rights,
            expires_ns: None,
            created_ns: 0,
            created_by: String::new(),
            note: String::new(),
        };
        tokens.push((secret.to_owned(), Arc::new(token)));
    }

    fn revoke(&self, secret: &str) {
        self.tokens.lock().retain(|(known, _)| known != secret);
        self.epoch.fetch_add(1, Ordering::Release);
    }
}

impl Doorkeeper for Keeper {
    fn admit(&self, shown: Presented<'_>) -> Result<Access, Denied> {
        let Presented::Secret(secret) = shown else { return Err(Denied::Missing) };
        let tokens = self.tokens.lock();
        let known = tokens.iter().find(|(known, _)| known.as_bytes() == secret);
        let (_, token) = known.ok_or(Denied::Unknown)?;
        let (token, usage) = (token.clone(), Arc::default());
        Ok(Access::Of(Arc::new(Passport { token, shown: None, certificate: None, usage })))
    }

    fn refresh(&self) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(std::future::ready(true))
    }

    fn still(&self, access: &Access) -> bool {
        let tokens = self.tokens.lock();
        access.token().is_some_and(|token| tokens.iter().any(|(_, known)| known == token))
    }

    fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    fn turned_away(&self, _via: &'static str, _from: Option<std::net::IpAddr>, _denied: Denied) {}

    fn kept_out(&self, _access: &Access, _client_id: &str) {}

    fn refused(&self, _access: &Access, what: &str, _client_id: &str) {
        self.denied.lock().push(what.to_owned());
    }
}

fn writes(table: &str, topics: &[&str]) -> Rights {
    let glob = |text| Glob::new(text).unwrap();
    let grant = Grant { may: May::Write, db: glob("default"), table: glob(table) };
    let topics = topics.iter().map(|one| (*one).to_owned()).collect();
    Rights { grants: vec![grant], topics, ..Rights::default() }
}

fn open_for(memory: &Arc<Memory>, keeper: &Arc<Keeper>) -> Door {
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let doors = Doors { plain, tls: None, keeper: keeper.clone() };
    let (shutdown, options) = (CancellationToken::new(), MqttListenerOptions::default());
    let (ingest, read) = (memory.clone(), memory.clone());
    let listener = MqttListener::start(doors, options, ingest, read, arrival(), shutdown.clone());
    Door { listener: listener.unwrap(), shutdown }
}

/// A CONNECT with a password, or with none.
fn hello(is_v5: bool, client: &str, password: Option<&str>) -> Vec<u8> {
    const PASSWORD_AND_USER: u8 = 0xc0;
    const CLEAN: u8 = 2;
    let flags = CLEAN | if password.is_some() { PASSWORD_AND_USER } else { 0 };
    let mut content = [b"\0\x04MQTT", &[if is_v5 { 5 } else { 4 }, flags, 0, 0][..]].concat();
    if is_v5 {
        content.push(0);
    }
    content.extend(text(client.as_bytes()));
    if let Some(password) = password {
        content.extend(text(b"anybody"));
        content.extend(text(password.as_bytes()));
    }
    packet(0x10, content)
}

async fn greeted(door: &Door, is_v5: bool, client: &str, password: &str) -> TcpStream {
    let mut stream = door.send(&hello(is_v5, client, Some(password))).await;
    let answer = read(&mut stream).await;
    assert_eq!((answer[0], answer[3]), (0x20, 0), "{answer:?}");
    stream
}

#[tokio::test]
async fn nobody_comes_in_without_a_token_that_may_write() {
    let (memory, keeper) = (Memory::open(), Arc::new(Keeper::default()));
    keeper.add("good", writes("sensors", &[]));
    keeper.add("named", Rights { clients: vec![Glob::new("%u-*").unwrap()], ..writes("x", &[]) });
    keeper.add("idle", Rights { ops: true, ..Rights::default() });
    let door = open_for(&memory, &keeper);
    for (client, password, v3, v5) in [
        ("c", Some("good"), 0, 0),
        ("c", Some("wrong"), 4, 0x86),
        ("c", None, 4, 0x86),
        ("c", Some("idle"), 5, 0x87),
        ("c", Some("named"), 5, 0x87),
        ("named-7", Some("named"), 0, 0),
    ] {
        for (is_v5, code) in [(false, v3), (true, v5)] {
            let mut stream = door.send(&hello(is_v5, client, password)).await;
            assert_eq!(read(&mut stream).await[3], code, "{client} {password:?} {is_v5}");
        }
    }
    door.close().await;
}

#[tokio::test]
async fn a_denied_publish_is_acked_and_stored_nowhere() {
    let (memory, keeper) = (Memory::open(), Arc::new(Keeper::default()));
    keeper.add("dev7", writes("sensors", &["sensors/+/%u"]));
    let door = open_for(&memory, &keeper);
    for is_v5 in [false, true] {
        let mut stream = greeted(&door, is_v5, "c", "dev7").await;
        let properties: &[u8] = if is_v5 { &[0] } else { &[] };
        let send = |qos, id, topic| publish_with(qos, id, topic, properties, b"{\"t\":1}");
        let packets = [
            send(0, 0, "sensors/s/dev8"),
            send(1, 1, "sensors/s/dev8"),
            send(2, 2, "sensors/s/dev8"),
            send(1, 3, "sensors/s/dev7"),
        ];
        stream.write_all(&packets.concat()).await.unwrap();
        let reason = |head, id| match is_v5 {
            true => vec![head, 3, 0, id, 0x87],
            false => vec![head, 2, 0, id],
        };
        assert_eq!(read(&mut stream).await, reason(0x40, 1));
        assert_eq!(read(&mut stream).await, reason(0x50, 2));
        assert_eq!(read(&mut stream).await, [0x40, 2, 0, 3]);
    }
    let rows = memory.written.lock().iter().map(|points| points.rows()).sum::<usize>();
    assert_eq!(rows, 2);
    assert_eq!(keeper.denied.lock().len(), 6);
    door.close().await;
}

#[tokio::test]
async fn what_a_payload_names_is_denied_too() {
    let (memory, keeper) = (Memory::open(), Arc::new(Keeper::default()));
    keeper.add("dev7", writes("sensors", &[]));
    let door = open_for(&memory, &keeper);
    let mut stream = greeted(&door, false, "c", "dev7").await;
    let packets = [
        publish(1, 1, "sensors/s/d", b"{\"t\":1}"),
        publish(1, 2, "sensors/s/d", b"secret,a=b v=1 1\n"),
        publish(1, 3, "sensors/s/d", b"sensors,a=b v=1 1\nsecret v=1 1\n"),
        publish(1, 4, "sensors/s/d", b"{\"t\":2}"),
    ];
    stream.write_all(&packets.concat()).await.unwrap();
    for id in 1..=4 {
        assert_eq!(read(&mut stream).await, [0x40, 2, 0, id]);
    }
    let rows = |points: &oribi_model::Points| (points.table.to_string(), points.rows());
    let written: Vec<(String, usize)> = memory.written.lock().iter().map(rows).collect();
    assert!(written.iter().all(|(table, _)| table == "sensors"), "{written:?}");
    assert_eq!(written.iter().map(|(_, rows)| rows).sum::<usize>(), 2);
    assert_eq!(keeper.denied.lock().as_slice(), ["default/secret", "default/secret"]);
    door.close().await;
}

#[tokio::test]
async fn a_token_taken_back_ends_its_connections_and_its_will() {
    let (memory, keeper) = (Memory::open(), Arc::new(Keeper::default()));
    keeper.add("first", writes("sensors", &[]));
    keeper.add("second", writes("sensors", &[]));
    let door = open_for(&memory, &keeper);
    let with_will = |flags| {
        let content = [
            b"\0\x04MQTT\x05",
            &[flags, 0, 0, 0][..],
            &text(b"same"),
            &[0],
            &text(b"sensors/s/will"),
            &text(b"{\"t\":1}"),
            &text(b"anybody"),
            &text(b"first"),
        ];
        packet(0x10, content.concat())
    };
    let mut first = door.send(&with_will(0xc6)).await;
    assert_eq!(read(&mut first).await[3], 0);
    // The same client id with another token is another session, and takes nothing over.
    let mut second = greeted(&door, true, "same", "second").await;
    keeper.revoke("first");
    assert_eq!(closed(first).await, [0xe0, 1, 0x87]);
    second.write_all(&publish_with(1, 9, "sensors/s/d", &[0], b"{\"t\":2}")).await.unwrap();
    assert_eq!(read(&mut second).await, [0x40, 2, 0, 9]);
    let rows = memory.written.lock().iter().map(|points| points.rows()).sum::<usize>();
    assert_eq!(rows, 1);
    door.close().await;
}

#[tokio::test]
async fn aliases_oversize_and_qos_2_are_judged_alike() {
    let (memory, keeper) = (Memory::open(), Arc::new(Keeper::default()));
    keeper.add("dev7", writes("sensors", &["sensors/+/%u"]));
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let doors = Doors { plain, tls: None, keeper: keeper.clone() };
    let (shutdown, ingest, reads) = (CancellationToken::new(), memory.clone(), memory.clone());
    let options = MqttListenerOptions { packet_bytes_max: 1_024, ..Default::default() };
    let listener = MqttListener::start(doors, options, ingest, reads, arrival(), shutdown.clone());
    let door = Door { listener: listener.unwrap(), shutdown };
    let mut stream = greeted(&door, true, "c", "dev7").await;
    // Alias 1 stands for the topic that is allowed, alias 2 for one that is not.
    let alias = |at: u8| [3, 35, 0, at];
    let send = |id, topic: &str, at| publish_with(1, id, topic, &alias(at), b"{\"t\":1}");
    let packets = [
        send(1, "sensors/s/dev7", 1),
        send(2, "", 1),
        send(3, "sensors/s/dev8", 2),
        send(4, "", 2),
        publish_with(1, 5, "sensors/s/dev8", &[0], &[b'x'; 2_000]),
        publish_with(2, 6, "sensors/s/dev8", &[0], b"{\"t\":1}"),
        // The id of a message that was refused is free again.
        publish_with(2, 6, "sensors/s/dev7", &[0], b"{\"t\":1}"),
    ];
    stream.write_all(&packets.concat()).await.unwrap();
    for expected in [
        &[0x40, 2, 0, 1][..],
        &[0x40, 2, 0, 2],
        &[0x40, 3, 0, 3, 0x87],
        &[0x40, 3, 0, 4, 0x87],
        &[0x40, 3, 0, 5, 0x87],
        &[0x50, 3, 0, 6, 0x87],
        &[0x50, 2, 0, 6],
    ] {
        assert_eq!(read(&mut stream).await, expected);
    }
    let written: Vec<String> =
        memory.written.lock().iter().map(|points| points.table.to_string()).collect();
    assert!(written.iter().all(|table| table == "sensors"), "{written:?}");
    door.close().await;
}
