//! `oribi dead-letters`.

use super::{
    NodeUrl,
    client::{self, Client},
    sql::print,
};
use anyhow::Result;
use clap::{Args, Subcommand};
use std::process::ExitCode;

/// Flags of `oribi dead-letters`.
#[derive(Debug, Args)]
pub(crate) struct DeadLettersArgs {
    #[command(flatten)]
    node: NodeUrl,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Read dead letters as their sources read now, store their rows, and remove what was stored.
    Replay {
        /// Only letters of this source: a connector's name, or mqtt for the listener.
        #[arg(long)]
        source: Option<String>,
        /// Only letters with this reason.
        #[arg(long)]
        reason: Option<String>,
        /// Letters at most.
        #[arg(long, default_value_t = 1_000)]
        limit: u64,
    },
}

/// Does what was asked. Status 1 where letters stay.
///
/// # Errors
/// A node that cannot be reached, or what it refuses.
pub(crate) fn run(args: &DeadLettersArgs) -> Result<ExitCode> {
    let Action::Replay { source, reason, limit } = &args.action;
    let limit = limit.to_string();
    let mut pairs = vec![("limit", limit.as_str())];
    pairs.extend(source.as_deref().map(|source| ("source", source)));
    pairs.extend(reason.as_deref().map(|reason| ("reason", reason)));
    let client = Client::new(&args.node)?;
    let answer = client.post("/api/v1/dead-letters/replay", &pairs, b"")?;
    let view = client::json(client::accepted(answer)?)?;
    print(format!("{} stored, {} refused\n", view["stored"], view["refused"]).as_bytes())?;
    for reason in view["reasons"].as_array().into_iter().flatten() {
        print(format!("{}\n", reason.as_str().unwrap_or_default()).as_bytes())?;
    }
    let stays = view["refused"].as_u64().unwrap_or(0) > 0;
    Ok(if stays { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
