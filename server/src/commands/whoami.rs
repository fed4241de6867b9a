//! `oribi whoami`: which token is shown, and what it may do.

use super::{
    NodeUrl,
    client::{Client, accepted, json},
};
use anyhow::Result;
use clap::Args;
use std::process::ExitCode;

/// Arguments of `oribi whoami`.
#[derive(Debug, Args)]
pub(crate) struct WhoamiArgs {
    #[command(flatten)]
    node: NodeUrl,
}

/// Runs `oribi whoami`.
///
/// # Errors
/// What the node refuses, in its words.
pub(crate) fn run(args: &WhoamiArgs) -> Result<ExitCode> {
    let client = Client::new(&args.node)?;
    println!("{}", json(accepted(client.get("/api/v1/whoami", &[])?)?)?);
    Ok(ExitCode::SUCCESS)
}
