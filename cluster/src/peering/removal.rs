//! Nodes that are emptied, and nodes that the cluster forgets.

use super::{state::State, view::PeersView};
use crate::{Catalog, Change, Error, NodeState, Result};
use oribi_model::NodeId;
use std::{sync::Arc, time::Duration};

impl PeersView {
    /// Has a node be emptied: it is given nothing more, gives away what it leads, and its replicas
    /// move to others as far as there is room.
    ///
    /// # Errors
    /// [`Error::Refused`] where there is no such node, or as [`crate::Node::change`].
    pub async fn drain(&self, node: NodeId) -> Result<()> {
        let state = self.present()?;
        let catalog = state.node.catalog();
        match catalog.node(node).map(|record| record.state) {
            Some(NodeState::Draining) => Ok(()),
            Some(NodeState::Up) => {
                let change = Change::SetNodeState { node, state: NodeState::Draining };
                state.node.change(change).await.map(drop)
            }
            Some(NodeState::Joining) => Err(refused(format!("node {node} has not joined yet"))),
            Some(NodeState::Removed) => Err(refused(format!("node {node} was removed"))),
            None => Err(refused(format!("there is no node {node} in this cluster"))),
        }
    }

    /// Has a node that was to be emptied take its share again. Whether it was to be.
    ///
    /// # Errors
    /// As [`crate::Node::change`].
    pub async fn undrain(&self, node: NodeId) -> Result<bool> {
        let state = self.present()?;
        let catalog = state.node.catalog();
        if catalog.node(node).is_none_or(|record| record.state != NodeState::Draining) {
            return Ok(false);
        }
        state.node.change(Change::SetNodeState { node, state: NodeState::Up }).await?;
        Ok(true)
    }

    /// Forgets a node that is dead or empty: it never comes back, and what it had is made anew on
    /// others at once. One that was forgotten before stays so.
    ///
    /// # Errors
    /// [`Error::Refused`] says what stands in the way, or as [`crate::Node::change`].
    pub async fn remove(&self, node: NodeId) -> Result<()> {
        self.present()?.remove(node).await
    }

    /// Replicas that a node is to have, as the catalog says.
    pub fn replicas_on(&self, node: NodeId) -> usize {
        self.state().map_or(0, |state| replicas_on(&state.node.catalog(), node))
    }

    fn present(&self) -> Result<Arc<State>> {
        self.state().ok_or(Error::Stopping)
    }
}

/// Has the cluster forget the node that this one was before, once it takes part itself.
pub(super) async fn replace(state: Arc<State>) {
    const PAUSE: Duration = Duration::from_secs(1);
    let Some(before) = state.options.replaces else { return };
    while state.pause(PAUSE).await {
        match state.remove(before).await {
            Ok(()) => return,
            Err(error) => tracing::debug!(node = before.0, %error, "not forgotten yet"),
        }
    }
}

impl State {
    async fn remove(&self, node: NodeId) -> Result<()> {
        let catalog = self.node.catalog_now().await?;
        match catalog.node(node).map(|record| record.state) {
            Some(NodeState::Removed) => return Ok(()),
            Some(_) => {}
            None => return Err(refused(format!("there is no node {node} in this cluster"))),
        }
        self.may_remove(&catalog, node).map_err(refused)?;
        self.node.change(Change::SetNodeState { node, state: NodeState::Removed }).await?;
        tracing::warn!(node = node.0, "a node was removed from the cluster");
        Ok(())
    }

    /// Why a node cannot be forgotten.
    fn may_remove(&self, catalog: &Catalog, node: NodeId) -> Result<(), String> {
        let count = replicas_on(catalog, node);
        if self.trusts(node) && count > 0 {
            return Err(format!(
                "node {node} is alive and has {count} replicas: drain it first (oribi cluster \
                 drain {node} --wait), or stop it"
            ));
        }
        if count == 0 {
            return Ok(());
        }
        let left = catalog.nodes().filter(|(other, record)| {
            *other != node && record.state == NodeState::Up && self.trusts(*other)
        });
        let (left, told) = (left.count(), self.told());
        for spec in catalog.tablets() {
            let staying = catalog.staying(spec.id);
            if staying.iter().all(|member| member.node != node) {
                continue;
            }
            let founds = catalog.replicas_of(spec.id).first().is_some_and(|one| one.node == node);
            if founds && self.never_begun(spec.id, catalog, &told).is_some() {
                continue;
            }
            if self.leader_of_tablet(spec, catalog, &told).is_none() {
                return Err(format!(
                    "tablet {} has no majority without node {node}: bring the node back, or see \
                     oribi cluster recover for what is lost for good",
                    spec.id
                ));
            }
            if staying.len() > left {
                let wanted = staying.len();
                return Err(format!(
                    "tablet {} has {wanted} replicas, and only {left} nodes would be left: let \
                     another node join first, or lower the replication of its table",
                    spec.id
                ));
            }
        }
        Ok(())
    }
}

fn replicas_on(catalog: &Catalog, node: NodeId) -> usize {
    let has = |spec: &&oribi_model::TabletSpec| catalog.replica_on(spec.id, node).is_some();
    catalog.tablets().filter(has).count()
}

fn refused(reason: String) -> Error {
    Error::Refused(reason)
}
