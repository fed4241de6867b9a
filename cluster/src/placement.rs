//! Which replicas move where: pure, so that whoever leads the catalog comes to the same answer.
//!
//! First come tablets that lack replicas, then nodes that are to be emptied, then what is too much,
//! then balance; nothing moves for nothing.

mod room;
#[cfg(test)]
mod tests;

use crate::MemberId;
use oribi_model::{NodeId, TabletId};
use room::Room;
use std::collections::{BTreeMap, BTreeSet};

/// What a node is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// It keeps what it has and takes more.
    Serves,
    /// It keeps what it has and takes nothing: its disk is short, or it was not heard of for a moment.
    Keeps,
    /// It serves, and is to be emptied.
    Drains,
    /// It is gone for good, as far as that can be told.
    Gone,
}

/// A tablet and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Placed {
    pub(crate) tablet: TabletId,
    /// Replicas that its table wishes.
    pub(crate) wish: usize,
    /// Replicas that are to stay.
    pub(crate) staying: Vec<MemberId>,
    /// Replicas that are to leave, and are members yet.
    pub(crate) leaving: BTreeSet<MemberId>,
    /// Whether all that stay vote as far as they may, and nobody else does.
    pub(crate) is_settled: bool,
    /// Those of the staying ones that lack much of what their leader has.
    pub(crate) behind: BTreeSet<MemberId>,
    /// Who leads it.
    pub(crate) leader: Option<NodeId>,
}

/// All that is decided upon.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scene {
    pub(crate) hosts: BTreeMap<NodeId, Host>,
    /// By id.
    pub(crate) tablets: Vec<Placed>,
}

/// How much moves at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Replicas that a node is given at once.
    pub(crate) to_node: usize,
    /// Moves that are begun in one look.
    pub(crate) begun: usize,
}

/// Replicas that leave and nodes that get one. A node gets one before another leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) tablet: TabletId,
    pub(crate) from: Vec<MemberId>,
    pub(crate) to: Vec<NodeId>,
}

/// The largest odd number that is above neither; 1 where that would be none.
pub(crate) fn odd(wish: usize, nodes: usize) -> usize {
    let most = wish.min(nodes).max(1);
    if most.is_multiple_of(2) { most - 1 } else { most }
}

/// The moves to begin now.
pub(crate) fn moves(scene: &Scene, limits: Limits) -> Vec<Move> {
    let mut room = Room::new(scene, limits);
    let mut moves = Vec::new();
    let mut tablets: Vec<&Placed> = scene.tablets.iter().collect();
    tablets.sort_by_key(|placed| (scene.living(placed), placed.tablet));
    for placed in &tablets {
        if moves.len() == limits.begun {
            return moves;
        }
        let repaired = scene.replace(placed, Host::Gone, &mut room);
        let grown = || scene.grow(placed, &mut room);
        moves.extend(repaired.or_else(grown));
    }
    let is_lacking = !moves.is_empty();
    for placed in tablets
        .iter()
        .filter(|placed| !moves.iter().any(|begun| begun.tablet == placed.tablet))
        .collect::<Vec<_>>()
    {
        if moves.len() == limits.begun {
            return moves;
        }
        let emptied = scene.replace(placed, Host::Drains, &mut room);
        moves.extend(emptied.or_else(|| scene.shrink(placed, &room)));
    }
    if !is_lacking && moves.is_empty() && scene.is_calm() {
        scene.balance(limits, &mut room, &mut moves);
    }
    moves
}

impl Scene {
    fn host(&self, node: NodeId) -> Host {
        self.hosts.get(&node).copied().unwrap_or(Host::Gone)
    }

    fn is(&self, member: &MemberId, host: Host) -> bool {
        self.host(member.node) == host
    }

    fn living(&self, placed: &Placed) -> usize {
        placed.staying.iter().filter(|member| !self.is(member, Host::Gone)).count()
    }

    /// Nodes that replicas may stay on.
    fn homes(&self) -> usize {
        let stays = |host: &&Host| matches!(host, Host::Serves | Host::Keeps);
        self.hosts.values().filter(stays).count()
    }

    /// Whether nothing is under way but a few moves, and nobody is missing.
    fn is_calm(&self) -> bool {
        let is_well = |host: &Host| matches!(host, Host::Serves | Host::Drains);
        self.hosts.values().filter(|host| **host != Host::Gone).all(is_well)
            && self.tablets.iter().all(|placed| placed.leader.is_some())
    }

    /// Moves one replica off a node of this kind, where there is room elsewhere.
    fn replace(&self, placed: &Placed, host: Host, room: &mut Room) -> Option<Move> {
        // One move of a tablet at a time, unless it waits for a node that is gone.
        if host != Host::Gone && placed.is_moving() {
            return None;
        }
        let from = *placed.staying.iter().find(|member| self.is(member, host))?;
        let back = placed.leaving.iter().map(|member| member.node);
        let back = back.filter(|node| self.host(*node) == Host::Serves && !placed.stays_on(*node));
        let to = back.min().or_else(|| room.take(self, placed))?;
        Some(Move { tablet: placed.tablet, from: vec![from], to: vec![to] })
    }

    /// Adds what a tablet lacks by its table's wish and the nodes there are.
    fn grow(&self, placed: &Placed, room: &mut Room) -> Option<Move> {
        let lacking = odd(placed.wish, self.homes()).saturating_sub(placed.staying.len());
        if lacking == 0 || placed.is_moving() {
            return None;
        }
        let (mut grown, mut left) = (placed.clone(), room.clone());
        let mut to = Vec::new();
        while to.len() < lacking {
            let node = left.take(self, &grown)?;
            grown.staying.push(MemberId::first(node));
            to.push(node);
        }
        *room = left;
        Some(Move { tablet: placed.tablet, from: Vec::new(), to })
    }

    /// Has those leave that a tablet has beyond its table's wish.
    fn shrink(&self, placed: &Placed, room: &Room) -> Option<Move> {
        let kept = odd(placed.wish, placed.staying.len());
        if placed.staying.len() <= kept || placed.is_moving() {
            return None;
        }
        let mut staying = placed.staying.clone();
        // Those that stay come first.
        staying.sort_by_key(|member| {
            let host = match self.host(member.node) {
                Host::Serves => 0,
                Host::Keeps => 1,
                Host::Drains => 2,
                Host::Gone => 3,
            };
            let leads = placed.leader == Some(member.node);
            (host, placed.behind.contains(member), !leads, room.load(member.node), *member)
        });
        Some(Move { tablet: placed.tablet, from: staying.split_off(kept), to: Vec::new() })
    }

    /// Moves replicas from the nodes that have most to those that have fewest, as long as that makes
    /// them more even.
    fn balance(&self, limits: Limits, room: &mut Room, moves: &mut Vec<Move>) {
        let mut moved = BTreeSet::new();
        while moves.len() < limits.begun {
            let found = self.evener(room, &moved);
            let Some((placed, from, to)) = found else { return };
            moved.insert(placed.tablet);
            room.give(from.node, to);
            moves.push(Move { tablet: placed.tablet, from: vec![from], to: vec![to] });
        }
    }

    /// A replica on the fullest node that has one which may go to the emptiest.
    fn evener<'s>(
        &'s self,
        room: &Room,
        moved: &BTreeSet<TabletId>,
    ) -> Option<(&'s Placed, MemberId, NodeId)> {
        const DIFFERENCE_MIN: usize = 2;
        let to = room.emptiest(self, |_| true)?;
        let mut full: Vec<NodeId> = self.hosts.keys().copied().collect();
        full.retain(|node| room.load(*node) >= room.load(to) + DIFFERENCE_MIN);
        full.sort_by_key(|node| (std::cmp::Reverse(room.load(*node)), *node));
        full.into_iter().find_map(|node| {
            let mut movable: Vec<_> = self
                .tablets
                .iter()
                .filter_map(|placed| {
                    let from = *placed.staying.iter().find(|member| member.node == node)?;
                    let may = !placed.is_moving()
                        && !moved.contains(&placed.tablet)
                        && !placed.stays_on(to);
                    may.then_some((placed, from))
                })
                .collect();
            // One that does not lead needs no election.
            movable.sort_by_key(|(placed, from)| (placed.leader == Some(from.node), placed.tablet));
            movable.first().map(|(placed, from)| (*placed, *from, to))
        })
    }
}

impl Placed {
    /// Whether something of it is on its way.
    fn is_moving(&self) -> bool {
        !self.is_settled || !self.leaving.is_empty() || !self.behind.is_empty()
    }

    fn stays_on(&self, node: NodeId) -> bool {
        self.staying.iter().any(|member| member.node == node)
    }
}
