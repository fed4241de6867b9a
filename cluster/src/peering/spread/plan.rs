//! Which groups a node gives away so that all lead about as many: pure.

use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

/// How many groups each node leads.
pub(super) type Shares = BTreeMap<NodeId, usize>;

/// A group that is led here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Led {
    pub(super) group: GroupId,
    /// The nodes that could lead it as well.
    pub(super) others: BTreeSet<NodeId>,
}

/// What `own` gives to whom, at most so many. It gives only what it has beyond an even share, to nodes
/// that lack theirs, so that what several give at once meets in the middle; and nothing for one more
/// or less.
pub(super) fn moves(
    own: NodeId,
    shares: &Shares,
    led: &[Led],
    moves_max: usize,
) -> Vec<(GroupId, NodeId)> {
    let nodes = shares.len().max(1);
    let total: usize = shares.values().sum();
    let (least, most) = (total / nodes, total.div_ceil(nodes));
    let keep = kept(own, shares, least, most);
    let mut left: BTreeMap<NodeId, usize> = shares.clone();
    let mut moves = Vec::new();
    for one in led {
        let have = left.get(&own).copied().unwrap_or(0);
        if have <= keep || moves.len() == moves_max {
            break;
        }
        let lacking = one.others.iter().filter_map(|node| {
            let count = *left.get(node)?;
            (count < most && count + 1 < have).then_some((*node, count))
        });
        // Those that lack most first; what is even already only gets what nobody else may have.
        let Some((to, count)) = lacking.min_by_key(|(node, count)| (*count, Reverse(*node))) else {
            continue;
        };
        if count >= least && left.values().any(|count| *count < least) {
            continue;
        }
        left.insert(own, have - 1);
        left.insert(to, count + 1);
        moves.push((one.group, to));
    }
    moves
}

/// What a node keeps: the greater share, unless what the others have beyond theirs is not enough for
/// those who lack the lesser one; then the first so many nodes give one more.
fn kept(own: NodeId, shares: &Shares, least: usize, most: usize) -> usize {
    let lacking: usize = shares.values().map(|count| least.saturating_sub(*count)).sum();
    let beyond: usize = shares.values().map(|count| count.saturating_sub(most)).sum();
    let rich = shares.iter().filter(|(_, count)| **count >= most);
    let is_first = rich.take(lacking.saturating_sub(beyond)).any(|(node, _)| *node == own);
    if is_first { least } else { most }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shares(counts: &[usize]) -> Shares {
        counts.iter().zip(1..).map(|(count, node)| (NodeId(node), *count)).collect()
    }

    fn led(count: usize, others: &[u32]) -> Vec<Led> {
        let others: BTreeSet<NodeId> = others.iter().copied().map(NodeId).collect();
        (0..count as u64)
            .map(|group| Led { group: GroupId(group), others: others.clone() })
            .collect()
    }

    #[test]
    fn nothing_moves_for_nothing() {
        for counts in [[4, 4, 4], [5, 4, 4], [5, 5, 4], [1, 0, 0], [0, 0, 0]] {
            assert_eq!(moves(NodeId(1), &shares(&counts), &led(counts[0], &[2, 3]), 16), []);
        }
    }

    #[test]
    fn what_one_has_too_much_goes_to_those_who_lack_it() {
        let moved = moves(NodeId(1), &shares(&[9, 0, 0]), &led(9, &[2, 3]), 16);
        let to = |node| moved.iter().filter(|(_, to)| *to == NodeId(node)).count();
        assert_eq!((to(2), to(3)), (3, 3));
        assert_eq!(moves(NodeId(1), &shares(&[90, 0, 0]), &led(90, &[2, 3]), 16).len(), 16);
        assert_eq!(moves(NodeId(1), &shares(&[9, 0, 0]), &led(9, &[]), 16), [], "nobody can");
        assert_eq!(moves(NodeId(2), &shares(&[9, 3, 0]), &led(3, &[1, 3]), 16), [], "it has none");
    }

    proptest! {
        #[test]
        fn all_of_them_together_end_even_and_then_rest(
            counts in prop::collection::vec(0_usize..60, 2..6), moves_max in 1_usize..20,
        ) {
            let mut shares = shares(&counts);
            let nodes: Vec<u32> = shares.keys().map(|node| node.0).collect();
            let mut rounds = 0;
            loop {
                // All decide by the same view, and all do it.
                let all: Vec<_> = shares
                    .iter()
                    .flat_map(|(own, count)| {
                        let led = led(*count, &nodes);
                        moves(*own, &shares, &led, moves_max).into_iter().map(|(_, to)| (*own, to))
                    })
                    .collect();
                if all.is_empty() {
                    break;
                }
                for (from, to) in all {
                    *shares.entry(from).or_default() -= 1;
                    *shares.entry(to).or_default() += 1;
                }
                rounds += 1;
                prop_assert!(rounds < 400, "{shares:?}");
            }
            let (least, most) = (shares.values().min().unwrap(), shares.values().max().unwrap());
            prop_assert!(most - least <= 1, "{shares:?}");
        }
    }
}
