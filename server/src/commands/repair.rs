//! `oribi repair`.

use super::sql::print;
use anyhow::Result;
use clap::Args;
use oribi_model::{SystemClock, TabletId};
use oribi_store::{Consent, Repaired, disk::RealDisk};
use std::{path::PathBuf, process::ExitCode, sync::Arc};

/// Flags of `oribi repair`.
#[derive(Debug, Args)]
pub(crate) struct RepairArgs {
    /// The data directory of a node that does not run.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The tablet, as `oribi check` names it.
    #[arg(value_name = "TABLET")]
    tablet: u64,
    /// Where two segments hold different values for a row and nothing says which is newer, take
    /// the one with the higher number.
    #[arg(long)]
    assume_order: bool,
    /// Where the manifest is whole and a segment that it names is missing or damaged, serve the rest
    /// without it.
    #[arg(long)]
    accept_loss: bool,
}

/// Makes the lost or damaged manifest of a tablet again, and says what it is made of. Removes
/// nothing.
///
/// # Errors
/// A directory that is in use or is no data directory, and a tablet that there is not, that is
/// whole, or that cannot be repaired.
pub(crate) fn run(args: &RepairArgs) -> Result<ExitCode> {
    let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock));
    let RepairArgs { dir, tablet, assume_order, accept_loss } = args;
    let consent = Consent { assume_order: *assume_order, accept_loss: *accept_loss };
    let tablet = TabletId(*tablet);
    let done = oribi_cluster::repair(dir, tablet, consent, disk, clock)?;
    let mut text = format!("tablet {tablet}: {} segments, {} rows\n", done.segments, done.rows);
    notes(&done).iter().for_each(|note| text.push_str(&format!("{note}\n")));
    text.push_str("the next start adds what the log has; `oribi check` reads every block\n");
    print(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// What an operator has to know of a repair, a line each.
fn notes(done: &Repaired) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(kept) = &done.kept {
        notes.push(format!("the old manifest is kept as {}", kept.display()));
    }
    for path in &done.left_out {
        notes.push(format!("left out, and kept: {}", path.display()));
    }
    for number in &done.missing {
        notes.push(format!("segment {number} of the damaged manifest is not there as it says"));
    }
    for lost in &done.lost {
        notes.push(format!("lost: {lost} (ns since 1970)"));
    }
    for (older, newer) in &done.assumed {
        notes.push(format!("segments {older} and {newer} disagree; {newer} counts as newer"));
    }
    match &done.forgotten_deletes {
        None => notes.push("rows deleted shortly before may be back: delete them again".into()),
        Some(deletes) => notes.extend(
            deletes.iter().map(|delete| format!("forgotten, to be done again: delete {delete}")),
        ),
    }
    notes
}
