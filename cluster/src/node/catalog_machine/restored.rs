//! The catalog's files, made of what a backup has of them.

use super::{Form, KIND, NAMES};
use crate::{Catalog, Error, Result, catalog::RestoredConnectors, replica};
use oribi_store::{Flushed, disk::Disk, small_file};
use std::path::Path;

/// Writes the catalog that `body`, the body of such a file, says as that of a cluster of one node.
/// Gives it.
///
/// # Errors
/// [`Error::Refused`] where it cannot be read; what the disk answers.
pub(in crate::node) fn restore(
    disk: &dyn Disk,
    dir: &Path,
    body: &[u8],
    connectors: RestoredConnectors,
) -> Result<Catalog> {
    let refuse = |reason| Error::Refused(format!("the catalog cannot be read: {reason}"));
    let form: Form<Flushed, Catalog> =
        serde_json::from_slice(body).map_err(|error| refuse(error.to_string()))?;
    let Form { mut flushed, catalog } = form;
    flushed.raft_state = replica::alone(&flushed.raft_state).map_err(refuse)?;
    let catalog = catalog.of_one_node(connectors);
    let body = serde_json::to_vec(&Form { flushed: &flushed, catalog: &catalog })
        .expect("a catalog is plain data");
    for name in NAMES {
        small_file::replace(disk, dir, name, KIND, &body)?;
    }
    Ok(catalog)
}
