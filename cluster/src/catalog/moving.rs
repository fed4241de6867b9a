//! Replicas that move: which are to leave, and which incarnation the next one gets.

use super::{Catalog, NodeState};
use crate::{Incarnation, MemberId};
use oribi_model::{NodeId, TabletId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, sync::Arc};

/// What is known of a tablet's replicas once some have moved.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Moving {
    /// The greatest incarnation that any of its replicas was given.
    last: Incarnation,
    /// Replicas that are to leave.
    leaving: BTreeSet<MemberId>,
    /// Whether the replica that founded the group is gone: nobody founds it again.
    is_founded: bool,
    /// Whether those that are to stay may not all be voters yet, or others still are.
    #[serde(default)]
    is_unsettled: bool,
}

impl Catalog {
    /// The replicas of a tablet that are to stay, in their order.
    pub fn staying(&self, tablet: TabletId) -> Vec<MemberId> {
        let replicas = self.replicas_of(tablet);
        match self.moving.get(&tablet) {
            Some(moving) => {
                let stays = |member: &&MemberId| !moving.leaving.contains(member);
                replicas.iter().filter(stays).copied().collect()
            }
            None => replicas.to_vec(),
        }
    }

    /// The replicas of a tablet that are to leave its group.
    pub fn leaving(&self, tablet: TabletId) -> BTreeSet<MemberId> {
        self.moving.get(&tablet).map(|moving| moving.leaving.clone()).unwrap_or_default()
    }

    /// Whether the voters of a tablet's group are those that are to stay, as its leader has said.
    pub fn is_settled(&self, tablet: TabletId) -> bool {
        self.moving.get(&tablet).is_none_or(|moving| !moving.is_unsettled)
    }

    /// Tablets whose replicas move, by id.
    pub fn tablets_moving(&self) -> impl Iterator<Item = TabletId> {
        let moving = self.moving.iter().filter(|(_, moving)| moving.is_unsettled);
        moving.map(|(tablet, _)| *tablet)
    }

    /// The greatest incarnation that any replica of a tablet was ever given.
    pub fn last_incarnation(&self, tablet: TabletId) -> Incarnation {
        self.moving.get(&tablet).map_or(Incarnation(0), |moving| moving.last)
    }

    /// Whether the replica that founded the group of a tablet has left.
    pub(crate) fn is_founded(&self, tablet: TabletId) -> bool {
        self.moving.get(&tablet).is_some_and(|moving| moving.is_founded)
    }

    pub(super) fn move_replicas(
        &mut self,
        tablet: TabletId,
        from: &[MemberId],
        to: &[NodeId],
    ) -> Result<(), String> {
        if self.tablet(tablet).is_none() {
            return Err(format!("there is no tablet {tablet}"));
        }
        let before = self.replicas_of(tablet).to_vec();
        let mut moving = self.moving.get(&tablet).map(|moving| Moving::clone(moving));
        let moving = moving.get_or_insert_default();
        if let Some(stranger) = from.iter().find(|member| !before.contains(member)) {
            return Err(format!("tablet {tablet} has no replica {stranger}"));
        }
        let is_anew = from.iter().any(|member| to.contains(&member.node));
        if is_anew && moving.leaving.iter().any(|member| !from.contains(member)) {
            // It has nothing any more, so that one at a time is enough for its group to bear.
            return Err(format!("another replica of tablet {tablet} is leaving"));
        }
        moving.leaving.extend(from);
        let mut replicas = before.clone();
        for node in to {
            let record = self.node(*node);
            if record.is_none_or(|record| record.state == NodeState::Removed) {
                return Err(format!("there is no node {node}"));
            }
            let is_here = |member: &&MemberId| member.node == *node;
            if replicas.iter().filter(is_here).any(|member| !moving.leaving.contains(member)) {
                return Err(format!("tablet {tablet} would have two replicas on node {node}"));
            }
            let leaves = moving.leaving.iter().filter(is_here).max().copied();
            if let Some(stays) = leaves.filter(|member| !from.contains(member)) {
                // It has not gone yet, and is as good as ever.
                moving.leaving.remove(&stays);
                continue;
            }
            moving.last = Incarnation(moving.last.0 + 1);
            replicas.push(MemberId { node: *node, incarnation: moving.last });
        }
        if moving.leaving.len() == replicas.len() {
            return Err(format!("tablet {tablet} would have no replica"));
        }
        moving.is_unsettled = true;
        self.replace(tablet, replicas, moving.clone());
        Ok(())
    }

    pub(super) fn settle_replicas(&mut self, tablet: TabletId, members: &[MemberId]) {
        let Some(moving) = self.moving.get(&tablet) else { return };
        // What began meanwhile goes on.
        let is_same = self.replicas_of(tablet).iter().collect::<BTreeSet<_>>()
            == members.iter().collect::<BTreeSet<_>>();
        if moving.leaving.is_empty() && is_same {
            let settled = Moving { is_unsettled: false, ..Moving::clone(moving) };
            self.moving.insert_mut(tablet, Arc::new(settled));
        }
    }

    pub(super) fn forget_replica(&mut self, tablet: TabletId, member: MemberId) {
        let Some(moving) = self.moving.get(&tablet) else { return };
        let mut moving = Moving::clone(moving);
        if !moving.leaving.remove(&member) {
            return;
        }
        let mut replicas = self.replicas_of(tablet).to_vec();
        moving.is_founded |= replicas.first() == Some(&member);
        replicas.retain(|other| *other != member);
        self.replace(tablet, replicas, moving);
    }

    pub(super) fn take_over(&mut self, node: NodeId) -> Result<(), String> {
        let others: Vec<NodeId> =
            self.nodes().map(|(other, _)| other).filter(|other| *other != node).collect();
        for other in others {
            self.set_state(other, NodeState::Removed)?;
        }
        if self.node(node).is_some() {
            self.set_state(node, NodeState::Up)?;
        }
        let tablets: Vec<TabletId> = self.tablets().map(|spec| spec.id).collect();
        for tablet in tablets {
            let mut last = self.last_incarnation(tablet);
            let own = self.replica_on(tablet, node).unwrap_or_else(|| {
                last = Incarnation(last.0 + 1);
                MemberId { node, incarnation: last }
            });
            // Where it never began, it does so by itself.
            let moving = Moving { last, ..Moving::default() };
            self.replace(tablet, vec![own], moving);
        }
        Ok(())
    }

    fn replace(&mut self, tablet: TabletId, replicas: Vec<MemberId>, moving: Moving) {
        let before = self.replicas_of(tablet).to_vec();
        self.index.count(&before, u32::wrapping_sub);
        self.index.count(&replicas, u32::wrapping_add);
        self.note(tablet, replicas);
        self.moving.insert_mut(tablet, Arc::new(moving));
    }
}
