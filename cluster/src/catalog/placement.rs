//! Where the replicas of a tablet go: pure, from what the catalog says, so that every node that
//! applies the same entry comes to the same answer.

use crate::MemberId;
use oribi_model::{NodeId, TabletId};
use std::cmp::Reverse;

/// What a node has been given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Load {
    /// Replicas.
    pub(super) replicas: u32,
    /// Those of them that founded their group.
    pub(super) founded: u32,
    /// Whether it was not heard of for a while: it comes last, and founds nothing.
    pub(super) is_away: bool,
}

/// The nodes that a new tablet gets a replica on, the founder first: as many as the largest odd
/// number that is neither above `wish` nor above the number of nodes. The nodes with the fewest
/// replicas are taken, and of these the one that has founded the fewest groups founds; one that is
/// away only where all are.
pub(super) fn place(
    tablet: TabletId,
    wish: u8,
    nodes: &[(NodeId, Load)],
    away: &[NodeId],
) -> Vec<NodeId> {
    let mut chosen = by_load(tablet, nodes);
    chosen.truncate(odd(wish, nodes.len()));
    chosen.sort_unstable_by_key(|(node, load)| {
        (load.is_away || away.contains(node), load.founded, mix(tablet, *node))
    });
    if let [_, others @ ..] = chosen.as_mut_slice() {
        others.sort_unstable_by_key(|(node, _)| *node);
    }
    chosen.into_iter().map(|(node, _)| node).collect()
}

/// Those nodes of `nodes` that a tablet with these replicas gets more on, so that it has as many as
/// [`place`] would give it. None where it has no fewer.
pub(super) fn grow(
    tablet: TabletId,
    wish: u8,
    present: &[MemberId],
    nodes: &[(NodeId, Load)],
) -> Vec<NodeId> {
    let is_new = |node: &NodeId| present.iter().all(|member| member.node != *node);
    let free: Vec<_> = nodes.iter().copied().filter(|(node, _)| is_new(node)).collect();
    let missing = odd(wish, present.len() + free.len()).saturating_sub(present.len());
    by_load(tablet, &free).into_iter().take(missing).map(|(node, _)| node).collect()
}

fn by_load(tablet: TabletId, nodes: &[(NodeId, Load)]) -> Vec<(NodeId, Load)> {
    let mut nodes = nodes.to_vec();
    nodes.sort_unstable_by_key(|(node, load)| {
        (load.is_away, load.replicas, Reverse(mix(tablet, *node)), *node)
    });
    nodes
}

/// The largest odd number that is above neither; 0 where there is none.
fn odd(wish: u8, nodes: usize) -> usize {
    let most = usize::from(wish).min(nodes);
    if most.is_multiple_of(2) { most.saturating_sub(1) } else { most }
}

/// Decides between equals, for each tablet otherwise (the finaliser of SplitMix64).
fn mix(tablet: TabletId, node: NodeId) -> u64 {
    let mut x = tablet.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(node.0);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    type Loads = BTreeMap<NodeId, Load>;

    fn list(loads: &Loads) -> Vec<(NodeId, Load)> {
        loads.iter().map(|(node, load)| (*node, *load)).collect()
    }

    fn add(loads: &mut Loads, replicas: &[NodeId]) {
        for (at, node) in replicas.iter().enumerate() {
            let load = loads.get_mut(node).unwrap();
            load.replicas += 1;
            load.founded += u32::from(at == 0);
        }
    }

    #[test]
    fn the_number_is_odd_and_no_more_than_there_are_nodes() {
        let wanted = [(1, 5, 1), (3, 1, 1), (3, 2, 1), (3, 3, 3), (3, 9, 3), (5, 4, 3), (5, 5, 5)];
        for (wish, nodes, expected) in wanted.into_iter().chain([(3, 0, 0)]) {
            let nodes: Vec<_> = (1..=nodes).map(|node| (NodeId(node), Load::default())).collect();
            assert_eq!(place(TabletId(7), wish, &nodes, &[]).len(), expected, "{wish} {nodes:?}");
        }
    }

    #[test]
    fn who_is_away_founds_nothing_where_another_can() {
        let nodes: Vec<_> = (1..=3).map(|node| (NodeId(node), Load::default())).collect();
        let two = [NodeId(1), NodeId(3)];
        for tablet in (0..50).map(TabletId) {
            let placed = place(tablet, 3, &nodes, &two);
            assert_eq!((placed[0], placed.len()), (NodeId(2), 3), "it follows once it is back");
            let all = [NodeId(1), NodeId(2), NodeId(3)];
            assert_eq!(place(tablet, 3, &nodes, &all), place(tablet, 3, &nodes, &[]));
        }
    }

    #[test]
    fn a_tablet_that_grows_keeps_what_it_has() {
        let nodes: Vec<_> = (1..=4).map(|node| (NodeId(node), Load::default())).collect();
        let present = [MemberId::first(NodeId(2))];
        let more = grow(TabletId(1), 3, &present, &nodes);
        assert!(more.len() == 2 && !more.contains(&NodeId(2)), "{more:?}");
        assert!(grow(TabletId(1), 1, &present, &nodes).is_empty());
        assert!(grow(TabletId(1), 3, &present, &nodes[1..3]).is_empty());
        let all: Vec<_> = (1..=3).map(|node| MemberId::first(NodeId(node))).collect();
        assert!(grow(TabletId(1), 3, &all, &nodes).is_empty());
        assert!(grow(TabletId(1), 5, &all, &nodes).is_empty());
    }

    proptest! {
        /// Whatever the wishes, no node has much more than another, and no tablet two replicas on
        /// one node.
        #[test]
        fn replicas_and_founders_are_spread(
            nodes in 1_u32..8,
            wishes in prop::collection::vec(prop::sample::select(vec![1_u8, 3, 5]), 1..120),
        ) {
            let mut loads: Loads = (1..=nodes).map(|node| (NodeId(node), Load::default())).collect();
            for (tablet, wish) in wishes.into_iter().enumerate() {
                let tablet = TabletId(tablet as u64 + 1);
                let replicas = place(tablet, wish, &list(&loads), &[]);
                prop_assert_eq!(&replicas, &place(tablet, wish, &list(&loads), &[]));
                let mut distinct = replicas.clone();
                distinct.sort_unstable();
                distinct.dedup();
                prop_assert_eq!(distinct.len(), replicas.len());
                add(&mut loads, &replicas);
                let counts = || loads.values().map(|load| load.replicas);
                prop_assert!(counts().max().unwrap() - counts().min().unwrap() <= 1);
            }
        }
    }

    #[test]
    fn founders_are_spread_where_every_node_has_a_replica() {
        let mut loads: Loads = (1..=3).map(|node| (NodeId(node), Load::default())).collect();
        for tablet in 1..=99 {
            let replicas = place(TabletId(tablet), 3, &list(&loads), &[]);
            add(&mut loads, &replicas);
        }
        assert!(loads.values().all(|load| load.founded == 33), "{loads:?}");
    }
}
