//! `oribi check`.

use super::sql::print;
use crate::length;
use anyhow::Result;
use clap::Args;
use oribi_model::SystemClock;
use oribi_store::disk::RealDisk;
use std::{path::PathBuf, process::ExitCode, sync::Arc};

/// Flags of `oribi check`.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The data directory of a node that does not run.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

/// Reads everything in a data directory and says what is damaged or has no owner; status 1 where
/// something is. Changes nothing.
///
/// # Errors
/// A directory that is in use, is no data directory, or cannot be opened at all.
pub(crate) fn run(args: &CheckArgs) -> Result<ExitCode> {
    let found = oribi_cluster::check(&args.dir, Arc::new(RealDisk), Arc::new(SystemClock))?;
    for trouble in &found.troubles {
        print(format!("{}: {}\n", trouble.name, trouble.message).as_bytes())?;
    }
    let summary = format!(
        "{} tables, {} tablets, segments of {}: {}\n",
        found.tables,
        found.tablets,
        length::bytes(found.segment_bytes),
        match found.troubles.len() {
            0 => "all is well".to_owned(),
            1 => "1 thing is not well".to_owned(),
            count => format!("{count} things are not well"),
        }
    );
    print(summary.as_bytes())?;
    Ok(if found.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
