//! Moves, carried out one after the other on tablets that are only counted.

use super::*;
use crate::Incarnation;
use proptest::prelude::*;

const LIMITS: Limits = Limits { to_node: 2, begun: 4 };

fn member(node: u32) -> MemberId {
    MemberId::first(NodeId(node))
}

fn placed(tablet: u64, wish: usize, nodes: &[u32]) -> Placed {
    Placed {
        tablet: TabletId(tablet),
        wish,
        staying: nodes.iter().copied().map(member).collect(),
        leaving: BTreeSet::new(),
        is_settled: true,
        behind: BTreeSet::new(),
        leader: nodes.first().copied().map(NodeId),
    }
}

fn scene(hosts: &[Host], tablets: Vec<Placed>) -> Scene {
    let hosts = hosts.iter().zip(1..).map(|(host, node)| (NodeId(node), *host)).collect();
    Scene { hosts, tablets }
}

fn replace(tablet: u64, from: u32, to: u32) -> Move {
    Move { tablet: TabletId(tablet), from: vec![member(from)], to: vec![NodeId(to)] }
}

use Host::{Drains, Gone, Keeps, Serves};

#[test]
fn what_was_on_a_node_that_is_gone_goes_to_one_that_is_free() {
    let three = placed(1, 3, &[1, 2, 3]);
    let with_spare = scene(&[Serves, Serves, Gone, Serves], vec![three.clone()]);
    assert_eq!(moves(&with_spare, LIMITS), [replace(1, 3, 4)]);
    // Without one nothing helps, and nothing is given up.
    for fourth in [Keeps, Drains, Gone] {
        let none = scene(&[Serves, Serves, Gone, fourth], vec![three.clone()]);
        assert_eq!(moves(&none, LIMITS), [], "{fourth:?}");
    }
}

#[test]
fn a_move_to_a_node_that_is_gone_is_taken_back_or_goes_elsewhere() {
    let mut on_its_way = placed(1, 3, &[1, 2, 4]);
    on_its_way.leaving.insert(member(3));
    on_its_way.behind.insert(member(4));
    let all = scene(&[Serves; 5], vec![on_its_way.clone()]);
    assert_eq!(moves(&all, LIMITS), []);
    let back = scene(&[Serves, Serves, Serves, Gone, Serves], vec![on_its_way.clone()]);
    assert_eq!(moves(&back, LIMITS), [replace(1, 4, 3)]);
    let further = scene(&[Serves, Serves, Gone, Gone, Serves], vec![on_its_way]);
    assert_eq!(moves(&further, LIMITS), [replace(1, 4, 5)]);
}

#[test]
fn a_node_that_is_drained_is_emptied_a_few_at_a_time() {
    let tablets = (1..=9).map(|tablet| placed(tablet, 3, &[1, 2, 3])).collect();
    let begun = moves(&scene(&[Serves, Serves, Drains, Serves], tablets), LIMITS);
    assert_eq!(begun, [replace(1, 3, 4), replace(2, 3, 4)]);
}

#[test]
fn tablets_follow_the_wish_of_their_table_as_far_as_there_are_nodes() {
    let of = |hosts: &[Host], wish, nodes: &[u32]| {
        moves(&scene(hosts, vec![placed(2, wish, nodes)]), LIMITS)
    };
    let to = |nodes: &[u32]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let grown = of(&[Serves; 5], 3, &[1]);
    assert_eq!((grown.len(), grown[0].from.len(), grown[0].to.len()), (1, 0, 2));
    assert_eq!(of(&[Serves; 2], 3, &[1]), []);
    let five = of(&[Serves; 5], 5, &[1, 2, 3]);
    assert_eq!(five[0].to.iter().copied().collect::<BTreeSet<_>>(), to(&[4, 5]));
    // The leader stays, and who is gone goes.
    let fewer = of(&[Serves, Serves, Serves, Gone, Serves], 3, &[5, 4, 3, 2, 1]);
    assert!(fewer[0].from.contains(&member(4)) && !fewer[0].from.contains(&member(5)));
    assert_eq!((fewer[0].from.len(), &fewer[0].to), (2, &vec![]));
    assert_eq!(of(&[Serves; 3], 1, &[2, 1, 3])[0].from, [member(1), member(3)]);
}

#[test]
fn nothing_moves_for_nothing() {
    let even = || vec![placed(1, 3, &[1, 2, 3]), placed(2, 3, &[1, 2, 4])];
    assert_eq!(moves(&scene(&[Serves; 4], even()), LIMITS), []);
    let uneven: Vec<Placed> = (1..=4).map(|tablet| placed(tablet, 3, &[1, 2, 3])).collect();
    assert_eq!(moves(&scene(&[Serves; 4], uneven.clone()), LIMITS).len(), 2);
    // Whoever was not heard of for a moment may be back soon.
    assert_eq!(moves(&scene(&[Serves, Serves, Keeps, Serves], uneven), LIMITS), []);
}

/// Carries out what is begun, and looks at every step that a majority lives.
fn carry_out(scene: &mut Scene, begun: Vec<Move>, serial: &mut u32) {
    for one in begun {
        let at = scene.tablets.iter().position(|placed| placed.tablet == one.tablet).unwrap();
        let placed = &mut scene.tablets[at];
        let living_before = |placed: &Placed| {
            placed.staying.iter().filter(|member| scene.hosts[&member.node] != Gone).count()
        };
        let (voters, living) = (placed.staying.len(), living_before(placed));
        for node in one.to {
            *serial += 1;
            assert_eq!(scene.hosts[&node], Serves, "only nodes that serve get replicas");
            placed.staying.push(MemberId { node, incarnation: Incarnation(*serial) });
        }
        placed.staying.retain(|member| !one.from.contains(member));
        let nodes: BTreeSet<NodeId> = placed.staying.iter().map(|member| member.node).collect();
        assert_eq!(nodes.len(), placed.staying.len(), "two replicas on one node");
        let now = living_before(placed);
        assert!(now > placed.staying.len() / 2 || living <= voters / 2, "{placed:?}");
        assert!(placed.staying.len() % 2 == 1, "{placed:?}");
        if !placed.staying.iter().any(|member| Some(member.node) == placed.leader) {
            placed.leader = placed.staying.first().map(|member| member.node);
        }
    }
}

fn hosts() -> impl Strategy<Value = Vec<Host>> {
    let host = prop_oneof![6 => Just(Serves), 1 => Just(Keeps), 1 => Just(Drains), 1 => Just(Gone)];
    prop::collection::vec(host, 3..8)
}

proptest! {
    #[test]
    fn the_moves_end_and_leave_all_as_it_should_be(
        hosts in hosts(),
        tablets in prop::collection::vec((any::<u64>(), 0_usize..3, 0_usize..3), 1..40),
    ) {
        let count = hosts.len() as u64;
        let tablets = tablets.into_iter().zip(1..).map(|((seed, wish, has), tablet)| {
            let has = odd(has * 2 + 1, hosts.len());
            let nodes: Vec<u32> =
                (0..has as u64).map(|at| ((seed % count + at) % count) as u32 + 1).collect();
            placed(tablet, wish * 2 + 1, &nodes)
        });
        let mut now = scene(&hosts, tablets.collect());
        let (mut serial, mut rounds) = (0, 0);
        loop {
            let begun = moves(&now, LIMITS);
            prop_assert_eq!(&begun, &moves(&now, LIMITS));
            prop_assert!(begun.len() <= LIMITS.begun);
            if begun.is_empty() {
                break;
            }
            carry_out(&mut now, begun, &mut serial);
            rounds += 1;
            prop_assert!(rounds < 500, "{now:?}");
        }
        let homes = now.homes();
        let serving = hosts.iter().filter(|host| **host == Serves).count();
        for placed in &now.tablets {
            let bad = placed.staying.iter().filter(|member| {
                matches!(now.hosts[&member.node], Gone | Drains)
            });
            let free = now.hosts.iter().filter(|(node, host)| {
                **host == Serves && !placed.stays_on(**node)
            });
            prop_assert!(bad.count() == 0 || free.count() == 0, "{placed:?} {:?}", now.hosts);
            prop_assert!(placed.staying.len() <= odd(placed.wish, 9), "{placed:?}");
            if serving == hosts.len() {
                prop_assert_eq!(placed.staying.len(), odd(placed.wish, homes));
            }
        }
    }

    /// On nodes that all serve the counts end within one of each other where each tablet may go
    /// anywhere.
    #[test]
    fn replicas_end_even(nodes in 2_u32..7, tablets in 1_u64..60, first in 1_u32..7) {
        let first = first.min(nodes);
        let all = (1..=tablets).map(|tablet| placed(tablet, 1, &[first])).collect();
        let mut now = scene(&vec![Serves; nodes as usize], all);
        let mut serial = 0;
        for _ in 0..200 {
            let begun = moves(&now, LIMITS);
            carry_out(&mut now, begun, &mut serial);
        }
        prop_assert_eq!(moves(&now, LIMITS), []);
        let room = Room::new(&now, LIMITS);
        let loads: Vec<usize> = now.hosts.keys().map(|node| room.load(*node)).collect();
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        prop_assert!(most - least <= 1, "{loads:?}");
    }
}
