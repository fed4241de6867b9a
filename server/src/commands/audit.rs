//! `oribi audit`: who has changed what on a node, a line of JSON each.

use super::{
    NodeUrl,
    client::{Client, accepted, json},
    sql::print,
};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `oribi audit`.
#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    #[command(flatten)]
    node: NodeUrl,
    /// How far back, such as 1h [default: all that is kept]
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// The newest so many, at most 10,000.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: u32,
}

/// Runs `oribi audit`.
///
/// # Errors
/// What the node refuses, in its words.
pub(crate) fn run(args: &AuditArgs) -> Result<ExitCode> {
    let limit = args.limit.to_string();
    let mut pairs = vec![("limit", limit.as_str())];
    pairs.extend(args.since.as_deref().map(|since| ("since", since)));
    let client = Client::new(&args.node)?;
    let view = json(accepted(client.get("/api/v1/audit", &pairs)?)?)?;
    for entry in view["entries"].as_array().into_iter().flatten() {
        print(format!("{entry}\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}
