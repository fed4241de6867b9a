//! What decides about groups of which no replica is awake: as long as it stays the same, nothing new is to be
//! done in any of them.

use crate::placement::Host;
use oribi_model::NodeId;
use std::collections::BTreeMap;
use tokio::time::Instant;

/// As of a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scenery {
    /// The change of the catalog.
    pub(super) catalog: u64,
    /// What other nodes have said.
    pub(super) heard: u64,
    /// Whether each of the other nodes is trusted, and whether it is dead.
    pub(super) lives: BTreeMap<NodeId, (bool, bool)>,
}

/// When it was last looked for moves that are due.
#[derive(Default)]
pub(super) struct Planned {
    /// Not before is it looked again.
    pub(super) again: Option<Instant>,
    /// As of what there were none.
    pub(super) without: Option<(Scenery, BTreeMap<NodeId, Host>)>,
}
