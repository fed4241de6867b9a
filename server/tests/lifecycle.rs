//! Start and stop of the real binary.
#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::{io::Write, net::TcpListener, os::unix::fs::PermissionsExt};
use support::{FREE_PORTS, Oribi, run, stderr, stdout};
use tempfile::tempdir;

#[test]
fn a_fresh_node_serves_and_says_where() {
    let dir = tempdir().unwrap();
    let data_dir = dir.path().join("made/on/the/way");
    let oribi = Oribi::start(&data_dir, &[]);
    let health = oribi.get("/health");
    assert_eq!(health.status, 200);
    let health = health.json();
    assert_eq!((&health["name"], &health["status"]), (&json!("oribi"), &json!("pass")));
    assert!(health["checks"].is_array() && health["version"].is_string());
    let node = oribi.get("/api/v1/node").json();
    assert_eq!((&node["http"], &node["mqtt"]), (&json!(oribi.http), &json!(oribi.mqtt)));
    assert!(node["node"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(node["uptime_s"].as_f64().unwrap() > 0.0);
    assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
    // Passwords of connectors and everyone's rows lie there.
    for folder in ["", "catalog", "log", "tablets"] {
        let mode = data_dir.join(folder).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{folder}");
    }
}

#[test]
fn sigterm_ends_with_status_0_and_the_rows_are_back_after_it() {
    let dir = tempdir().unwrap();
    let mut oribi = Oribi::start(dir.path(), &[]);
    assert_eq!(oribi.post("/write", "m,host=a v=1i 1000\nm,host=b v=2i 2000").status, 204);
    assert_eq!(oribi.end(Signal::TERM).code(), Some(0), "{:#?}", oribi.log);
    let mut oribi = Oribi::start(dir.path(), &[]);
    assert_eq!(oribi.rows("table=m&select=count(*),sum(v)"), json!([[null, 2, 3]]));
    assert_eq!(oribi.end(Signal::INT).code(), Some(0));
}

#[test]
fn clients_that_stay_do_not_hold_up_the_stop() {
    use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
    let dir = tempdir().unwrap();
    let mut oribi = Oribi::start(dir.path(), &[]);
    let (host, port) = oribi.mqtt.split_once(':').unwrap();
    let options = MqttOptions::new("stays", host, port.parse().unwrap());
    let (client, mut events) = Client::new(options, 10);
    client.publish("sensors/a/b", QoS::AtLeastOnce, false, "{\"v\":1}").unwrap();
    assert!(events.iter().any(|event| matches!(event, Ok(Event::Incoming(Incoming::PubAck(_))))));
    let mut half = std::net::TcpStream::connect(&oribi.http).unwrap();
    half.write_all(b"GET /health HTTP/1.1\r\n").unwrap();
    assert_eq!(oribi.end(Signal::TERM).code(), Some(0), "{:#?}", oribi.log);
}

#[test]
fn a_hangup_changes_what_is_logged_and_ends_nothing() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("oribi.toml");
    let configure = |text: &str| std::fs::write(&file, text).unwrap();
    configure("log = \"info\"\n[http]\naccess_log = true\n");
    let data_dir = dir.path().join("data");
    let mut oribi = Oribi::start(&data_dir, &["--config", file.to_str().unwrap()]);
    assert_eq!(oribi.get("/health?first").status, 200);
    oribi.wait_for("path=\"/health\"");

    configure("log = \"warn\"\n[http]\naccess_log = true\n");
    oribi.signal(Signal::HUP);
    oribi.wait_for("configuration read again");
    // Refused ones change nothing, and each is told of after the one before was done with.
    for broken in ["log = \"lots=of,it\"", "logs = 1", "log ="] {
        configure(broken);
        oribi.signal(Signal::HUP);
        oribi.wait_for("configuration stays");
    }
    let before = oribi.log.len();
    assert_eq!(oribi.get("/health?second").status, 200);
    oribi.signal(Signal::HUP);
    oribi.wait_for("configuration stays");
    assert!(!oribi.log[before..].iter().any(|line| line.contains("/health")), "{:?}", oribi.log);

    configure("log = \"info\"\n[http]\naccess_log = true\n");
    oribi.signal(Signal::HUP);
    while oribi.get("/health?third").status == 200 {
        if oribi.has_logged("path=\"/health\"") {
            break;
        }
    }
    assert_eq!(oribi.end(Signal::TERM).code(), Some(0));
}

#[test]
fn a_stop_during_the_start_is_a_stop() {
    let dir = tempdir().unwrap();
    let mut oribi = Oribi::spawn(dir.path(), &[]);
    assert_eq!(oribi.end(Signal::TERM).code(), Some(0), "{:#?}", oribi.log);
}

#[test]
fn sigkill_loses_nothing_that_was_acked() {
    let dir = tempdir().unwrap();
    for round in 0..3 {
        let mut oribi = Oribi::start(dir.path(), &[]);
        for row in 0..5 {
            let time = round * 5 + row;
            let line = format!("m,host=h{row} v={time}i {time}000000000");
            assert_eq!(oribi.post("/api/v2/write?bucket=plant", &line).status, 204);
        }
        if round == 1 {
            assert_eq!(oribi.post("/api/v1/compact", "").status, 200);
        }
        assert_eq!(oribi.end(Signal::KILL).code(), None);
    }
    let oribi = Oribi::start(dir.path(), &[]);
    let rows = oribi.rows("db=plant&table=m&select=count(*),max(v)&group_by=host");
    let expected: Vec<_> =
        (0..5).map(|row| json!([null, format!("h{row}"), 3, 10 + row])).collect();
    assert_eq!(rows, json!(expected));
}

#[test]
fn a_taken_port_is_named_with_its_flag_before_anything_is_touched() {
    let dir = tempdir().unwrap();
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let data = dir.path().join("data");
    let mut args = vec!["serve", "--data-dir", data.to_str().unwrap()];
    args.extend(FREE_PORTS);
    let taken_text = taken.to_string();
    args[6] = &taken_text;
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    let expected = format!("port {} of --mqtt-listen is taken", taken.port());
    assert!(text.contains(&expected), "{text}");
    assert!(!data.exists());
}

#[test]
fn two_processes_never_share_a_data_directory() {
    let dir = tempdir().unwrap();
    let oribi = Oribi::start(dir.path(), &[]);
    let mut args = vec!["serve", "--data-dir", dir.path().to_str().unwrap()];
    args.extend(FREE_PORTS);
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(text.contains("in use by another process"), "{text}");
    assert_eq!(oribi.get("/health").status, 200);
}

#[test]
fn configuration_comes_from_file_environment_and_flags() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("oribi.toml");
    std::fs::write(&file, "[query]\nwindows_max = 10\n[http]\nbody_bytes_max = 2048\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    let mut oribi = Oribi::start(
        &dir.path().join("data"),
        &["--config", file.to_str().unwrap(), "--set", "query.windows_max=2"],
    );
    assert!(oribi.log.iter().any(|line| line.contains("chmod o-w")), "{:#?}", oribi.log);
    assert_eq!(oribi.post("/write", "m v=1 0\nm v=2 10000000000").status, 204);
    let answer = oribi.get("/api/v1/query?table=m&select=max(v)&window=1s&fill=null");
    assert!(answer.problem(400)["detail"].as_str().unwrap().contains("windows_max"));
    assert_eq!(oribi.post("/write", &"#".repeat(2049)).status, 413);
    assert_eq!(oribi.end(Signal::TERM).code(), Some(0));
}

#[test]
fn what_cannot_be_configured_is_refused_with_status_2() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("oribi.toml");
    std::fs::File::create(&file).unwrap().write_all(b"\n[storage]\nlog_byte_max = 1\n").unwrap();
    let cases: [(&[&str], &[&str]); 4] = [
        (&["--config", file.to_str().unwrap()], &["line 3", "storage.log_bytes_max"]),
        (&["--set", "http.ratio=5"], &["http.ratio_max"]),
        (&["--join", "10.0.0.1"], &["cluster.join", "HOST:PORT"]),
        (&["--config", "/nowhere/oribi.toml"], &["/nowhere/oribi.toml"]),
    ];
    let data = dir.path().join("data");
    for (flags, expected) in cases {
        let mut args = vec!["serve", "--data-dir", data.to_str().unwrap()];
        args.extend(FREE_PORTS);
        args.extend(flags);
        let output = run(&args);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(expected.iter().all(|part| text.contains(part)), "{text}");
    }
    let output = run(&["serve", "--mqtt-listen", "0.0.0.0:0"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("--insecure") && stderr(&output).contains("--mqtts-listen"));
    assert!(!data.exists());
    assert!(run(&["--version"]).status.success());
}

#[test]
fn a_folder_that_is_none_of_ours_is_left_alone() {
    let dir = tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let mut args = vec!["serve", "--data-dir", file.to_str().unwrap()];
    args.extend(FREE_PORTS);
    let output = run(&args);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(file.to_str().unwrap()), "{}", stderr(&output));
    assert_eq!(std::fs::read(&file).unwrap(), b"x");
}

#[test]
fn the_demo_takes_a_free_port_says_so_and_counts_what_it_sent() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap().to_string();
    let mut args = vec!["demo", "--for", "1s", "--devices", "2"];
    args.extend(FREE_PORTS);
    let at = args.iter().position(|arg| *arg == "--mqtt-listen").unwrap();
    args[at + 1] = &taken;
    let output = run(&args);
    let (out, text) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(0), "{out}{text}");
    assert!(out.contains(&format!("{taken} is taken; mqtt listens on 127.0.0.1:")), "{out}{text}");
    let summary = out.lines().last().unwrap();
    let counts: Vec<u64> = ["sent ", "acked ", "counted "]
        .iter()
        .map(|word| {
            let (_, rest) = summary.split_once(word).unwrap();
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        })
        .collect();
    assert!(counts[0] > 0 && counts.iter().all(|count| *count == counts[0]), "{summary}");
}
