//! Who elects the leader of a group, and where they are.

use crate::MemberId;
use oribi_model::NodeId;
use std::collections::BTreeSet;

/// The voters of a group with the nodes that hold them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voters {
    members: BTreeSet<MemberId>,
    nodes: BTreeSet<NodeId>,
}

impl Voters {
    /// The voters.
    pub fn members(&self) -> &BTreeSet<MemberId> {
        &self.members
    }

    /// Their nodes.
    pub fn nodes(&self) -> &BTreeSet<NodeId> {
        &self.nodes
    }

    /// Whether there are others to be asked.
    pub fn are_several(&self) -> bool {
        self.members.len() > 1
    }
}

impl FromIterator<MemberId> for Voters {
    fn from_iter<I: IntoIterator<Item = MemberId>>(members: I) -> Voters {
        let members: BTreeSet<MemberId> = members.into_iter().collect();
        let nodes = members.iter().map(|member| member.node).collect();
        Voters { members, nodes }
    }
}
