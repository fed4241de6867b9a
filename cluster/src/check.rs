//! A look at the data directory of a stopped node: everything is read, nothing is changed.

use crate::{
    Error, NodeOptions, Result,
    node::{Node, Trouble},
};
use oribi_model::Clock;
use oribi_store::{
    disk::{Disk, view::ReadOnly},
    log::{self, LogDamage},
};
use std::{path::Path, sync::Arc};

/// What was found in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Tables that the catalog has. This and the next two are 0 where the log is damaged, since then
    /// nobody knows what the catalog has.
    pub tables: usize,
    /// Tablets that were read whole.
    pub tablets: usize,
    /// Bytes of their segments.
    pub segment_bytes: u64,
    /// What is damaged, missing, or without an owner; empty where all is well.
    pub troubles: Vec<Trouble>,
}

/// Opens the directory as a node would, through a disk that makes no change, and reads every block
/// of every segment. Where the log is damaged, only that is told. Blocks.
///
/// # Errors
/// [`Error::InUse`] while a node runs on it, [`Error::DataDir`] where it is none of a node's or
/// cannot be opened at all.
pub fn check(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Checked> {
    require_data_dir(&*disk, dir)?;
    let shown = Arc::new(ReadOnly(disk.clone()));
    let node = match Node::look(dir.to_owned(), NodeOptions::default(), shown, clock) {
        Err(error @ Error::Store(oribi_store::Error::Corrupt { .. })) => {
            let trouble = damaged_log(dir, disk)?.ok_or(error)?;
            let (tables, tablets, segment_bytes) = (0, 0, 0);
            return Ok(Checked { tables, tablets, segment_bytes, troubles: vec![trouble] });
        }
        node => node?,
    };
    let mut troubles = node.troubles();
    // How much room there is says nothing of what is stored.
    troubles.retain(|trouble| trouble.name != "disk");
    troubles.extend(node.verify());
    let stats = node.stats();
    let (tables, tablets, segment_bytes) = (stats.tables, stats.tablets, stats.segment_bytes);
    Ok(Checked { tables, tablets, segment_bytes, troubles })
}

/// Where the log is damaged, and what can be read behind that place; `None` where it is whole.
fn damaged_log(dir: &Path, disk: Arc<dyn Disk>) -> Result<Option<Trouble>> {
    let Some(damage) = log::check(disk, &dir.join("log"))? else { return Ok(None) };
    let LogDamage { path, offset, reason, frames_behind, entries_behind } = damage;
    let message = format!(
        "{} is corrupt at byte {offset}: {reason}; behind it {entries_behind} entries in \
         {frames_behind} whole frames can be read; a node does not start on it, so that the \
         tablets were not looked at",
        path.display()
    );
    Ok(Some(Trouble { name: "log".to_owned(), message }))
}

/// An error where `dir` is not the data directory of a node.
pub(crate) fn require_data_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    if disk.list(dir).is_ok_and(|names| names.iter().any(|name| name == "ORIBI")) {
        return Ok(());
    }
    let (path, reason) = (dir.to_owned(), "it is not the data directory of a node".to_owned());
    Err(Error::DataDir { path, reason })
}
