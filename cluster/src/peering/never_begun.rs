//! Tablets that were given to a node to begin which is gone, and that nobody else may begin: they are dropped, as they
//! hold nothing, and made anew by the next write.

use super::{state::State, tablets::Told};
use crate::{Catalog, Change, MemberId, NodeState, Result};
use futures::future::join_all;
use oribi_model::{NodeId, TabletId};
use oribi_store::log::GroupId;
use std::collections::BTreeSet;

/// Tablets that are asked about in one look.
const ASKED_MAX: usize = 64;

impl State {
    /// The replicas of a tablet that a node was to begin, but for those on that node, where none of them has an
    /// entry as far as they have said. `None` for any other tablet.
    pub(super) fn never_begun(
        &self,
        tablet: TabletId,
        catalog: &Catalog,
        told: &Told,
    ) -> Option<Vec<MemberId>> {
        let replicas = catalog.replicas_of(tablet);
        let founder = replicas.first()?.node;
        let others = replicas.iter().filter(|member| member.node != founder);
        let others: Vec<MemberId> = others.copied().collect();
        let has_entry = told.of(GroupId(tablet.0)).iter().any(|(_, said)| said.last.is_some());
        (!others.is_empty() && !catalog.is_founded(tablet) && !has_entry).then_some(others)
    }
}

/// Drops those whose founders are gone. Whether there were any.
pub(super) async fn drop_given_up(state: &State, catalog: &Catalog) -> Result<bool> {
    let is_gone = |node: NodeId, removed: bool| removed || state.is_gone(node);
    let nodes = catalog.nodes().map(|(node, record)| (node, record.state == NodeState::Removed));
    let gone: BTreeSet<NodeId> =
        nodes.filter(|(node, removed)| is_gone(*node, *removed)).map(|(node, _)| node).collect();
    if gone.is_empty() {
        return Ok(false);
    }
    let told = state.told();
    let ids = catalog.tablets().map(|spec| spec.id);
    let given = ids.filter(|tablet| {
        catalog.replicas_of(*tablet).first().is_some_and(|founder| gone.contains(&founder.node))
    });
    let never_begun =
        given.filter_map(|tablet| Some((tablet, state.never_begun(tablet, catalog, &told)?)));
    let asked = never_begun.take(ASKED_MAX).map(|(tablet, others)| async move {
        state.node.has_nothing(tablet, &others).await.then_some(tablet)
    });
    let tablets: Vec<TabletId> = join_all(asked).await.into_iter().flatten().collect();
    if tablets.is_empty() {
        return Ok(false);
    }
    let count = tablets.len();
    state.node.change(Change::DropTablets { tablets }).await?;
    tracing::warn!(count, "tablets were dropped that a node was to begin which is gone");
    Ok(true)
}
