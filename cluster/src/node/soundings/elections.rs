//! Who leads which tablet, and how that changed last.

use crate::MemberId;
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Tablets that one node has come to lead at about the same time, of those that have a replica here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Election {
    /// About when, by the clock of this node, ns since 1970.
    pub at_ns: i64,
    /// Who leads them.
    pub leader: NodeId,
    /// How many.
    pub tablets: usize,
}

/// Who leads which tablet, and how that changed last.
#[derive(Default)]
pub(super) struct Elections {
    leaders: HashMap<GroupId, MemberId>,
    pub(super) last: VecDeque<Election>,
}

impl Elections {
    const KEPT_MAX: usize = 20;

    /// Notes who leads these groups now; whoever is seen for the first time was not elected now.
    pub(super) fn look(&mut self, leaders: HashMap<GroupId, MemberId>, at_ns: i64) {
        let mut new = BTreeMap::<NodeId, usize>::new();
        for (group, leader) in &leaders {
            let known = self.leaders.get(group);
            if known.is_some_and(|known| known != leader) {
                *new.entry(leader.node).or_default() += 1;
            }
        }
        self.leaders.extend(leaders);
        let new = new.into_iter().map(|(leader, tablets)| Election { at_ns, leader, tablets });
        self.last.extend(new);
        self.last.drain(..self.last.len().saturating_sub(Self::KEPT_MAX));
    }

    /// Forgets groups.
    pub(super) fn retain(&mut self, stays: impl Fn(&GroupId) -> bool) {
        self.leaders.retain(|group, _| stays(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablets_that_change_hands_together_are_one_election() {
        let of = |pairs: &[(u64, u32)]| {
            let leader =
                |(group, node): &(u64, u32)| (GroupId(*group), MemberId::first(NodeId(*node)));
            pairs.iter().map(leader).collect::<HashMap<_, _>>()
        };
        let mut elections = Elections::default();
        elections.look(of(&[(1, 1), (2, 1), (3, 2)]), 5);
        assert!(elections.last.is_empty(), "nobody was elected since");
        elections.look(of(&[(1, 3), (2, 3), (3, 2), (4, 1)]), 6);
        elections.look(of(&[(1, 3), (2, 3), (3, 2), (4, 1)]), 7);
        let seen = Election { at_ns: 6, leader: NodeId(3), tablets: 2 };
        assert_eq!(elections.last, [seen]);
        for at in 0..50 {
            elections.look(of(&[(1, at % 2)]), i64::from(at));
        }
        assert_eq!(elections.last.len(), Elections::KEPT_MAX);
        assert_eq!(elections.last.back().unwrap().at_ns, 49);
    }
}
