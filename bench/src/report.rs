//! The tables at the end of a run, with ratios of Oribi to its peers.

mod table;

use crate::{
    dialect::EASIER,
    questions::KINDS,
    report::table::{Table, number},
    results::Results,
};

/// Systems that take line protocol over HTTP, in the order of the report; whether they sync
/// before they ack.
const WRITERS: [(&str, Sync); 5] = [
    ("oribi", Sync::BeforeAck),
    ("questdb-sync", Sync::BeforeAck),
    ("influx", Sync::BeforeAck),
    ("questdb", Sync::Later),
    ("victoria", Sync::Later),
];

/// Systems that are asked questions.
const ANSWERERS: [&str; 5] = ["oribi", "victoria", "influx", "questdb", "duckdb"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Sync {
    BeforeAck,
    Later,
}

/// Everything that was measured, as text.
pub(crate) fn report(results: &Results) -> String {
    let parts = [
        ingest(results),
        memory(results),
        disk(results),
        queries(results),
        answers(results),
        mqtt(results),
        topics(results),
        other_data(results, "iot", "iot: trucks, 2 clients"),
        other_data(results, "late", "late: rows in no order, 2 clients"),
        recovery(results),
    ];
    parts.into_iter().flatten().collect::<Vec<String>>().join("\n\n") + "\n"
}

fn ingest(results: &Results) -> Option<String> {
    let mut table = Table::new(&[
        "ingest over HTTP",
        "sync before ack",
        "rows/s, 1 client",
        "rows/s, 2 clients",
        "ack p50 ms",
        "ack p99 ms",
        "metrics/CPU s",
    ]);
    for (system, sync) in WRITERS {
        let rate = |step: &str| results.number(step, system, "rows_per_s");
        if rate("ingest-1").is_none() && rate("ingest-2").is_none() {
            continue;
        }
        let of_two = |name: &str| results.number("ingest-2", system, name);
        table.row(vec![
            system.to_owned(),
            if sync == Sync::BeforeAck { "yes" } else { "no" }.to_owned(),
            number(rate("ingest-1"), 0),
            number(rate("ingest-2"), 0),
            number(of_two("ack_p50_ms"), 2),
            number(of_two("ack_p99_ms"), 2),
            number(of_two("metrics_per_cpu_s"), 0),
        ]);
    }
    let best = |wanted: Sync, step: &str| {
        let peers = WRITERS.iter().filter(|(name, sync)| *name != "oribi" && *sync == wanted);
        peers.filter_map(|(name, _)| results.number(step, name, "rows_per_s")).reduce(f64::max)
    };
    let ratio = |wanted: Sync, step: &str| {
        let oribi = results.number(step, "oribi", "rows_per_s")?;
        Some(oribi / best(wanted, step)?)
    };
    let line = |wanted: Sync, words: &str, goal: &str| {
        format!(
            "oribi / best peer {words}: {} with 1 client, {} with 2 (goal {goal})",
            number(ratio(wanted, "ingest-1"), 2),
            number(ratio(wanted, "ingest-2"), 2)
        )
    };
    let table = table.text()?;
    let synced = line(Sync::BeforeAck, "that syncs", ">= 8 with 2");
    let unsynced = line(Sync::Later, "that does not", ">= 4 with 2");
    Some(format!("{table}\n{synced}\n{unsynced}"))
}

fn memory(results: &Results) -> Option<String> {
    let mut table = Table::new(&["memory", "peak MiB, 1 client", "peak MiB, 2 clients", "at rest"]);
    for (system, _) in WRITERS {
        let peak = |step: &str| results.number(step, system, "rss_peak_mib");
        if peak("ingest-1").is_some() || peak("ingest-2").is_some() {
            let rest = results.number("disk", system, "rss_steady_mib");
            let cells = [peak("ingest-1"), peak("ingest-2"), rest].map(|cell| number(cell, 0));
            table.row([vec![system.to_owned()], cells.to_vec()].concat());
        }
    }
    Some(format!("{}\ngoal for oribi: <= 300 MiB", table.text()?))
}

fn disk(results: &Results) -> Option<String> {
    let mut table = Table::new(&[
        "on disk, compacted",
        "MiB of files",
        "bytes a metric, files",
        "bytes a metric, blocks",
    ]);
    for system in ["oribi", "victoria", "influx", "questdb", "duckdb"] {
        let value = |name: &str| results.number("disk", system, name);
        if let Some(bytes) = value("bytes") {
            table.row(vec![
                system.to_owned(),
                number(Some(bytes / f64::from(1 << 20)), 1),
                number(value("bytes_per_metric"), 3),
                number(value("blocks_per_metric"), 3),
            ]);
        }
    }
    let entropy = number(results.number("data", "generator", "entropy_bytes"), 3);
    let table = table.text()?;
    Some(format!(
        "{table}\nentropy of first differences: {entropy}; goal for oribi: <= 0.30 by files"
    ))
}

fn queries(results: &Results) -> Option<String> {
    let shown: Vec<&str> = ANSWERERS
        .into_iter()
        .filter(|system| {
            KINDS.iter().any(|kind| results.text("queries", system, kind.name).is_some())
        })
        .collect();
    if shown.is_empty() {
        return None;
    }
    let mut table =
        Table::new(&[&["query, median ms"], &shown[..], &["oribi / best peer"]].concat());
    for kind in KINDS {
        let easier = |system: &str| results.text("ways", system, kind.name) == Some(EASIER);
        let time = |system: &str| results.number("queries", system, kind.name);
        let mut row = vec![kind.name.to_owned()];
        for system in &shown {
            let text = number(time(system), 2);
            row.push(if easier(system) { format!("({text})") } else { text });
        }
        let peers = ANSWERERS[1..].iter().filter(|system| !easier(system));
        let best = peers.filter_map(|system| time(system)).reduce(f64::min);
        let ratio = time("oribi").zip(best).map(|(oribi, best)| oribi / best);
        row.push(number(ratio, 2));
        table.row(row);
    }
    let table = table.text()?;
    Some(format!(
        "{table}\nbrackets: an easier question, not in the ratio; duckdb runs inside the process \
         that asks\ngoal: <= 1, single-groupby-1-1-1 <= 0.9 x victoria"
    ))
}

/// Whether all systems gave the same answers to the same questions: who differs from most.
fn answers(results: &Results) -> Option<String> {
    let (mut agreeing, mut compared) = (0, 0);
    let mut lines = Vec::new();
    for (_, kind, values) in results.all().filter(|(step, ..)| step.starts_with("answers")) {
        let votes = |digest: &str| values.values().filter(|other| equal(digest, other)).count();
        let Some(expected) = values.values().max_by_key(|digest| votes(digest)) else { continue };
        for (system, digest) in values {
            compared += 1;
            if equal(expected, digest) {
                agreeing += 1;
            } else {
                let line = format!("{kind}: {system} has {digest}, most have {expected}");
                lines.push(line);
            }
        }
    }
    let head = format!(
        "answers (rows, sum of all numbers) that agree with most systems: {agreeing} of {compared}"
    );
    (compared > 0).then(|| [vec![head], lines].concat().join("\n"))
}

fn equal(one: &str, other: &str) -> bool {
    let numbers = |text: &str| -> Option<(u64, f64)> {
        let (rows, sum) = text.split_once(' ')?;
        Some((rows.parse().ok()?, sum.parse().ok()?))
    };
    match (numbers(one), numbers(other)) {
        (Some((rows, sum)), Some((other_rows, other_sum))) => {
            rows == other_rows && (sum - other_sum).abs() <= 1e-9 * sum.abs().max(1.0)
        }
        _ => false,
    }
}

fn mqtt(results: &Results) -> Option<String> {
    let mut table = Table::new(&[
        "MQTT QoS 1",
        "messages/s",
        "ack p50 ms",
        "ack p99 ms",
        "server CPU us/message",
        "rows queryable",
    ]);
    for system in ["oribi", "mosquitto"] {
        let value = |name: &str| results.number("mqtt", system, name);
        if value("messages_per_s").is_some() {
            table.row(vec![
                system.to_owned(),
                number(value("messages_per_s"), 0),
                number(value("ack_p50_ms"), 2),
                number(value("ack_p99_ms"), 2),
                number(value("cpu_us_per_message"), 2),
                number(value("rows_stored"), 0),
            ]);
        }
    }
    let rate = |system: &str| results.number("mqtt", system, "messages_per_s");
    let ratio = rate("oribi").zip(rate("mosquitto")).map(|(oribi, peer)| oribi / peer);
    let table = table.text()?;
    Some(format!("{table}\noribi / mosquitto: {} (goal >= 2)", number(ratio, 2)))
}

/// How the rate holds with many topics and many connections, beside few of both.
fn topics(results: &Results) -> Option<String> {
    const STEPS: [(&str, &str); 4] = [
        ("topics-400", "4 connections, 400 topics"),
        ("topics-10000", "4 connections, 10,000 topics"),
        ("topics-100000", "4 connections, 100,000 topics"),
        ("connections-400", "400 connections, window 20"),
    ];
    let mut table = Table::new(&["oribi, MQTT QoS 1", "messages/s", "to the first", "ack p99 ms"]);
    let value = |step: &str, name: &str| results.number(step, "oribi", name);
    let first = value(STEPS[0].0, "messages_per_s");
    for (step, words) in STEPS {
        let Some(rate) = value(step, "messages_per_s") else { continue };
        table.row(vec![
            words.to_owned(),
            number(Some(rate), 0),
            number(first.map(|first| rate / first), 2),
            number(value(step, "ack_p99_ms"), 2),
        ]);
    }
    Some(format!("{}\ngoal: >= 0.95, >= 0.9, >= 0.8 with p99 <= 25 ms", table.text()?))
}

/// Ingest of data of another sort: rates, memory, and what was written for what is kept.
fn other_data(results: &Results, step: &str, words: &str) -> Option<String> {
    let mut table = Table::new(&[
        words,
        "sync before ack",
        "rows/s",
        "peak MiB",
        "MiB at rest",
        "bytes a metric",
        "written / kept",
    ]);
    let rate = |system: &str| results.number(step, system, "rows_per_s");
    for (system, sync) in WRITERS {
        let value = |name: &str| results.number(step, system, name);
        if rate(system).is_some() {
            table.row(vec![
                system.to_owned(),
                if sync == Sync::BeforeAck { "yes" } else { "no" }.to_owned(),
                number(rate(system), 0),
                number(value("rss_peak_mib"), 0),
                number(value("rss_steady_mib"), 0),
                number(value("bytes_per_metric"), 3),
                number(value("written_ratio"), 2),
            ]);
        }
    }
    let ratio = |peer: &str| rate("oribi").zip(rate(peer)).map(|(oribi, peer)| oribi / peer);
    let (unsynced, synced) = (number(ratio("questdb"), 2), number(ratio("questdb-sync"), 2));
    let table = table.text()?;
    Some(format!("{table}\noribi / questdb: {unsynced}; oribi / questdb that syncs: {synced}"))
}

fn recovery(results: &Results) -> Option<String> {
    let value = |name: &str| results.number("recovery", "oribi", name);
    let after = value("serving_after_s")?;
    Some(format!(
        "kill -9 with {} rows in memtables: serving again after {after:.3} s (goal <= 2); \
         {} rows acked, {} stored",
        number(value("rows_unflushed"), 0),
        number(value("rows_acked"), 0),
        number(value("rows_stored"), 0)
    ))
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    #[test]
    fn ratios_are_to_the_best_peer_of_each_sort() {
        let path = env::temp_dir().join(format!("oribi-bench-report-{}", std::process::id()));
        let lines = [
            "ingest-2\toribi\trows_per_s\t900000",
            "ingest-2\tinflux\trows_per_s\t100000",
            "ingest-2\tquestdb-sync\trows_per_s\t150000",
            "ingest-2\tquestdb\trows_per_s\t360000",
            "queries\toribi\thigh-cpu-1\t2",
            "queries\tinflux\thigh-cpu-1\t8",
            "queries\tduckdb\thigh-cpu-1\t4",
            "answers-1\toribi\thigh-cpu-1\t10 5",
            "answers-1\tinflux\thigh-cpu-1\t10 5.000000000001",
            "answers-1\tduckdb\thigh-cpu-1\t10 6",
            "queries\toribi\tlastpoint\t2",
            "queries\tvictoria\tlastpoint\t1",
            "ways\tvictoria\tlastpoint\teasier",
        ];
        fs::write(&path, lines.join("\n")).unwrap();
        let text = report(&Results::read(&path).unwrap());
        fs::remove_file(&path).unwrap();
        assert!(text.contains("that syncs: - with 1 client, 6.00 with 2"), "{text}");
        assert!(text.contains("that does not: - with 1 client, 2.50 with 2"), "{text}");
        let row = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(row("high-cpu-1 ").ends_with(" 0.50 |"), "{text}");
        assert!(row("lastpoint").contains("(1.00)"), "{text}");
        assert!(row("lastpoint").ends_with(" - |"), "{text}");
        assert!(text.contains("agree with most systems: 2 of 3"), "{text}");
    }
}
