//! A look at the data directory of a stopped node: everything is read, nothing is changed.

use crate::{
    Error, NodeOptions, Result,
    node::{Node, Trouble},
};
use oribi_model::Clock;
use oribi_store::disk::{Disk, view::ReadOnly};
use std::{path::Path, sync::Arc};

/// What was found in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// Tables that the catalog has.
    pub tables: usize,
    /// Tablets that were read whole.
    pub tablets: usize,
    /// Bytes of their segments.
    pub segment_bytes: u64,
    /// What is damaged, missing, or without an owner; empty where all is well.
    pub troubles: Vec<Trouble>,
}

/// Opens the directory as a node would, through a disk that makes no change, and reads every block
/// of every segment. Blocks.
///
/// # Errors
/// [`Error::InUse`] while a node runs on it, [`Error::DataDir`] where it is none of a node's or
/// cannot be opened at all.
pub fn check(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Checked> {
    require_data_dir(&*disk, dir)?;
    let shown = Arc::new(ReadOnly(disk));
    let node = Node::look(dir.to_owned(), NodeOptions::default(), shown, clock)?;
    let mut troubles = node.troubles();
    // How much room there is says nothing of what is stored.
    troubles.retain(|trouble| trouble.name != "disk");
    troubles.extend(node.verify());
    let stats = node.stats();
    let (tables, tablets, segment_bytes) = (stats.tables, stats.tablets, stats.segment_bytes);
    Ok(Checked { tables, tablets, segment_bytes, troubles })
}

/// An error where `dir` is not the data directory of a node.
pub(crate) fn require_data_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    if disk.list(dir).is_ok_and(|names| names.iter().any(|name| name == "ORIBI")) {
        return Ok(());
    }
    let (path, reason) = (dir.to_owned(), "it is not the data directory of a node".to_owned());
    Err(Error::DataDir { path, reason })
}
