//! Who takes part in a consensus group, and with whom a group begins.

use oribi_model::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{collections::BTreeSet, fmt};

/// Which of the replicas that a node had of one tablet, counted from 0. A replica that was removed
/// or lost never comes back: whatever is put in its place has a higher one.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct Incarnation(pub u32);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One replica as its group counts it, never used again: a node and an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId {
    /// Whose replica it is.
    pub node: NodeId,
    /// Which of that node's.
    pub incarnation: Incarnation,
}

impl MemberId {
    /// The first replica of the node that makes a cluster.
    pub(crate) const FIRST: MemberId = MemberId { node: NodeId(1), incarnation: Incarnation(0) };

    /// The first replica that a node has of a tablet.
    pub fn first(node: NodeId) -> MemberId {
        MemberId { node, incarnation: Incarnation(0) }
    }

    /// As votes, memberships and frames carry it: `incarnation << 32 | node`.
    pub fn to_u64(self) -> u64 {
        u64::from(self.incarnation.0) << 32 | u64::from(self.node.0)
    }

    /// Reads what [`MemberId::to_u64`] gave.
    pub fn from_u64(id: u64) -> MemberId {
        // Each half fits by its place.
        let (node, incarnation) = (id as u32, (id >> 32) as u32);
        MemberId { node: NodeId(node), incarnation: Incarnation(incarnation) }
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.incarnation)
    }
}

impl Serialize for MemberId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.to_u64())
    }
}

impl<'de> Deserialize<'de> for MemberId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MemberId, D::Error> {
        u64::deserialize(deserializer).map(MemberId::from_u64)
    }
}

/// The replicas that a group begins with, in order. The only source of a group's first membership.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    first: MemberId,
    others: Vec<MemberId>,
    /// Whether the first is still to write the first entry.
    is_open: bool,
}

/// How a replica without any entry comes to those of its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Birth {
    /// It writes the first entry, which names these voters.
    Founds(BTreeSet<MemberId>),
    /// Whoever founded the group sends them. Two that wrote the same members into their first
    /// entry would still have two different first entries.
    Joins,
}

impl Assignment {
    /// A group whose first entry `founder` writes, and to which `others` belong from then on.
    pub fn new(founder: MemberId, others: Vec<MemberId>) -> Assignment {
        Assignment { first: founder, others, is_open: true }
    }

    /// A group whose founder has left: whoever has no entry gets them from the others.
    pub fn founded(first: MemberId, others: Vec<MemberId>) -> Assignment {
        Assignment { first, others, is_open: false }
    }

    /// A group of one.
    pub fn alone(member: MemberId) -> Assignment {
        Assignment::new(member, Vec::new())
    }

    /// Who writes the first entry; where that was long ago, the first that is listed.
    pub fn founder(&self) -> MemberId {
        self.first
    }

    /// Whether the founder has no others beside it.
    pub fn is_single(&self) -> bool {
        self.others.is_empty()
    }

    /// All replicas that the group has or is to have.
    pub fn voters(&self) -> BTreeSet<MemberId> {
        self.others.iter().copied().chain([self.first]).collect()
    }

    /// The others, where some replicas are on this node; `None` where all are.
    pub fn without(&self, node: NodeId) -> Option<Assignment> {
        let mut left = self.voters().into_iter().filter(|member| member.node != node);
        let first = left.next()?;
        Some(Assignment::founded(first, left.collect()))
    }

    /// Those of them that the group begins with: what came later, under a later incarnation, is
    /// taken in by whoever leads it then.
    fn first_voters(&self) -> BTreeSet<MemberId> {
        let is_later = |member: &MemberId| member.incarnation > self.first.incarnation;
        self.voters().into_iter().filter(|member| !is_later(member)).collect()
    }

    /// What `member` does where it has no entry yet.
    pub fn birth_of(&self, member: MemberId) -> Birth {
        match self.is_open && member == self.first {
            true => Birth::Founds(self.first_voters()),
            false => Birth::Joins,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: u32, incarnation: u32) -> MemberId {
        MemberId { node: NodeId(node), incarnation: Incarnation(incarnation) }
    }

    #[test]
    fn an_id_is_the_incarnation_above_the_node() {
        assert_eq!(MemberId::first(NodeId(1)).to_u64(), 1);
        assert_eq!(member(1, 0), MemberId::from_u64(1));
        for (node, incarnation) in [(0, 0), (7, 3), (u32::MAX, 0), (1, u32::MAX)] {
            let member = member(node, incarnation);
            assert_eq!(MemberId::from_u64(member.to_u64()), member);
        }
        assert!(member(9, 0).to_u64() < member(1, 1).to_u64());
    }

    #[test]
    fn only_the_first_listed_founds() {
        let assignment = Assignment::new(member(2, 0), vec![member(1, 0), member(3, 1)]);
        let voters = BTreeSet::from([member(1, 0), member(2, 0)]);
        assert_eq!(assignment.birth_of(member(2, 0)), Birth::Founds(voters));
        let founded = Assignment::founded(member(2, 0), vec![member(3, 1)]);
        assert_eq!(founded.birth_of(member(2, 0)), Birth::Joins);
        for other in [member(1, 0), member(3, 1), member(2, 1), member(4, 0)] {
            assert_eq!(assignment.birth_of(other), Birth::Joins);
        }
        let alone = Assignment::alone(member(1, 0));
        assert_eq!(alone.birth_of(member(1, 0)), Birth::Founds(alone.voters()));
    }
}
