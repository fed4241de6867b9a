//! What a node stands in: the way to the others, and with whom groups begin.

use super::links::Links;
use crate::Assignment;
use oribi_store::log::GroupId;
use std::sync::Arc;

/// Says with whom the group of the catalog or of a tablet begins.
type Assign = Arc<dyn Fn(GroupId) -> Assignment + Send + Sync>;

/// The surroundings of a node. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Around {
    /// The way to other nodes.
    pub(super) links: Arc<Links>,
    /// Where it is not the catalog that says with whom groups begin.
    pub(super) assign: Option<Assign>,
}
