//! Clients that go away, or close their side, before they are answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};
use support::{Oribi, PATIENCE};
use tempfile::tempdir;

/// Takes for ever.
const ENDLESS: &str =
    "/api/v1/sql?q=SELECT%20max(value%20%25%207)%20FROM%20generate_series(1,100000000000)";
/// Begins at once, and is longer than what waits on the way.
const LONG: &str =
    "/api/v1/sql?q=SELECT%20repeat('x',60)%20AS%20r%20FROM%20generate_series(1,400000)";

fn http1(oribi: &Oribi, path: &str) -> TcpStream {
    let mut socket = TcpStream::connect(&oribi.http).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", oribi.http).unwrap();
    socket
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head[..], payload].concat()
}

fn http2(oribi: &Oribi, path: &str) -> TcpStream {
    const SETTINGS: u8 = 4;
    const HEADERS: u8 = 1;
    const END_OF_STREAM_AND_HEADERS: u8 = 5;
    // Indexed GET and http, then :authority and :path with literal values.
    let mut fields = vec![0x82, 0x86];
    for (name, value) in [(0x01, oribi.http.as_str()), (0x04, path)] {
        fields.extend([name, value.len() as u8]);
        fields.extend(value.as_bytes());
    }
    let mut socket = TcpStream::connect(&oribi.http).unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let request = frame(HEADERS, END_OF_STREAM_AND_HEADERS, 1, &fields);
    socket.write_all(&[preface, &frame(SETTINGS, 0, 0, &[])[..], &request].concat()).unwrap();
    socket
}

/// A client whose question is being answered. One that came while another question had the only
/// place was turned away, and comes again.
fn asking(oribi: &Oribi, path: &str, ask: fn(&Oribi, &str) -> TcpStream) -> TcpStream {
    const LOOKS: usize = 100;
    loop {
        let socket = ask(oribi, path);
        if (0..LOOKS).any(|_| status(oribi) == 429) {
            return socket;
        }
    }
}

fn status(oribi: &Oribi) -> u16 {
    oribi.get("/api/v1/sql?q=SELECT%201").status
}

/// Asks until the answer has this status.
fn wait_for(oribi: &Oribi, wanted: u16, what: &str) {
    let started = Instant::now();
    while status(oribi) != wanted {
        assert!(started.elapsed() < PATIENCE, "{what}: never {wanted}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_question_ends_with_its_client() {
    let dir = tempdir().unwrap();
    let set = ["query.running_max=1", "query.waiting_max=0", "query.time_ms_max=3600000"];
    let set: Vec<&str> = set.iter().flat_map(|key| ["--set", key]).collect();
    let oribi = Oribi::start(dir.path(), &set);
    type Leave = fn(TcpStream) -> Option<TcpStream>;
    let closes: Leave = |socket| {
        drop(socket);
        None
    };
    let resets: Leave = |socket| {
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
        drop(socket);
        None
    };
    let closes_its_side: Leave = |socket| {
        socket.shutdown(Shutdown::Write).unwrap();
        Some(socket)
    };
    let resets_the_stream: Leave = |mut socket| {
        const RST_STREAM: u8 = 3;
        const CANCEL: [u8; 4] = [0, 0, 0, 8];
        socket.write_all(&frame(RST_STREAM, 0, 1, &CANCEL)).unwrap();
        Some(socket)
    };
    type Ask = fn(&Oribi, &str) -> TcpStream;
    let clients: [(&str, Ask, Leave); 6] = [
        ("HTTP/1.1, closed", http1, closes),
        ("HTTP/1.1, reset", http1, resets),
        ("HTTP/1.1, one side closed", http1, closes_its_side),
        ("HTTP/2, closed", http2, closes),
        ("HTTP/2, reset", http2, resets),
        ("HTTP/2, stream reset", http2, resets_the_stream),
    ];
    for (what, ask, leave) in clients {
        // Before the first byte of the answer, and in the middle of it.
        for path in [ENDLESS, LONG] {
            let left = leave(asking(&oribi, path, ask));
            wait_for(&oribi, 200, what);
            drop(left);
        }
    }
}

#[test]
fn a_client_that_stops_reading_loses_its_place() {
    let dir = tempdir().unwrap();
    let set = ["query.running_max=1", "query.waiting_max=0", "query.unread_ms_max=200"];
    let set: Vec<&str> = set.iter().flat_map(|key| ["--set", key]).collect();
    let oribi = Oribi::start(dir.path(), &set);
    for (what, ask) in [("HTTP/1.1", http1 as fn(&Oribi, &str) -> TcpStream), ("HTTP/2", http2)] {
        let stalled = asking(&oribi, LONG, ask);
        wait_for(&oribi, 200, what);
        drop(stalled);
    }
}

#[test]
fn an_answer_that_breaks_off_has_no_end() {
    let dir = tempdir().unwrap();
    let whole = Oribi::start(&dir.path().join("whole"), &[]);
    let cut = ["--set", "query.answer_bytes_max=1000000"];
    let cut = Oribi::start(&dir.path().join("cut"), &cut);
    for format in ["json", "ndjson", "csv", "arrow"] {
        let has_end = |oribi: &Oribi| {
            let mut socket = TcpStream::connect(&oribi.http).unwrap();
            let head = format!("GET {LONG}&format={format} HTTP/1.1\r\nHost: {}", oribi.http);
            write!(socket, "{head}\r\nConnection: close\r\n\r\n").unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut answer = Vec::new();
            // Whether the connection was closed or reset says nothing.
            let _ = socket.read_to_end(&mut answer);
            assert!(answer.starts_with(b"HTTP/1.1 200"), "{format}");
            answer.ends_with(b"\r\n0\r\n\r\n")
        };
        assert_eq!((has_end(&whole), has_end(&cut)), (true, false), "{format}");
    }
}

#[test]
fn a_write_is_answered_though_its_client_closed_its_side() {
    let dir = tempdir().unwrap();
    let oribi = Oribi::start(dir.path(), &[]);
    let bodies = ["m v=1 1".to_owned(), format!("{}m v=3 3", "m v=2 2\n".repeat(50_000))];
    for body in bodies {
        let mut socket = TcpStream::connect(&oribi.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: {}", body.len());
        write!(socket, "{head}\r\n\r\n{body}").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    }
    assert_eq!(oribi.rows("table=m&select=sum(v)"), serde_json::json!([[null, 6.0]]));
}
