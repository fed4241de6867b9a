//! The commands that talk to a node.
#![allow(clippy::unwrap_used)]

mod support;

use rustix::process::Signal;
use serde_json::json;
use std::{path::Path, process::Output};
use support::{Oribi, run, stderr, stdout};
use tempfile::tempdir;

fn oribi(oribi: &Oribi, args: &[&str]) -> Output {
    let url = oribi.url("");
    run(&[args, &["--url", &url]].concat())
}

fn import(node: &Oribi, file: &Path, args: &[&str]) -> Output {
    oribi(node, &[&["import", file.to_str().unwrap()], args].concat())
}

#[test]
fn files_go_in_and_tables_come_out() {
    let dir = tempdir().unwrap();
    let data = dir.path().join("data");
    let mut node = Oribi::start(&data, &[]);
    // More than one batch, and a text that holds an end of line.
    let note = "n".repeat(400);
    let csv: String = (1..=20_000)
        .map(|row| format!("d{},{row}000000000,{row},\"{note}\n\"\"{row}\"\"\"\n", row % 3))
        .collect();
    let file = dir.path().join("rows.csv");
    std::fs::write(&file, format!("device,time,v,note\n{csv}")).unwrap();
    let done = import(&node, &file, &["--table", "m", "--tags", "device", "--precision", "ns"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let rows = node.rows("table=m&select=count(*),sum(v)");
    assert_eq!(rows, json!([[null, 20_000, 200_010_000]]));

    // Most of what is exported has to be asked for in parts.
    node.end(Signal::TERM);
    let node = Oribi::start(&data, &["--set", "query.answer_bytes_max=400000"]);
    for format in ["csv", "ndjson", "arrow"] {
        let out = oribi(&node, &["export", "--table", "m", "--format", format]);
        assert!(out.status.success(), "{}", stderr(&out));
        let file = dir.path().join(format!("again.{format}"));
        std::fs::write(&file, &out.stdout).unwrap();
        let done = import(&node, &file, &["--table", format, "--tags", "device"]);
        assert!(done.status.success(), "{format}: {}", stderr(&done));
        let query = format!(
            "SELECT count(*) AS n FROM m JOIN {format} AS o ON m.time = o.time \
             AND m.device = o.device AND m.v = o.v AND m.note = o.note"
        );
        let answer = oribi(&node, &["sql", &query, "--format", "csv"]);
        assert_eq!(stdout(&answer), "n\r\n20000\r\n", "{format}: {}", stderr(&answer));
    }
    let some = oribi(
        &node,
        &[
            "export",
            "--table",
            "m",
            "--start",
            "10s",
            "--end",
            "1970-01-01T00:00:20Z",
            "--where",
            "device = 'd0'",
            "--format",
            "ndjson",
        ],
    );
    assert_eq!(stdout(&some).lines().count(), 3, "{}", stderr(&some));
}

#[test]
fn rejected_rows_are_told_by_their_line() {
    let dir = tempdir().unwrap();
    let node = Oribi::start(&dir.path().join("data"), &[]);
    let file = dir.path().join("rows.lp");
    std::fs::write(&file, "m v=1i 1\nm v= 2\nm v=3i 3\n").unwrap();
    let done = import(&node, &file, &["--db", "lp"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("line 2:") && stderr(&done).contains("1 rejected"));
    assert_eq!(node.rows("db=lp&table=m&select=count(*)"), json!([[null, 2]]));

    let file = dir.path().join("rows.json");
    std::fs::write(&file, "[{\"time\":\"1970-01-01T00:00:00Z\",\n\"v\":1}, 7]").unwrap();
    let done = import(&node, &file, &["--table", "j"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(stderr(&done).contains("row 2:"), "{}", stderr(&done));
    let done = import(&node, &file, &["--table", "_j"]);
    assert!(stderr(&done).contains("Oribi's own tables"), "{}", stderr(&done));
    let done = import(&node, &dir.path().join("rows.xyz"), &["--table", "j"]);
    assert!(stderr(&done).contains("--format"), "{}", stderr(&done));
}

#[test]
fn the_time_of_a_file_is_found_or_asked_for() {
    let dir = tempdir().unwrap();
    let node = Oribi::start(&dir.path().join("data"), &[]);
    let file = |name: &str, text: &str| {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    };
    let in_2014 = |table: &str| {
        let where_ = "start=2014-01-01T00:00:00Z&end=2014-01-02T00:00:00Z";
        node.rows(&format!("table={table}&select=count(*),sum(v)&{where_}"))
    };
    for (at, (text, args)) in [
        ("Time,v\n2014-01-01T00:00:00Z,1\n2014-01-01T00:10:00Z,2\n", &[][..]),
        ("time;v\n2014-01-01T00:00:00Z;1\n2014-01-01T00:10:00Z;2\n", &[]),
        ("\u{feff}v\t\"Date Time\"\r\n1\t2014-01-01 00:00:00\r\n2\t2014-01-01 00:10:00\r\n", &[]),
        ("made by a logger\n;\nTimestamp|v\n1388534400|1\n1388535000|2\n", &["--skip-lines", "2"]),
        (
            "when,v\n01.01.2014 00:00,1\n01.01.2014 00:10,2\n",
            &["--time", "when", "--time-format", "%d.%m.%Y %H:%M"],
        ),
        (
            "time,v\n2014-01-01 01:00 +0100,1\n2014-01-01 01:10 +0100,2\n",
            &["--time-format", "%Y-%m-%d %H:%M %z"],
        ),
        ("time#v\n1388534400#1\n1388535000#2\n", &["--delimiter", "#"]),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("t{at}");
        let done = import(&node, &file("rows.csv", text), &[&["--table", &table], args].concat());
        assert!(done.status.success(), "{text}: {}", stderr(&done));
        assert_eq!(in_2014(&table), json!([["2014-01-01T00:00:00Z", 2, 3]]), "{text}");
    }
    for (name, text) in [
        (
            "rows.ndjson",
            "{\"Timestamp\":\"2014-01-01T00:00:00Z\",\"v\":1}\n{\"Timestamp\":1388535000,\"v\":2}\n",
        ),
        ("rows.json", "[{\"Timestamp\":1388534400,\"v\":1},{\"Timestamp\":1388535000,\"v\":2}]"),
    ] {
        let table = name.replace('.', "_");
        let done = import(&node, &file(name, text), &["--table", &table]);
        assert!(done.status.success(), "{text}: {}", stderr(&done));
        assert_eq!(in_2014(&table), json!([["2014-01-01T00:00:00Z", 2, 3]]), "{text}");
    }
}

#[test]
fn a_file_without_a_time_is_refused_unless_told() {
    let dir = tempdir().unwrap();
    let node = Oribi::start(&dir.path().join("data"), &[]);
    for (name, text, columns) in [
        ("rows.csv", "when,v\n2014-01-01T00:00:00Z,1\n", "when, v"),
        ("wide.csv", "a~b~c\n1~2~3\n", "--delimiter"),
        ("rows.ndjson", "{\"when\":1,\"v\":1}\n", "v"),
        ("rows.json", "[{\"v\":1}]", "v"),
    ] {
        let file = dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        let done = import(&node, &file, &["--table", "n"]);
        assert!(!done.status.success(), "{name}");
        let said = stderr(&done);
        assert!(said.contains(columns) && said.contains("--time now"), "{name}: {said}");
        let done = import(&node, &file, &["--table", "n", "--time", "nothing"]);
        assert!(stderr(&done).contains("there is no column"), "{name}: {}", stderr(&done));
    }
    assert_eq!(node.get("/api/v1/query?table=n&select=count(*)").status, 404);
    let done = import(&node, &dir.path().join("rows.csv"), &["--table", "n", "--time", "now"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(node.rows("table=n&select=count(*),sum(v)"), json!([[null, 1, 1]]));
}

#[test]
fn texts_come_back_as_texts() {
    let dir = tempdir().unwrap();
    let node = Oribi::start(&dir.path().join("data"), &[]);
    let texts =
        ["plain", "1e5", "true", "", "NULL", "12", "0012", " x", "-1", "+5", ".5", "2024-01-01"];
    let lines = texts.iter().enumerate();
    let lines: String =
        lines.map(|(at, text)| format!("src s=\"{text}\",k={at}i {at}000000000\n")).collect();
    assert_eq!(node.post("/write", &lines).status, 204);
    let out = oribi(&node, &["export", "--table", "src", "--format", "csv"]);
    let file = dir.path().join("src.csv");
    std::fs::write(&file, &out.stdout).unwrap();
    let done = import(&node, &file, &["--table", "dst"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let of = |table: &str| {
        stdout(&oribi(
            &node,
            &["sql", &format!("SELECT s, k FROM {table} ORDER BY k"), "--format", "ndjson"],
        ))
    };
    assert_eq!(of("dst"), of("src"));
    assert_eq!(of("dst").lines().count(), texts.len());
}

#[test]
fn sql_and_status_are_readable() {
    let dir = tempdir().unwrap();
    let node = Oribi::start(dir.path(), &[]);
    assert_eq!(node.post("/write?db=plant", "m,host=a v=1i 1000000000").status, 204);
    let answer = oribi(&node, &["sql", "SELECT host, v FROM m", "--db", "plant"]);
    assert_eq!(stdout(&answer), "host  v\n────  ─\na     1\n");
    assert!(stderr(&answer).contains("1 row in"));
    let answer = oribi(&node, &["sql", "SELECT * FROM m"]);
    assert_eq!(answer.status.code(), Some(1));
    assert!(stderr(&answer).starts_with("oribi: "), "{}", stderr(&answer));
    let status = oribi(&node, &["status"]);
    let text = stdout(&status);
    assert!(
        text.contains("ready") && text.contains("plant") && text.contains(&node.http),
        "{text}"
    );
    drop(node);
    let gone = run(&["status", "--url", "http://127.0.0.1:1"]);
    assert_eq!(gone.status.code(), Some(1));
    assert!(stderr(&gone).contains("oribi serve"), "{}", stderr(&gone));
}
