//! `oribi status`.

use super::{
    NodeUrl,
    client::{self, Client},
    cluster::nodes,
    sql::print,
    text_table,
};
use crate::length;
use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Flags of `oribi status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    node: NodeUrl,
}

/// Shows health, figures and tables. Status 1 where the node does not serve.
///
/// # Errors
/// A node that cannot be reached.
pub(crate) fn run(args: &StatusArgs) -> Result<ExitCode> {
    let client = Client::new(&args.node)?;
    let health = client.get("/health", &[])?;
    let is_healthy = health.status().is_success();
    let health = client::json(health)?;
    let message = health["message"].as_str().unwrap_or("unknown");
    let version = health["version"].as_str().unwrap_or("?");
    print(format!("oribi {version}: {message}\n").as_bytes())?;
    for check in health["checks"].as_array().into_iter().flatten() {
        let text = |member: &str| check[member].as_str().unwrap_or("?").to_owned();
        print(format!("not well: {}: {}\n", text("name"), text("message")).as_bytes())?;
    }
    if !is_healthy {
        return Ok(ExitCode::FAILURE);
    }
    let node = client::json(client::accepted(client.get("/api/v1/node", &[])?)?)?;
    print(summary(&node).as_bytes())?;
    let cluster = client.get("/api/v1/cluster", &[])?;
    // Not every token may see it.
    let cluster = match cluster.status().is_success() {
        true => client::json(cluster)?,
        false => Value::Null,
    };
    if cluster["nodes"].as_array().is_some_and(|nodes| nodes.len() > 1) {
        print(cluster_summary(&cluster).as_bytes())?;
    }
    let tables = client::json(client::accepted(client.get("/api/v1/tables", &[])?)?)?;
    print(table_list(&tables).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn summary(node: &Value) -> String {
    const NS_PER_SECOND: i64 = 1_000_000_000;
    let address = |name: &str| node[name].as_str().unwrap_or("?").to_owned();
    let count = |name: &str| node["stats"][name].as_u64().unwrap_or(0);
    let up_s = node["uptime_s"].as_f64().unwrap_or(0.0) as i64;
    let mean_ms = |total: &str, number: &str| match count(number) {
        0 => "–".to_owned(),
        n => format!("{:.2} ms", count(total) as f64 / n as f64 / 1e3),
    };
    let head = format!(
        "http {}   mqtt {}   nodes {}   up {}\n",
        address("http"),
        address("mqtt"),
        address("node"),
        length::format(up_s.saturating_mul(NS_PER_SECOND)),
    );
    if node["stats"].is_null() {
        return format!("{head}the token may not see figures: ops is needed\n\n");
    }
    format!(
        "{head}rows written {}, rejected {}; mean time to ack {} over all writes, {} over mqtt\n\
         tablets {}, segments {} ({}), rows in memory {} ({}), log {}, free {}\n\n",
        count("rows_written"),
        count("rows_rejected"),
        mean_ms("write_us", "writes"),
        mean_ms("mqtt_ack_us", "mqtt_acks"),
        count("tablets"),
        count("segments"),
        length::bytes(count("segment_bytes")),
        count("memtable_rows"),
        length::bytes(count("memtable_bytes")),
        length::bytes(count("log_bytes")),
        length::bytes(count("disk_free_bytes")),
    )
}

fn cluster_summary(cluster: &Value) -> String {
    let count = |name: &str| cluster["tablets"][name].as_u64().unwrap_or(0);
    format!(
        "cluster {}: tablets {}, healthy {}, under-replicated {}, leaderless {}, damaged {}\n{}\n",
        cluster["cluster_id"].as_str().unwrap_or("?"),
        count("total"),
        count("healthy"),
        count("under_replicated"),
        count("leaderless"),
        count("damaged"),
        nodes(cluster),
    )
}

fn table_list(answer: &Value) -> String {
    let columns = ["db", "table", "columns", "rows", "bytes", "start", "end"].map(str::to_owned);
    let tables = answer["tables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows: Vec<Vec<Value>> = tables
        .iter()
        .map(|table| {
            let columns = table["columns"].as_array().map_or(0, Vec::len);
            vec![
                table["db"].clone(),
                table["name"].clone(),
                json!(columns),
                table["rows"].clone(),
                json!(length::bytes(table["bytes"].as_u64().unwrap_or(0))),
                table["start"].clone(),
                table["end"].clone(),
            ]
        })
        .collect();
    if rows.is_empty() { "no tables yet\n".into() } else { text_table::format(&columns, &rows) }
}
