//! The HTTP interface of the real binary.
#![allow(clippy::unwrap_used)]

mod support;

use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};
use support::{Oribi, PATIENCE};
use tempfile::{TempDir, tempdir};

/// A node and its folder.
fn start() -> (Oribi, TempDir) {
    let dir = tempdir().unwrap();
    (Oribi::start(dir.path(), &["--set", "http.cors_origins=[\"http://good\"]"]), dir)
}

/// Sends bytes as they are and reads all that comes back.
fn raw(oribi: &Oribi, request: &[u8]) -> String {
    let mut socket = TcpStream::connect(&oribi.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A server that closes early may reset what it did not read.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn rows_are_read_as_soon_as_they_are_acked() {
    let (oribi, _dir) = start();
    let lines = "m,site=north t=1.5,n=1i 1000000000\nm,site=south t=2.5,n=2i 61000000000\n";
    assert_eq!(oribi.post("/write?db=now", lines).status, 204);
    let rows = oribi.rows("db=now&table=m&select=mean(t),count(*)&window=1m");
    let expected = json!([["1970-01-01T00:00:00Z", 1.5, 1], ["1970-01-01T00:01:00Z", 2.5, 1]]);
    assert_eq!(rows, expected);
    let body = json!([{"time": "1970-01-01T00:02:00Z", "site": "west", "t": 3.5}]).to_string();
    let path = "/api/v1/write?db=now&table=m&format=json&tags=site";
    assert_eq!(oribi.post(path, &body).status, 204);
    let sql = json!({"q": "SELECT count(*) AS n FROM m", "db": "now"}).to_string();
    assert_eq!(oribi.post("/api/v1/sql", &sql).json()["rows"], json!([[3]]));
}

#[test]
fn a_device_publishes_and_its_row_is_there_once_it_is_acked() {
    let (oribi, _dir) = start();
    use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
    let (host, port) = oribi.mqtt.split_once(':').unwrap();
    let options = MqttOptions::new("dev7", host, port.parse().unwrap());
    let (client, mut events) = Client::new(options, 10);
    let payload = r#"{"temperature":21.5,"humidity":40}"#;
    client.publish("sensors/site1/dev7", QoS::AtLeastOnce, false, payload).unwrap();
    let acked =
        events.iter().any(|event| matches!(event, Ok(Event::Incoming(Incoming::PubAck(_)))));
    assert!(acked);
    let rows = oribi.rows("table=sensors&select=count(*),last(temperature)&group_by=site,device");
    assert_eq!(rows, json!([[null, "site1", "dev7", 1, 21.5]]));
}

#[test]
fn tables_are_made_changed_listed_and_dropped() {
    let (oribi, _dir) = start();
    let put = |body: Value| oribi.put("/api/v1/tables/km%2Fh?db=tables", &body.to_string());
    let made = put(json!({"tags": ["car"], "columns": {"speed": "integer"}, "retention": "30d"}));
    assert_eq!(made.status, 201, "{}", made.text());
    let changed = put(json!({"columns": {"speed": "float"}, "range": "1d", "buckets": 4}));
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!(
        oribi.get("/api/v1/tables?db=tables").json()["tables"],
        json!([{
            "db": "tables", "name": "km/h", "rows": 0, "bytes": 0, "start": null, "end": null,
            "columns": [
                {"name": "time", "kind": "time", "type": "time"},
                {"name": "car", "kind": "tag", "type": "string"},
                {"name": "speed", "kind": "field", "type": "float"},
            ],
            "options": {"retention": "30d", "range": "1d", "buckets": 4, "replication": null},
        }])
    );
    assert_eq!(put(json!({"retention": null})).json()["options"]["retention"], Value::Null);
    put(json!({"columns": {"speed": "string"}})).problem(409);
    put(json!({"columns": {"car": "float"}})).problem(409);
    for (body, parameter) in [
        (json!({"retention": "soon"}), "retention"),
        (json!({"retention": 30}), "retention"),
        (json!({"range": "1s"}), "range"),
        (json!({"buckets": 0}), "buckets"),
        (json!({"replication": 2}), "replication"),
        (json!({"columns": {"time": "float"}}), "columns"),
        (json!({"colums": {}}), "colums"),
    ] {
        assert_eq!(put(body).problem(400)["parameter"], parameter);
    }
    assert_eq!(oribi.delete("/api/v1/tables/km%2Fh?db=tables").status, 204);
    oribi.delete("/api/v1/tables/km%2Fh?db=tables").problem(404);
    assert_eq!(oribi.get("/api/v1/tables?db=tables").json()["tables"], json!([]));
}

#[test]
fn names_in_paths_follow_the_rules_of_names() {
    let (oribi, _dir) = start();
    for name in
        ["..%2f", "%2e%2e", "a%2F..%2Fb", "%00", "%e2%80%ae", "_own", "%ff", &"x".repeat(256)]
    {
        let path = format!("/api/v1/tables/{name}?db=names");
        assert_eq!(oribi.put(&path, "{}").problem(400)["parameter"], "table", "{name}");
    }
    for name in ["CON", "a%2Fb", "Temperatur%20%C2%B0C"] {
        let path = format!("/api/v1/tables/{name}?db=names");
        assert_eq!(oribi.put(&path, "").status, 201, "{name}");
    }
    oribi.put("/api/v1/tables/t?db=..", "{}").problem(400);
    oribi.put("/api/v1/tables/t?db=", "{}").problem(400);
}

#[test]
fn rows_are_deleted_by_time_and_tags() {
    let (oribi, _dir) = start();
    let line = |host: &str, s: u32| format!("m,host={host} v=1i {s}000000000\n");
    let lines: String =
        ["a", "b", "c"].iter().flat_map(|host| (0..4).map(move |s| line(host, s))).collect();
    assert_eq!(oribi.post("/write?db=deletes", &lines).status, 204);
    let delete = |query: &str, body: &str| {
        oribi.post(&format!("/api/v1/tables/m/delete?db=deletes{query}"), body)
    };
    let count = || oribi.rows("db=deletes&table=m&select=count(*)&group_by=host");
    assert_eq!(delete("&start=1s&end=3s&where=host%3D'a'", "").status, 204);
    assert_eq!(count(), json!([[null, "a", 2], [null, "b", 4], [null, "c", 4]]));
    let body =
        json!({"where": "host IN ('b', 'x') OR host IS NULL", "end": "1970-01-01T00:00:01Z"});
    assert_eq!(delete("", &body.to_string()).status, 204);
    assert_eq!(count(), json!([[null, "a", 2], [null, "b", 3], [null, "c", 4]]));
    for (query, parameter) in [
        ("&where=v%3D1", "where"),
        ("&where=time%3Cnow()", "where"),
        ("&where=", "where"),
        ("&where=host%3D", "where"),
        ("&start=5", "start"),
        ("&start=2s&end=1s", "start"),
        ("&from=1s", "from"),
    ] {
        assert_eq!(delete(query, "").problem(400)["parameter"], parameter, "{query}");
    }
    oribi.post("/api/v1/tables/none/delete?db=deletes", "").problem(404);
    assert_eq!(delete("&start=1s&end=1s", "").status, 204);
    assert_eq!(oribi.post("/api/v1/compact", "").status, 200);
    assert_eq!(count(), json!([[null, "a", 2], [null, "b", 3], [null, "c", 4]]));
    assert_eq!(delete("", "{}").status, 204);
    assert_eq!(count(), json!([]));
}

#[test]
fn dead_letters_are_cleared_but_never_made_or_dropped() {
    let (oribi, _dir) = start();
    oribi.put("/api/v1/tables/_dead_letters?db=own", "{}").problem(400);
    assert_eq!(oribi.post("/write", "_dead_letters v=1").status, 400);
    assert_eq!(oribi.rows("table=_dead_letters&select=count(*),last(detail)"), json!([]));
    let sql = "/api/v1/sql?q=SELECT+source,topic,%22offset%22+FROM+_dead_letters";
    assert_eq!(oribi.get(sql).json()["rows"], json!([]));
    use rumqttc::{Client, Event, Incoming, MqttOptions, QoS};
    let (host, port) = oribi.mqtt.split_once(':').unwrap();
    let (client, mut events) =
        Client::new(MqttOptions::new("bad", host, port.parse().unwrap()), 10);
    client.publish("sensors/site1/bad", QoS::AtLeastOnce, false, "{\"t\":").unwrap();
    assert!(events.iter().any(|event| matches!(event, Ok(Event::Incoming(Incoming::PubAck(_))))));
    let count = || oribi.rows("table=_dead_letters&select=count(*)");
    assert_eq!(count(), json!([[null, 1]]));
    let row = json!([["mqtt", "sensors/site1/bad", null]]);
    assert_eq!(oribi.get(sql).json()["rows"], row, "a column that no letter has had is null");
    oribi.delete("/api/v1/tables/_dead_letters").problem(400);
    let retention = oribi.put("/api/v1/tables/_dead_letters", "{\"retention\":\"7d\"}");
    assert_eq!(retention.status, 200, "{}", retention.text());
    oribi.put("/api/v1/tables/_dead_letters", "{\"tags\":[\"more\"]}").problem(400);
    assert_eq!(oribi.post("/api/v1/tables/_dead_letters/delete", "").status, 204);
    assert_eq!(count(), json!([]));
}

#[test]
fn figures_are_readable_for_prometheus() {
    let (oribi, _dir) = start();
    assert_eq!(oribi.post("/write?db=figures", "m v=1 1").status, 204);
    oribi.get("/nowhere");
    let answer = oribi.get("/metrics");
    assert!(answer.kind.starts_with("text/plain; version=0.0.4"), "{}", answer.kind);
    let text = answer.text();
    let mut names = BTreeSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
        names.insert(name.split('{').next().unwrap().to_owned());
    }
    for name in [
        "oribi_log_syncs_total",
        "oribi_log_sync_seconds_total",
        "oribi_memtable_bytes",
        "oribi_disk_free_bytes",
        "oribi_ingest_rows_total",
        "oribi_ingest_write_seconds_bucket",
        "oribi_mqtt_acks_total",
        "oribi_mqtt_ack_seconds_bucket",
        "oribi_http_requests_total",
        "oribi_http_request_seconds_count",
        "process_resident_memory_bytes",
    ] {
        assert!(names.contains(name), "no {name} in {names:?}");
    }
    assert!(
        text.contains("oribi_http_requests_total{method=\"GET\",route=\"none\",status=\"404\"}")
    );
    let open = oribi.get_with("/metrics", "accept", "application/openmetrics-text");
    assert!(
        open.kind.starts_with("application/openmetrics-text") && open.text().ends_with("# EOF\n")
    );
}

fn references(value: &serde_json::Value, found: &mut Vec<String>) {
    match value {
        serde_json::Value::Object(members) => {
            found.extend(members.get("$ref").and_then(|to| to.as_str()).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn the_description_is_whole() {
    let (oribi, _dir) = start();
    let description = oribi.get("/openapi.json").json();
    let mut found = Vec::new();
    references(&description, &mut found);
    assert!(!found.is_empty());
    for to in found {
        let place = to.strip_prefix('#').expect("a reference within the document");
        assert!(description.pointer(place).is_some(), "{to} is nowhere");
    }
    for (path, methods) in description["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("default"), "{method} {path} describes no refusal");
            for (status, answer) in answers {
                let is_problem = answer.to_string().contains("schemas/Problem");
                let named = answer.pointer("/content/application~1problem+json").is_some();
                assert_eq!(is_problem, named, "{method} {path} {status}: {answer}");
            }
        }
    }
}

#[test]
fn every_described_path_exists() {
    let (oribi, _dir) = start();
    let description = oribi.get("/openapi.json").json();
    assert!(description["openapi"].as_str().unwrap().starts_with("3."));
    let paths = description["paths"].as_object().unwrap();
    for path in [
        "/api/v1/query",
        "/api/v1/sql",
        "/api/v1/write",
        "/write",
        "/api/v2/write",
        "/api/v1/tables",
        "/api/v1/tables/{table}",
        "/api/v1/tables/{table}/delete",
        "/api/v1/node",
        "/api/v1/cluster",
        "/api/v1/tablets",
        "/api/v1/compact",
        "/health",
        "/metrics",
    ] {
        assert!(paths.contains_key(path), "{path}");
    }
    for (path, methods) in paths {
        let path = path.replace("{table}", "described");
        for method in methods.as_object().unwrap().keys() {
            let answer = match method.as_str() {
                "get" => oribi.get(&path),
                "post" => oribi.post(&path, ""),
                "put" => oribi.put(&path, "!"),
                "patch" => oribi.patch(&path, "!"),
                "delete" => oribi.delete(&path),
                other => panic!("{other} {path}"),
            };
            let is_there = answer.status != 405
                && !(answer.status == 404 && answer.text().contains("there is no path"));
            assert!(is_there, "{method} {path}: {}", answer.status);
        }
    }
}

#[test]
fn paths_and_methods_that_are_not_there() {
    let (oribi, _dir) = start();
    oribi.get("/nowhere").problem(404);
    oribi.get("/settings").problem(404);
    oribi.get("/api/v1/live").problem(404);
    let refused = oribi.delete("/health");
    refused.problem(405);
    assert!(refused.headers["allow"].to_str().unwrap().contains("GET"));
    let influx = oribi.delete("/write");
    assert_eq!(influx.status, 405);
    assert_eq!(influx.json()["code"], "method not allowed");
    assert!(influx.json()["message"].is_string());
    let influx = oribi.get("/api/v2/nowhere");
    assert_eq!((influx.status, influx.json()["code"].clone()), (404, json!("not found")));
    for path in ["/api/v1/node?x=1", "/api/v1/tables?x=1", "/api/v1/query?x=1", "/api/v1/sql?x=1"] {
        assert_eq!(oribi.get(path).problem(400)["parameter"], "x", "{path}");
    }
    oribi.post("/api/v1/compact?x=1", "").problem(400);
}

#[test]
fn what_a_library_refuses_is_a_problem_too() {
    let (oribi, _dir) = start();
    let long = format!("{{\"q\":\"{}\"}}", "x".repeat(3 << 20));
    oribi.post("/api/v1/sql", &long).problem(413);
    let long = format!("{{\"tags\":[\"{}\"]}}", "x".repeat(2 << 20));
    oribi.put("/api/v1/tables/long", &long).problem(413);
    oribi.put("/api/v1/tables/long", "{").problem(400);
    let too_long = format!(
        "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: {}\r\n\r\n",
        "a".repeat(20 << 10)
    );
    assert!(raw(&oribi, too_long.as_bytes()).starts_with("HTTP/1.1 431"), "headers beyond 16 KiB");
    let smuggled = b"POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\
        Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = raw(&oribi, smuggled);
    assert!(answer.starts_with("HTTP/1.1 400") || answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(oribi.get("/health").status, 200);
}

#[test]
fn a_predicate_may_be_typed_as_it_is() {
    let (oribi, _dir) = start();
    assert_eq!(oribi.post("/write", "m v=1 1\nm v=2 2").status, 204);
    let request =
        b"GET /api/v1/query?table=m&select=count(\"v\")&where=v>1 HTTP/1.1\r\nHost: x\r\n\
        Connection: close\r\n\r\n";
    let answer = raw(&oribi, request);
    assert!(answer.contains("[[null,1]]"), "{answer}");
}

#[test]
fn a_client_that_never_finishes_its_headers_is_cut_off() {
    let dir = tempdir().unwrap();
    let bounds = ["--set", "http.header_ms_max=50", "--set", "http.connections_max=20"];
    let oribi = Oribi::start(dir.path(), &bounds);
    let mut slow: Vec<TcpStream> = Vec::new();
    for _ in 0..100 {
        let mut socket = TcpStream::connect(&oribi.http).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        // Those who came long before may be cut off already.
        let _ = socket.write_all(b"GET /health HTTP/1.1\r\nA: ");
        slow.push(socket);
    }
    assert_eq!(oribi.get("/health").status, 200);
    for mut socket in slow {
        let mut rest = Vec::new();
        let _ = socket.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(oribi.get("/health").status, 200);
}

#[test]
fn answers_are_compressed_where_asked() {
    let (oribi, _dir) = start();
    let packed = oribi.get_with("/openapi.json", "accept-encoding", "gzip");
    assert_eq!(packed.headers["content-encoding"], "gzip");
    assert!(packed.body.starts_with(&[0x1f, 0x8b]));
    let plain = oribi.get_with("/openapi.json", "accept-encoding", "identity");
    assert!(plain.headers.get("content-encoding").is_none());
}

#[test]
fn pages_of_other_sites_change_nothing_unless_they_may() {
    let (oribi, _dir) = start();
    let write =
        |name: &str, value: &str| oribi.post_with("/write?db=site", name, value, b"m v=1 1").status;
    assert_eq!(write("sec-fetch-site", "cross-site"), 403);
    assert_eq!(write("sec-fetch-site", "same-origin"), 204);
    let asked = |path: &str, site: &str| oribi.get_with(path, "sec-fetch-site", site).status;
    assert_eq!(asked("/api/v1/sql?q=SELECT%201", "cross-site"), 403);
    assert_eq!(asked("/api/v1/query?table=m&select=count(*)", "same-site"), 403);
    assert_eq!(asked("/api/v1/sql?q=SELECT%201", "same-origin"), 200);
    assert_eq!(asked("/health", "cross-site"), 403);
    let request = "POST /write?db=site HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: cross-site\r\n\
        Origin: http://good\r\nContent-Length: 5\r\nConnection: close\r\n\r\nm v=1";
    let answer = raw(&oribi, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert!(answer.contains("access-control-allow-origin: http://good"), "{answer}");
}

#[test]
fn who_asks_for_leave_to_send_too_much_is_told_not_to() {
    let (oribi, _dir) = start();
    let request = "POST /write?db=default HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\
        Expect: 100-continue\r\nConnection: close\r\n\r\n";
    let mut socket = TcpStream::connect(&oribi.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut first = [0; 12];
    socket.read_exact(&mut first).unwrap();
    assert_eq!(std::str::from_utf8(&first), Ok("HTTP/1.1 413"));
}

#[test]
fn a_question_that_is_too_long_for_a_url_is_told_so() {
    let (oribi, _dir) = start();
    let path = format!("/api/v1/sql?q=SELECT%20{}", "1".repeat(20_000));
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = raw(&oribi, request.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert!(answer.contains("application/problem+json") && answer.contains("POST"), "{answer}");
}

#[test]
fn a_name_that_a_page_made_lead_here_is_refused() {
    let (oribi, _dir) = start();
    let ask = |host: &str| {
        let request =
            format!("GET /api/v1/tables HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw(&oribi, request.as_bytes())
    };
    let refused = ask("evil.example:8640");
    assert!(refused.starts_with("HTTP/1.1 421") && refused.contains("http.hosts"), "{refused}");
    assert!(ask("localhost:8640").starts_with("HTTP/1.1 200"));
}

#[test]
fn entries_made_over_http_read_no_other_files_of_the_machine() {
    let (oribi, dir) = start();
    let make = |file: &str| {
        let body = format!(
            r#"{{"name":"c","kind":"mqtt","url":"mqtt://127.0.0.1:1","username":"u","password_file":"{file}","routes":[{{"topics":["t"]}}]}}"#
        );
        oribi.post_with("/api/v1/connectors", "accept", "*/*", body.as_bytes())
    };
    for file in ["/etc/passwd", "missing", "../oribi.toml"] {
        let answer = make(file);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(answer.status == 400 && text.contains("connector_files"), "{text}");
    }
    let folder = dir.path().join("connector-files");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("secret"), "x").unwrap();
    assert_eq!(make("secret").status, 201);
}

#[test]
fn http_2_is_spoken_without_an_upgrade() {
    let (oribi, _dir) = start();
    // The preface and an empty SETTINGS frame; the server's SETTINGS frame comes back.
    let mut socket = TcpStream::connect(&oribi.http).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    socket.write_all(&[&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat()).unwrap();
    let mut head = [0; 9];
    socket.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "{head:?}");
}

#[test]
fn parameters_that_are_not_utf8_are_refused_everywhere() {
    let (oribi, _dir) = start();
    for path in [
        "/api/v1/query?table=%ff",
        "/api/v1/sql?q=%C3%28",
        "/api/v1/tables?%ff=1",
        "/api/v2/buckets?name=%ff",
        "/query?q=%ff",
    ] {
        assert_eq!(oribi.get(path).status, 400, "{path}");
    }
    for path in ["/write?db=%ff", "/api/v2/write?bucket=%ff", "/api/v1/write?table=%ff"] {
        let answer = oribi.post(path, "m v=1");
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("UTF-8"), "{path}");
    }
    for path in ["/api/v1/query", "/api/v1/sql", "/query"] {
        let form = ("Content-Type", "application/x-www-form-urlencoded");
        let answer = oribi.post_with(path, form.0, form.1, b"q=%ff");
        assert_eq!(answer.status, 400, "{path}");
        assert!(answer.text().contains("UTF-8"), "{path}");
    }
}
