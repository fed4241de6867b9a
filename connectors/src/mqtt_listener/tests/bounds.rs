//! What clients may cost the listener, and each other.

use super::*;
use oribi_model::Points;

fn small() -> MqttListenerOptions {
    MqttListenerOptions { memory_bytes_max: 1 << 20, ..Default::default() }
}

#[test]
fn an_idle_connection_is_small() {
    fn size<F: Future>(_: fn(Arc<Common>, Caller) -> F) -> usize {
        size_of::<F>()
    }
    let bytes = size(connection::serve);
    assert!(bytes <= 3_000, "{bytes} bytes");
    let mut buffer = Vec::with_capacity(1 << 20);
    buffer.extend([0; 600]);
    input::shrink(&mut buffer);
    assert!(buffer.capacity() < 8_192);
    buffer.clear();
    buffer.reserve(100_000);
    input::shrink(&mut buffer);
    assert_eq!(buffer.capacity(), 0);
}

#[tokio::test]
async fn the_oldest_connection_without_connect_makes_room() {
    let memory = Memory::open();
    let options = MqttListenerOptions { connections_max: 5, ..Default::default() };
    let door = open_with(&memory, options);
    let mut known = door.connect("known").await;
    let mut mute = Vec::new();
    for _ in 0..4 {
        mute.push(door.send(&[0x10]).await);
    }
    let mut device = door.connect("device").await;
    publish_in_turn(&mut device, "sensors/s/d", 3).await;
    assert!(closed(mute.remove(0)).await.is_empty());
    let next = mute[0].try_read(&mut [0]).map_err(|wrong| wrong.kind());
    assert_eq!(next, Err(std::io::ErrorKind::WouldBlock), "one is enough");
    known.write_all(&[0xc0, 0]).await.unwrap();
    assert_eq!(read(&mut known).await, [0xd0, 0], "who has said CONNECT stays");
    door.close().await;
}

#[tokio::test]
async fn unfinished_connects_are_bounded_together() {
    let memory = Memory::open();
    let door = open_with(&memory, small());
    // A CONNECT of 60 KB of which the last byte never comes.
    let connect = connect_v5(2, &[vec![0], text(&[b'x'; 60_000])]);
    let mut sockets = Vec::new();
    for _ in 0..100 {
        sockets.push(door.send(&connect[..connect.len() - 1]).await);
    }
    for socket in sockets.drain(..50) {
        assert!(closed(socket).await.is_empty());
    }
    let mut good = door.connect("good").await;
    publish_in_turn(&mut good, "sensors/s/good", 5).await;
    // One that is larger than any CONNECT has to be is not waited for.
    let endless = door.send(&[0x10, 0xff, 0xff, 0x3f, 0]).await;
    assert!(closed(endless).await.is_empty());
    door.close().await;
}

#[tokio::test]
async fn long_client_ids_are_refused() {
    let memory = Memory::open();
    let door = open(&memory);
    let socket = door.send(&connect_v5(2, &[vec![0], text(&[b'x'; 50_000])])).await;
    assert_eq!(closed(socket).await, [0x20, 3, 0, 0x85, 0]);
    door.close().await;
}

#[tokio::test]
async fn long_topics_are_kept_with_their_heads_alone() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.connect("long").await;
    let topic = format!("sensors/{}/d", "x".repeat(60_000));
    client.write_all(&publish(1, 1, &topic, b"1")).await.unwrap();
    assert_eq!(read(&mut client).await, [0x40, 2, 0, 1]);
    assert_eq!((memory.rows("sensors"), memory.rows("_dead_letters")), (0, 1));
    let bytes: usize = memory.written.lock().iter().map(Points::bytes_held).sum();
    assert!(bytes < 20_000, "{bytes}");
    door.close().await;
}

#[tokio::test]
async fn aliases_go_with_the_connection_that_used_them_least_lately() {
    let memory = Memory::open();
    let door = open_with(&memory, small());
    let connect = |id: &str| connect_v5(2, &[vec![0], text(id.as_bytes())]);
    let mut clients = Vec::new();
    for at in 0..10 {
        let mut client = door.send(&connect(&format!("alias{at}"))).await;
        assert_eq!(read(&mut client).await[0], 0x20);
        for alias in 1..=100 {
            let topic = format!("t{alias}/{}", "x".repeat(2_000));
            let packet = publish_with(1, alias, &topic, &[3, 35, 0, alias as u8], b"1");
            client.write_all(&packet).await.unwrap();
            assert_eq!(read(&mut client).await, [0x40, 2, 0, alias as u8]);
        }
        clients.push(client);
    }
    assert_eq!(closed(clients.remove(0)).await, [0xe0, 1, 0x97], "a quota");
    let mut last = clients.pop().unwrap();
    last.write_all(&publish_with(1, 9, "", &[3, 35, 0, 4], b"1")).await.unwrap();
    assert_eq!(read(&mut last).await, [0x40, 2, 0, 9]);
    door.close().await;
}

#[tokio::test]
async fn aliases_of_one_connection_are_bounded() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.send(&connect_v5(2, &[vec![0], text(b"alias")])).await;
    assert_eq!(read(&mut client).await[0], 0x20);
    let topic = |alias: u8| format!("t{alias}/{}", "x".repeat(4_000));
    let mut taken = 0;
    let refused = loop {
        taken += 1;
        let packet = publish_with(1, 7, &topic(taken), &[3, 35, 0, taken], b"1");
        client.write_all(&packet).await.unwrap();
        let answer = read(&mut client).await;
        if answer[0] != 0x40 {
            break answer;
        }
    };
    assert_eq!((refused, taken), (vec![0xe0, 1, 0x97], 66));
    door.close().await;
}

#[tokio::test]
async fn long_wills_are_refused() {
    let memory = Memory::open();
    let door = open(&memory);
    let will = |bytes: usize| {
        let will = [vec![0], text(b"w/a"), text(&vec![b'x'; bytes])].concat();
        connect_v5(2 | 4, &[vec![0], text(b"w"), will])
    };
    let mut client = door.send(&will(16 * 1024)).await;
    assert_eq!(read(&mut client).await[3], 0, "it is taken");
    let refused = door.send(&will(16 * 1024 + 1)).await;
    assert_eq!(closed(refused).await, [0x20, 3, 0, 0x95, 0]);
    door.close().await;
}

#[tokio::test]
async fn a_repeated_qos_2_message_is_answered_once_and_stored_once() {
    let memory = Memory::gated(0);
    let door = open(&memory);
    let mut client = door.connect("two").await;
    let mut packets = Vec::new();
    for id in 1..=2_000 {
        packets.extend(publish(2, id, "sensors/s/d", b"1"));
    }
    for _ in 0..2_000 {
        packets.extend(publish(2, 2_000, "sensors/s/d", b"1"));
    }
    packets.extend([0xc0, 0]);
    let sent = tokio::spawn(async move {
        client.write_all(&packets).await.unwrap();
        assert_eq!(read(&mut client).await, [0xd0, 0]);
        client
    });
    let mut client = sent.await.unwrap();
    memory.gate.add_permits(1 << 20);
    for id in 1..=2_000u16 {
        let bytes = id.to_be_bytes();
        assert_eq!(read(&mut client).await, [0x50, 2, bytes[0], bytes[1]]);
    }
    client.write_all(&[0xc0, 0]).await.unwrap();
    assert_eq!(read(&mut client).await, [0xd0, 0]);
    assert_eq!(memory.rows("sensors"), 2_000);
    door.close().await;
}

#[tokio::test]
async fn a_publish_with_endless_properties_is_acked_and_kept() {
    let memory = Memory::open();
    let door = open(&memory);
    let mut client = door.send(&connect_v5(2, &[vec![0], text(b"long")])).await;
    assert_eq!(read(&mut client).await[0], 0x20);
    let property = [&[38][..], &text(b"k"), &text(&[b'v'; 60_000])].concat();
    let properties = property.repeat(6);
    let length = properties.len();
    let mut head = vec![(length & 127) as u8 | 128, (length >> 7 & 127) as u8 | 128];
    head.push((length >> 14) as u8);
    let packet = publish_with(1, 7, "sensors/s/d", &[head, properties].concat(), b"1");
    client.write_all(&packet).await.unwrap();
    assert_eq!(read(&mut client).await, [0x40, 2, 0, 7]);
    assert_eq!(memory.rows("_dead_letters"), 1);
    door.close().await;
}

/// A client that is not read from cannot be heard: its keep-alive does not run meanwhile.
#[tokio::test]
async fn a_client_that_waits_for_room_is_not_taken_for_silent() {
    let memory = Memory::gated(0);
    let door = open_with(&memory, MqttListenerOptions { batch_rows_max: 1, ..Default::default() });
    let connect = |id: u8| [b"\x10\x0d\0\x04MQTT\x04\x02\0\x01\0\x01", &[id][..]].concat();
    let mut packets = connect(b'a');
    packets.extend((1..=3).flat_map(|id| publish(1, id, "sensors/s/d", b"1")));
    let mut client = door.send(&packets).await;
    assert_eq!(read(&mut client).await, [0x20, 2, 0, 0]);
    // One message is being written, one fills the batch, one has no room.
    while door.listener.counters().messages.load(Ordering::Relaxed) < 2 {
        tokio::task::yield_now().await;
    }
    // By the time that one with the same keep-alive, who came later, is found silent.
    let silent = door.send(&connect(b'b')).await;
    assert_eq!(closed(silent).await, [0x20, 2, 0, 0]);
    memory.gate.add_permits(10);
    for id in 1..=3 {
        assert_eq!(read(&mut client).await, [0x40, 2, 0, id]);
    }
    door.close().await;
}
