//! A lost or damaged manifest of a stopped node's tablet, made again.

use crate::{NodeOptions, Result, check::require_data_dir, node::Node};
use oribi_model::{Clock, TabletId};
use oribi_store::{
    Consent, Repaired,
    disk::{Disk, view::ReadOnly},
};
use std::{path::Path, sync::Arc};

/// Makes the manifest of a tablet again from its segments and from what the log says of it; the
/// next start applies what the log has. Everything else in the directory stays as it is, and no
/// file is removed. Blocks.
///
/// # Errors
/// [`crate::Error::InUse`] while a node runs on the directory, [`crate::Error::DataDir`] where it is none of a
/// node's or cannot be opened at all, [`crate::Error::NoTablet`] where the catalog does not have the
/// tablet, [`oribi_store::Error::Unrepairable`] where there is nothing to repair or no way to.
pub fn repair(
    dir: &Path,
    tablet: TabletId,
    consent: Consent,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
) -> Result<Repaired> {
    require_data_dir(&*disk, dir)?;
    let shown = Arc::new(ReadOnly(disk.clone()));
    // It holds the directory until the repair is done.
    let node = Node::look(dir.to_owned(), NodeOptions::default(), shown, clock)?;
    node.repair(tablet, consent, &disk)
}
