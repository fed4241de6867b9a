//! Wills and take-over on the wire.

use super::*;
use oribi_model::Points;

/// A client of MQTT 5 with the will `gone` to `will/<id>`, which waits for so many seconds.
async fn mortal(door: &Door, id: &str, delay_s: u32, is_clean: bool) -> TcpStream {
    let expiry = [&[5, 17][..], &1_000u32.to_be_bytes()].concat();
    let delay = [&[5, 24][..], &delay_s.to_be_bytes()].concat();
    let topic = text(format!("will/{id}").as_bytes());
    let rest = [expiry, text(id.as_bytes()), delay, topic, text(b"gone")];
    let mut stream = door.send(&connect_v5(4 | u8::from(is_clean) << 1, &rest)).await;
    assert_eq!(read(&mut stream).await[0], 0x20);
    stream
}

/// The texts of table `will`, in the order in which they were stored.
fn texts(memory: &Memory) -> Vec<String> {
    let written = memory.written.lock();
    let of_wills = |points: &&Points| points.table.as_str() == "will";
    let cells = written.iter().filter(of_wills).flat_map(|points| {
        let cell = |row: usize| points.fields.iter().find_map(|field| field.values.get(row));
        (0..points.rows()).filter_map(cell).collect::<Vec<_>>()
    });
    cells
        .map(|cell| if let Value::Text(text) = cell { text } else { format!("{cell:?}") })
        .collect()
}

/// All that was published before by others is stored once this is.
async fn settle(door: &Door, ids: &[String]) {
    for id in ids {
        let mut client = door.connect(id).await;
        publish_in_turn(&mut client, "settle/x", 1).await;
    }
}

#[tokio::test]
async fn every_reason_but_a_normal_one_leaves_the_will() {
    const REASONS: [u8; 10] = [0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x97, 0x98];
    let memory = Memory::open();
    let door = open(&memory);
    let mut ids = Vec::new();
    for reason in REASONS {
        let id = format!("m{reason}");
        let mut client = mortal(&door, &id, 0, true).await;
        client.write_all(&[0xe0, 1, reason]).await.unwrap();
        closed(client).await;
        ids.push(id);
    }
    let mut client = mortal(&door, "short", 0, true).await;
    client.write_all(&[0xe0, 0]).await.unwrap();
    closed(client).await;
    // Malformed: it was no DISCONNECT.
    let mut client = mortal(&door, "broken", 0, true).await;
    client.write_all(&[0xe1, 0]).await.unwrap();
    closed(client).await;
    ids.push("broken".into());
    settle(&door, &ids).await;
    door.close().await;
    assert_eq!(memory.rows("will"), REASONS.len() - 1 + 1);
}

#[tokio::test]
async fn a_will_that_waits_is_not_published_for_a_client_that_was_back_and_left_cleanly() {
    let memory = Memory::open();
    let door = open(&memory);
    drop(mortal(&door, "a", 1, true).await);
    let mut back = mortal(&door, "a", 1, false).await;
    back.write_all(&[0xe0, 0]).await.unwrap();
    closed(back).await;
    // One that waits as long and comes later is published.
    drop(mortal(&door, "b", 1, true).await);
    while memory.rows("will") == 0 {
        tokio::task::yield_now().await;
    }
    let topics: Vec<String> = {
        let written = memory.written.lock();
        let of_wills = written.iter().filter(|points| points.table.as_str() == "will");
        of_wills
            .flat_map(|points| points.tags_of(0).map(|(_, v)| v.to_owned()).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(topics, ["will/b"]);
    door.close().await;
}

#[tokio::test]
async fn what_a_client_says_first_comes_after_the_will_of_its_old_connection() {
    let memory = Memory::open();
    let door = open(&memory);
    for at in 0..50 {
        let id = format!("c{at}");
        let old = mortal(&door, &id, 0, true).await;
        let topic = format!("will/{id}");
        let connect = connect_v5(2, &[vec![0], text(id.as_bytes())]);
        let online = publish_with(1, 1, &topic, &[0], b"online");
        let mut new = door.send(&[connect, online].concat()).await;
        assert_eq!(read(&mut new).await[0], 0x20);
        assert_eq!(read(&mut new).await, [0x40, 2, 0, 1]);
        assert!(closed(old).await.ends_with(&[0xe0, 1, 0x8e]), "it was taken over");
    }
    let expected: Vec<&str> = (0..50).flat_map(|_| ["gone", "online"]).collect();
    assert_eq!(texts(&memory), expected);
    door.close().await;
}
