//! `oribi token`: tokens, made, shown, changed and taken back.

mod fleet;
mod rights;

use super::{
    NodeUrl,
    client::{Client, accepted, encoded, json},
    text_table,
};
use crate::auth;
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use rights::RightArgs;
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `oribi token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    node: NodeUrl,
    /// Print JSON as the node gives it.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a token and print its secret, which is shown once.
    Create {
        /// Its name: letters, digits, '.', '_' and '-'.
        name: String,
        #[command(flatten)]
        rights: RightArgs,
    },
    /// List tokens.
    List {
        /// Only those that end within this time, such as 14d.
        #[arg(long, value_name = "TIME")]
        expiring: Option<String>,
    },
    /// Show one token.
    Show {
        /// Its name.
        name: String,
    },
    /// Give a token another secret and print it.
    Rotate {
        /// Its name.
        name: String,
        /// How long the old secret still holds; 0 for not at all.
        #[arg(long, value_name = "TIME", default_value = "24h")]
        keep_old: String,
    },
    /// Take a token back.
    Revoke {
        /// Its name.
        name: String,
    },
    /// Make a token for each line of a CSV file, and write their secrets into another one.
    Import {
        /// Its first line names the columns: name, read, write, admin, topic, client, expires, note.
        file: PathBuf,
        /// Where names and secrets go.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Write a new admin token into the data directory; the node need not run, nor be restarted.
    Admin {
        /// The node's data directory.
        #[arg(long, value_name = "DIR", env = "ORIBI_DATA_DIR")]
        data_dir: PathBuf,
    },
}

/// Runs `oribi token`.
///
/// # Errors
/// What the node refuses, in its words.
pub(crate) fn run(args: &TokenArgs) -> Result<ExitCode> {
    if let Action::Admin { data_dir } = &args.action {
        let path = data_dir.join("admin.token");
        auth::write_new(&path).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let client = Client::new(&args.node)?;
    let path = |name: &str| format!("/api/v1/tokens/{}", encoded(name));
    match &args.action {
        Action::Create { name, rights } => {
            let body = rights.body(name)?.to_string();
            let made = json(accepted(client.post("/api/v1/tokens", &[], body.as_bytes())?)?)?;
            print_secret(args, &made)?;
        }
        Action::List { expiring } => list(args, &client, expiring.as_deref())?,
        Action::Show { name } => show(args, &json(accepted(client.get(&path(name), &[])?)?)?),
        Action::Rotate { name, keep_old } => {
            let (path, body) = (format!("{}/rotate", path(name)), json!({"keep_old": keep_old}));
            let answer = client.post(&path, &[], body.to_string().as_bytes())?;
            print_secret(args, &json(accepted(answer)?)?)?;
        }
        Action::Revoke { name } => {
            let answer = json(accepted(client.delete(&path(name))?)?)?;
            let (nodes, confirmed) = (&answer["nodes"], &answer["confirmed"]);
            match args.json {
                true => println!("{answer}"),
                false => println!("{name} is revoked; {confirmed} of {nodes} nodes confirmed"),
            }
        }
        Action::Import { file, out } => fleet::import(&client, file, out)?,
        Action::Admin { .. } => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// The secret alone, so that a script can take it as it is.
fn print_secret(args: &TokenArgs, made: &Value) -> Result<()> {
    match made["token"].as_str() {
        _ if args.json => println!("{made}"),
        Some(secret) => println!("{secret}"),
        None => bail!("the answer holds no token; is this an Oribi node?"),
    }
    Ok(())
}

fn list(args: &TokenArgs, client: &Client, expiring: Option<&str>) -> Result<()> {
    let until_ns = expiring.map(crate::length::parse).transpose().map_err(anyhow::Error::msg)?;
    let until = until_ns.map(|ns| {
        let length = jiff::SignedDuration::from_nanos(ns);
        jiff::Timestamp::now().checked_add(length).unwrap_or(jiff::Timestamp::MAX)
    });
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let page = json(accepted(client.get("/api/v1/tokens", &[("after", &after)])?)?)?;
        let page = page["tokens"].as_array().cloned().unwrap_or_default();
        let Some(last) = page.last().and_then(|one| one["name"].as_str()) else { break };
        after = last.to_owned();
        all.extend(page);
    }
    if let Some(until) = until {
        let end = |one: &Value| one["expires"].as_str()?.parse::<jiff::Timestamp>().ok();
        all.retain(|one| end(one).is_some_and(|end| end <= until));
    }
    if args.json {
        println!("{}", json!({"tokens": all}));
        return Ok(());
    }
    let columns = ["name", "rights", "expires", "last used", "denied"].map(str::to_owned);
    let row = |one: &Value| {
        let [name, expires, used, denied] =
            ["name", "expires", "last_used", "denied"].map(|member| one[member].clone());
        vec![name, rights::shown(one).into(), expires, used, denied]
    };
    let rows: Vec<Vec<Value>> = all.iter().map(row).collect();
    print!("{}", text_table::format(&columns, &rows));
    Ok(())
}

fn show(args: &TokenArgs, token: &Value) {
    match args.json {
        true => println!("{token}"),
        false => print!("{}", rights::described(token)),
    }
}
