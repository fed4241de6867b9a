//! The machine by tables: what is suspected when, and when it is trusted again. Whole clusters of
//! it run in the simulation.

mod threads;

use super::*;
use crate::Boot;
use oribi_model::NodeId;
use proptest::prelude::*;
use std::collections::BTreeSet;

const PEER: NodeId = NodeId(2);

fn nodes(ids: impl IntoIterator<Item = u32>) -> BTreeSet<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// Node 1 in its third run, watching these peers from time 0 on.
fn watching(peers: impl IntoIterator<Item = u32>) -> Liveness {
    let mut liveness = Liveness::new(NodeId(1), Boot(3), 0);
    liveness.step(0, Event::Peers(nodes(peers)));
    liveness
}

/// The ping of a peer which has got that of node 1 with number `echo`.
fn ping(number: u64, echo: u64) -> Ping {
    let echo = (echo > 0).then_some(Echo { boot: Boot(3), number: echo });
    Ping { boot: Boot(1), number, echo, health: Health::default(), trusted: nodes([1, 3]) }
}

/// What changed in the view, without pings and what is done about it.
fn changes(actions: Vec<Action>) -> Vec<Action> {
    let beside = |action: &Action| {
        matches!(action, Action::Ping(..) | Action::BreakOff(_) | Action::Differs(_))
    };
    actions.into_iter().filter(|action| !beside(action)).collect()
}

/// Steps at every due time up to `until_ms`, with the disk proved; the peers in `answering` answer
/// each ping at once.
fn run(liveness: &mut Liveness, until_ms: u64, answering: &[u32]) -> Vec<(u64, Action)> {
    let mut seen = Vec::new();
    while liveness.next_ms() <= until_ms {
        let now_ms = liveness.next_ms();
        let mut actions = liveness.step(now_ms, Event::DiskProved);
        let answers: Vec<_> = actions
            .iter()
            .filter_map(|action| match action {
                Action::Ping(to, sent) if answering.contains(&to.0) => Some((*to, sent.number)),
                _ => None,
            })
            .collect();
        for (from, number) in answers {
            actions.extend(liveness.step(now_ms, Event::Pinged(from, ping(number, number))));
        }
        seen.extend(changes(actions).into_iter().map(|action| (now_ms, action)));
    }
    seen
}

#[test]
fn a_peer_that_goes_on_to_answer_is_connected_whatever_was_told_last() {
    let mut liveness = watching([2]);
    run(&mut liveness, 1_000, &[2]);
    liveness.step(1_000, Event::Linked(PEER));
    // Of the connection before that one, and told late.
    liveness.step(1_000, Event::Cut(PEER));
    run(&mut liveness, 2_000, &[2]);
    assert_eq!(liveness.doubt(PEER), None);
}

#[test]
fn a_peer_that_answers_is_trusted_and_one_that_does_not_is_not() {
    let mut liveness = watching([2, 3]);
    assert_eq!(run(&mut liveness, 5_000, &[2]), [(401, Action::Suspect(NodeId(3), Doubt::Silent))]);
    assert!(liveness.trusts(PEER) && !liveness.trusts(NodeId(3)));
    // The last ping that was answered was sent at 4,901.
    let silent = run(&mut liveness, 6_000, &[]);
    assert_eq!(silent, [(5_302, Action::Suspect(PEER, Doubt::Silent))]);
    let back = run(&mut liveness, 7_000, &[2, 3]);
    assert_eq!(back, [(6_202, Action::Trust(PEER)), (6_202, Action::Trust(NodeId(3)))]);
}

#[test]
fn others_are_told_at_once_of_whom_a_node_suspects_and_trusts() {
    let mut liveness = watching([2, 3]);
    run(&mut liveness, 1_000, &[2, 3]);
    liveness.step(1_010, Event::Cut(PEER));
    let pinged = |actions: &[Action], to| {
        let ping = actions.iter().find_map(|action| match action {
            Action::Ping(node, ping) if *node == NodeId(to) => Some(ping.clone()),
            _ => None,
        });
        ping.map(|ping| (ping.trusted, ping.number))
    };
    let actions = liveness.step(1_013, Event::Refused(PEER));
    let (trusted, number) = pinged(&actions, 3).unwrap();
    assert_eq!(trusted, nodes([3]));
    assert!(liveness.next_ms() <= 1_013 + PING_MS);
    // It is answered at once, too: who hears of another opinion looks at what follows.
    let answer = Ping { trusted: nodes([1]), ..ping(number, number) };
    let heard = liveness.step(1_014, Event::Pinged(NodeId(3), answer.clone()));
    assert!(heard.contains(&Action::Differs(NodeId(3))));
    assert!(liveness.is_dead(PEER, &nodes([1, 2, 3])));
    let same = Ping { number: number + 1, ..answer };
    assert_eq!(liveness.step(1_015, Event::Pinged(NodeId(3), same)), []);
}

#[test]
fn the_connections_of_a_suspected_peer_are_given_up_again_and_again() {
    let mut liveness = watching([2, 3]);
    run(&mut liveness, 1_000, &[2, 3]);
    let mut broken = Vec::new();
    for now_ms in (1_100..=6_000).step_by(100) {
        let actions = liveness.step(now_ms, Event::DiskProved);
        broken.extend(actions.contains(&Action::BreakOff(PEER)).then_some(now_ms));
        let answer = ping(now_ms, now_ms / 100);
        let _ = liveness.step(now_ms, Event::Pinged(NodeId(3), answer));
        assert!(!actions.contains(&Action::BreakOff(NodeId(3))));
    }
    assert_eq!(broken, [1_500, 3_600, 5_700]);
}

#[test]
fn hearing_a_peer_that_does_not_hear_this_node_is_not_enough() {
    let mut liveness = watching([2]);
    run(&mut liveness, 100, &[2]);
    let mut seen = Vec::new();
    for number in 10..20 {
        // It goes on to speak, and has got nothing since.
        let now_ms = number * 100;
        seen.extend(changes(liveness.step(now_ms, Event::Pinged(PEER, ping(number, 2)))));
        seen.extend(changes(liveness.step(now_ms, Event::DiskProved)));
    }
    assert_eq!(seen, [Action::Suspect(PEER, Doubt::Silent)]);
}

#[test]
fn nobody_is_silent_while_this_node_comes_late() {
    let mut liveness = watching([2]);
    run(&mut liveness, 1_000, &[2]);
    // Each time it gets a processor 250 ms later than it asked for, and no answer before.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let late_ms = liveness.next_ms() + 250;
        seen.extend(changes(liveness.step(late_ms, Event::Tick)));
        assert!(liveness.trusts(PEER), "after {late_ms} ms");
    }
    // It was on time again, and has waited for long enough itself.
    let until_ms = liveness.next_ms() + SUSPECT_MS;
    seen.extend(run(&mut liveness, until_ms, &[]).into_iter().map(|(_, change)| change));
    assert_eq!(seen, [Action::Suspect(PEER, Doubt::Silent)]);
}

#[test]
fn a_peer_that_comes_late_is_trusted_as_long_as_it_is_heard() {
    let mut liveness = watching([2]);
    // What it hears it says 600 ms later.
    let mut said = Vec::<(u64, u64)>::new();
    for now_ms in (100..=5_000).step_by(100) {
        let pinged = liveness.step(now_ms, Event::DiskProved);
        said.extend(pinged.into_iter().filter_map(|action| match action {
            Action::Ping(_, sent) => Some((now_ms, sent.number)),
            _ => None,
        }));
        let got = said.iter().rev().find(|(at_ms, _)| at_ms + 600 <= now_ms);
        let echo = got.map_or(0, |(_, number)| *number);
        let heard = liveness.step(now_ms, Event::Pinged(PEER, ping(now_ms, echo)));
        assert_eq!((changes(heard), liveness.trusts(PEER)), (vec![], true), "at {now_ms} ms");
    }
}

#[test]
fn one_connection_that_breaks_says_nothing_while_pings_come_back() {
    let mut liveness = watching([2]);
    run(&mut liveness, 1_000, &[2]);
    let sent = liveness.step(1_010, Event::Cut(PEER)).into_iter().find_map(|action| match action {
        Action::Ping(_, sent) => Some(sent.number),
        _ => None,
    });
    // With the next ping of the peer, whose turn has just been.
    let echo = sent.expect("it pings at once");
    liveness.step(1_015 + PING_MS, Event::Pinged(PEER, ping(echo, echo)));
    assert_eq!(run(&mut liveness, 3_000, &[2]), []);
}

#[test]
fn what_was_said_long_ago_proves_nothing() {
    let mut liveness = watching([2]);
    run(&mut liveness, 500, &[]);
    assert!(!liveness.trusts(PEER));
    // All answers come at once, as after a jam; each is of a ping sent before it.
    for number in 1..=6 {
        liveness.step(1_300, Event::Pinged(PEER, ping(number, number)));
    }
    assert!(!liveness.trusts(PEER));
}

#[test]
fn a_closed_connection_is_mended_once_before_it_counts() {
    let mut liveness = watching([2]);
    run(&mut liveness, 1_000, &[2]);
    let cut = |liveness: &mut Liveness, at_ms| changes(liveness.step(at_ms, Event::Cut(PEER)));
    assert_eq!(cut(&mut liveness, 1_001), [Action::Reconnect(PEER)]);
    assert_eq!(cut(&mut liveness, 1_001), [], "the other connections break with it");
    assert_eq!(changes(liveness.step(1_020, Event::Linked(PEER))), []);
    assert!(liveness.trusts(PEER));

    assert_eq!(cut(&mut liveness, 1_030), [Action::Reconnect(PEER)]);
    let gone = [Action::Suspect(PEER, Doubt::Gone)];
    assert_eq!(changes(liveness.step(1_033, Event::Refused(PEER))), gone);
    assert_eq!(changes(liveness.step(1_040, Event::Linked(PEER))), [], "that proves little");
    assert_eq!(run(&mut liveness, 1_400, &[2]), [(1_333, Action::Trust(PEER))]);

    assert_eq!(cut(&mut liveness, 1_434), [Action::Reconnect(PEER)]);
    assert_eq!(run(&mut liveness, 1_590, &[]), [(1_585, gone[0].clone())]);
    // One that was never connected is merely silent.
    let mut liveness = watching([2]);
    assert_eq!(changes(liveness.step(10, Event::Refused(PEER))), []);
}

#[test]
fn a_stalled_disk_is_told_of_and_suspected() {
    let mut liveness = watching([2]);
    run(&mut liveness, 1_000, &[2]);
    let with = |number, disk_age_ms| {
        let health = Health { disk_age_ms, ..Health::default() };
        Event::Pinged(PEER, Ping { health, ..ping(number, number) })
    };
    assert_eq!(changes(liveness.step(1_010, with(50, STALL_MS as u32))), []);
    let stalled = [Action::Suspect(PEER, Doubt::Stalled)];
    assert_eq!(changes(liveness.step(1_020, with(51, STALL_MS as u32 + 1))), stalled);
    assert_eq!(liveness.health(PEER).unwrap().disk_age_ms, STALL_MS as u32 + 1);

    // This node's own: its pings say so, and it does not count itself.
    let mut liveness = watching([2]);
    let mut ages = Vec::new();
    for now_ms in (100..=2_100).step_by(100) {
        let pings = liveness.step(now_ms, Event::Tick);
        ages.extend(pings.into_iter().find_map(|action| match action {
            Action::Ping(_, ping) => Some(ping.health.disk_age_ms),
            _ => None,
        }));
    }
    assert_eq!(ages, (1..=21).map(|age| age * 100).collect::<Vec<_>>());
    assert!(liveness.is_stalled() && !liveness.trusts(NodeId(1)));
    liveness.step(2_150, Event::DiskProved);
    assert!(liveness.trusts(NodeId(1)));
}

#[test]
fn a_node_that_stood_still_suspects_nobody_before_it_has_listened() {
    let mut liveness = watching([2, 3]);
    run(&mut liveness, 1_000, &[2, 3]);
    let actions = liveness.step(61_000, Event::Tick);
    assert_eq!(changes(actions.clone()), []);
    assert_eq!(actions.len(), 2, "it pings at once");
    assert_eq!(changes(liveness.step(61_001, Event::Cut(PEER))), [Action::Reconnect(PEER)]);
    assert_eq!(changes(liveness.step(61_002, Event::Refused(PEER))), []);
    let found = run(&mut liveness, 62_000, &[3]);
    assert_eq!(found, [(61_400, Action::Suspect(PEER, Doubt::Gone))]);
}

#[test]
fn a_new_run_is_told_of_and_old_ones_are_not_heard() {
    let mut liveness = watching([2]);
    run(&mut liveness, 200, &[2]);
    let restarted = Ping { boot: Boot(2), ..ping(1, 0) };
    let told = [Action::Restarted(PEER, Boot(2))];
    assert_eq!(changes(liveness.step(210, Event::Pinged(PEER, restarted.clone()))), told);
    assert_eq!(changes(liveness.step(211, Event::Pinged(PEER, restarted))), [], "once");
    assert_eq!(liveness.boot_of(PEER), Some(Boot(2)));
    let late = Ping { trusted: nodes([7]), ..ping(90, 3) };
    liveness.step(212, Event::Pinged(PEER, late));
    assert_eq!(liveness.boot_of(PEER), Some(Boot(2)));
    // What it says to have got is of an earlier run of this node, and proves nothing.
    let echo = Some(Echo { boot: Boot(2), number: 99 });
    for number in 2..16 {
        let ping = Ping { boot: Boot(2), echo, ..ping(number, 0) };
        liveness.step(210 + number * 60, Event::Pinged(PEER, ping));
    }
    assert!(!liveness.trusts(PEER));
}

#[test]
fn a_majority_decides_who_is_dead() {
    let three = nodes([1, 2, 3]);
    let mut liveness = watching([2, 3]);
    run(&mut liveness, 300, &[2, 3]);
    assert!(liveness.trusts_majority(&three));
    run(&mut liveness, 900, &[2]);
    // Node 2 still says that it trusts 3.
    assert!(!liveness.trusts(NodeId(3)) && !liveness.is_dead(NodeId(3), &three));
    let agreeing = |number, trusted| Ping { trusted, ..ping(number, number) };
    liveness.step(901, Event::Pinged(PEER, agreeing(90, nodes([1]))));
    assert!(liveness.is_dead(NodeId(3), &three));
    assert!(!liveness.is_dead(NodeId(3), &nodes([1, 3, 4, 5])), "2 holds no voter there");
    assert!(!liveness.is_dead(PEER, &three), "this node trusts it");
    assert!(liveness.is_dead(NodeId(9), &nodes([1])), "whom nobody knows nobody trusts");
    run(&mut liveness, 2_000, &[]);
    assert!(!liveness.is_dead(NodeId(3), &three), "2 says nothing any more");
    assert!(!liveness.trusts_majority(&three) && liveness.trusts_majority(&nodes([1])));
}

proptest! {
    #[test]
    fn pings_come_out_as_they_went_in(
        (boot, number, echo) in (any::<u64>(), 1..u64::MAX, (any::<u64>(), any::<u64>())),
        health in (any::<u32>(), any::<u16>(), any::<u64>(), any::<i64>(), any::<bool>()),
        trusted in prop::collection::btree_set(any::<u32>(), 0..20),
        more in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let echo = (echo.1 > 0).then_some(Echo { boot: Boot(echo.0), number: echo.1 });
        let (disk_age_ms, memtables_permille, catalog_index, clock_ns, leaves_lead) = health;
        let health =
            Health { disk_age_ms, memtables_permille, catalog_index, clock_ns, leaves_lead };
        let ping = Ping { boot: Boot(boot), number, echo, health, trusted: nodes(trusted) };
        let encoded = ping.encode();
        prop_assert_eq!(Ping::decode(&encoded), Some(ping.clone()));
        prop_assert_eq!(Ping::decode(&[&encoded[..], &more].concat()), Some(ping.clone()));
        // That of a version that did not know of leaving.
        let before = Ping { health: Health { leaves_lead: false, ..ping.health }, ..ping };
        prop_assert_eq!(Ping::decode(&encoded[..encoded.len() - 1]), Some(before));
        prop_assert_eq!(Ping::decode(&encoded[..encoded.len() - 2]), None);
    }

    #[test]
    fn any_bytes_may_come_as_a_ping(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        if let Some(ping) = Ping::decode(&bytes) {
            let mut liveness = watching([2]);
            liveness.step(1, Event::Pinged(PEER, ping));
            prop_assert!(liveness.next_ms() > 1);
        }
    }
}
