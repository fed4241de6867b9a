//! `oribi connectors`.

use super::{
    NodeUrl,
    client::{self, Client},
    sql::print,
    text_table,
};
use crate::config::{self, Sources};
use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use oribi_connectors::{Message, explain};
use oribi_model::{ArrivalClock, SystemClock};
use serde_json::{Value, json};
use std::{fs, io::Read, path::PathBuf, process::ExitCode, sync::Arc};

const PATH: &str = "/api/v1/connectors";

/// Flags of `oribi connectors`.
#[derive(Debug, Args)]
pub(crate) struct ConnectorsArgs {
    #[command(flatten)]
    node: NodeUrl,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show all connectors and how they are doing.
    List,
    /// Show one, with all its figures, as JSON.
    Show { name: String },
    /// Make one out of a JSON file, or `-` for standard input.
    Add { file: PathBuf },
    /// Stop one until it is resumed.
    Pause { name: String },
    /// Start a paused one.
    Resume { name: String },
    /// Stop one that was made at run time, and forget it.
    Delete { name: String },
    /// Show what a connector of a configuration file would make of a message; asks no node.
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Configuration file.
    file: PathBuf,
    /// The connector; may be left out where there is but one.
    #[arg(long, value_name = "NAME")]
    connector: Option<String>,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// The payload: text, @FILE, or - for standard input.
    #[arg(long)]
    payload: String,
    /// The key of a Kafka record.
    #[arg(long)]
    key: Option<String>,
}

/// Does what was asked.
///
/// # Errors
/// A node that cannot be reached, or what it refuses.
pub(crate) fn run(args: &ConnectorsArgs) -> Result<ExitCode> {
    let action = args.action.as_ref().unwrap_or(&Action::List);
    if let Action::Test(args) = action {
        return test(args);
    }
    let client = Client::new(&args.node)?;
    let shown = |answer| -> Result<()> {
        let body = client::json(client::accepted(answer)?)?;
        print(format!("{}\n", serde_json::to_string_pretty(&body)?).as_bytes())
    };
    let path = |name: &str, rest: &str| format!("{PATH}/{}{rest}", client::encoded(name));
    match action {
        Action::List => {
            let listed = client::json(client::accepted(client.get(PATH, &[])?)?)?;
            print(list(&listed).as_bytes())?;
        }
        Action::Show { name } => shown(client.get(&path(name, ""), &[])?)?,
        Action::Add { file } => shown(client.post(PATH, &[], &bytes_of(file)?)?)?,
        Action::Pause { name } => shown(client.post(&path(name, "/pause"), &[], b"")?)?,
        Action::Resume { name } => shown(client.post(&path(name, "/resume"), &[], b"")?)?,
        Action::Delete { name } => drop(client::accepted(client.delete(&path(name, ""))?)?),
        Action::Test(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn bytes_of(file: &PathBuf) -> Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn list(listed: &Value) -> String {
    let names =
        ["name", "kind", "state", "messages_per_s", "rows", "dead_letters", "lag", "restarts"];
    let columns: Vec<String> =
        names.iter().map(|name| (*name).to_owned()).chain(["last error".into()]).collect();
    let row = |connector: &Value| {
        let mut row: Vec<Value> = names.iter().map(|name| connector[*name].clone()).collect();
        row[3] = json!((connector["messages_per_s"].as_f64().unwrap_or(0.0) * 10.0).round() / 10.0);
        row.push(connector["last_error"].clone());
        row
    };
    let rows: Vec<Vec<Value>> =
        listed["connectors"].as_array().into_iter().flatten().map(row).collect();
    if rows.is_empty() { "no connectors\n".into() } else { text_table::format(&columns, &rows) }
}

/// Status 1 where the message would become a dead letter.
fn test(args: &TestArgs) -> Result<ExitCode> {
    let sources = Sources { file: Some(&args.file), ..Sources::default() };
    let (config, _) = config::load(sources)?;
    let mut named = config
        .connectors
        .iter()
        .filter(|one| args.connector.as_ref().is_none_or(|name| name == one.name()));
    let Some(spec) = named.next() else {
        let name = args.connector.as_deref().unwrap_or("any name");
        return Err(anyhow!("{} holds no connector of {name}", args.file.display()));
    };
    if named.next().is_some() {
        bail!("{} holds several connectors; expected --connector NAME", args.file.display());
    }
    let payload = match args.payload.strip_prefix('@') {
        Some(path) => bytes_of(&path.into())?,
        None if args.payload == "-" => bytes_of(&"-".into())?,
        None => args.payload.as_bytes().to_vec(),
    };
    let mut message = Message::new(&args.topic, &payload);
    message.key = args.key.as_deref().map(str::as_bytes);
    let arrival = ArrivalClock::new(Arc::new(SystemClock));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let explained =
        runtime.block_on(explain(spec, &message, &arrival, config.mqtt.ahead_ns_max))?;
    print(format!("{}\n", serde_json::to_string_pretty(&explained)?).as_bytes())?;
    Ok(if explained.reason.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
