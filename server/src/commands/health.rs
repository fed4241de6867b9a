//! `oribi health`: whether a node serves, for those who watch containers. It needs no token.

use super::{
    NodeUrl,
    client::{Client, json},
};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `oribi health`.
#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    #[command(flatten)]
    node: NodeUrl,
}

/// Runs `oribi health`.
///
/// # Errors
/// Where no node answers.
pub(crate) fn run(args: &HealthArgs) -> Result<ExitCode> {
    let answer = Client::new(&args.node)?.get("/health", &[])?;
    let is_well = answer.status().is_success();
    let health = json(answer)?;
    println!("{}", health["message"].as_str().unwrap_or("no message"));
    Ok(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
