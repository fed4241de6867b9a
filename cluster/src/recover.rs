//! A cluster whose majority is gone for good, begun anew from the directory of one stopped node.

use crate::{
    Change, ClusterId, NodeOptions, Result, catalog::FIRST_NODE, check::require_data_dir,
    command::Command, node::Node,
};
use oribi_model::{Clock, TabletId};
use oribi_store::disk::Disk;
use std::{path::Path, sync::Arc};

/// What became of a cluster that was begun anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Which cluster it is now.
    pub cluster: ClusterId,
    /// Whether it knew what there was: a node to which no catalog had come has nothing of the cluster.
    pub knew_catalog: bool,
    /// Tablets that the node has.
    pub tablets: usize,
    /// Tablets of which it had no replica, or a damaged one: their rows are lost.
    pub lost: Vec<TabletId>,
}

/// Makes the node of this directory the only one of a new cluster, with all that it has; every other
/// node counts as removed. Rows that only others had are lost, and entries that were never committed
/// count as if they had been. The other nodes' directories belong to a cluster that is no more.
/// Blocks.
///
/// # Errors
/// [`crate::Error::InUse`] while a node runs on it, [`crate::Error::DataDir`] where it is none of a
/// node's; where it breaks off it may be begun again.
pub fn recover(dir: &Path, disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Recovered> {
    require_data_dir(&*disk, dir)?;
    let node = Node::look(dir.to_owned(), NodeOptions::default(), disk.clone(), clock)?;
    let own = node.identity().node;
    let knew_catalog = own == FIRST_NODE || node.catalog().node(own).is_some();
    let takes_over = Command::change(Change::TakeOver { node: own });
    node.leave_alone(takes_over)?;
    let catalog = node.catalog();
    let is_here = |tablet: TabletId| node.has_whole(tablet);
    let (here, lost): (Vec<_>, Vec<_>) =
        catalog.tablets().map(|spec| spec.id).partition(|tablet| is_here(*tablet));
    // Last: until then it is a node of the cluster that was.
    let cluster = node.begin_cluster(&disk)?;
    Ok(Recovered { cluster, knew_catalog, tablets: here.len(), lost })
}
