use super::*;

/// Trusts all but these, as everybody does.
struct Dead(BTreeSet<u32>);

impl Lives for Dead {
    fn trusts(&self, node: NodeId) -> bool {
        !self.0.contains(&node.0)
    }

    fn is_dead(&self, node: NodeId, _: &BTreeSet<NodeId>) -> bool {
        !self.trusts(node)
    }

    fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|node| self.trusts(**node)).count() > voters.len() / 2
    }
}

fn dead<const N: usize>(nodes: [u32; N]) -> Dead {
    Dead(nodes.into())
}

fn member(node: u32) -> MemberId {
    MemberId::first(NodeId(node))
}

fn vote(term: u64, node: u32, is_elected: bool) -> Option<Vote> {
    Some(Vote { term, member: member(node), is_elected })
}

/// Of three voters, as the replica of this node has it.
fn standing(group: u64, own: u32, vote: Option<Vote>) -> Standing {
    let voters = Arc::new([1, 2, 3].map(member).into_iter().collect());
    Standing {
        group: GroupId(group),
        own: member(own),
        voters,
        vote,
        leads: false,
        is_deserted: false,
    }
}

#[test]
fn a_group_with_a_leader_that_lives_is_left_alone() {
    let mut elections = Elections::default();
    let quiet = [
        standing(1, 2, vote(3, 1, true)),
        standing(2, 2, None),
        Standing { leads: true, ..standing(3, 2, vote(3, 2, true)) },
        Standing {
            voters: Arc::new([member(2)].into_iter().collect()),
            ..standing(4, 2, vote(1, 9, true))
        },
    ];
    for now_ms in (0..2_000).step_by(100) {
        assert_eq!(elections.look(now_ms, &dead([]), &quiet), []);
    }
    assert!(elections.is_settled());
}

#[test]
fn the_voters_of_a_dead_leader_release_it_and_stand_one_after_the_other() {
    let groups: Vec<u64> = (1..=200).collect();
    let mut first = BTreeMap::<u32, usize>::new();
    for group in groups {
        let step_at = |own: u32| {
            let mut elections = Elections::default();
            let standings = [standing(group, own, vote(3, 1, true))];
            let stands = |now_ms: &u64| {
                let steps = elections.look(*now_ms, &dead([1]), &standings);
                let release = Step::Release(GroupId(group), NodeId(1));
                let is_due = (*now_ms - 1_000).is_multiple_of(AGAIN_MS);
                assert_eq!(steps.first() == Some(&release), is_due, "before it stands");
                steps.contains(&Step::Stand(GroupId(group)))
            };
            (1_000..2_000).step_by(10).filter(stands).collect::<Vec<u64>>()
        };
        let turns = [step_at(2), step_at(3)];
        let winner = usize::from(turns[0] > turns[1]);
        assert_eq!(turns[winner], [1_000, 1_300, 1_600, 1_900]);
        assert_eq!(turns[1 - winner], [1_050, 1_350, 1_650, 1_950]);
        *first.entry(winner as u32 + 2).or_default() += 1;
    }
    assert!(first.values().all(|count| *count > 70), "leaders spread: {first:?}");
}

#[test]
fn where_many_groups_are_without_a_leader_later_turns_come_later() {
    let standings: Vec<Standing> =
        (1..=200).map(|group| standing(group, 2, vote(3, 1, true))).collect();
    let mut elections = Elections::default();
    let mut stood = BTreeMap::<GroupId, u64>::new();
    for now_ms in (0..1_000).step_by(10) {
        for step in elections.look(now_ms, &dead([1]), &standings) {
            let Step::Stand(group) = step else { continue };
            stood.entry(group).or_insert(now_ms);
        }
    }
    let firsts = stood.values().filter(|at_ms| **at_ms < TURN_MS).count();
    let seconds = stood.values().filter(|at_ms| **at_ms >= TURN_MS + crowd_ms(200)).count();
    assert_eq!((stood.len(), firsts + seconds), (200, 200), "nobody stands between them");
    assert!(firsts > 70 && seconds > 70, "{firsts} and {seconds}");
}

#[test]
fn who_was_elected_before_its_restart_stands_and_the_others_let_it() {
    let mut elections = Elections::default();
    let own = [standing(1, 1, vote(3, 1, true))];
    assert_eq!(elections.look(10, &dead([]), &own), [Step::Stand(GroupId(1))]);
    let mut others = Elections::default();
    let standings = [standing(1, 2, vote(3, 1, true)), standing(2, 2, vote(9, 3, true))];
    assert_eq!(others.look(10, &dead([]), &standings), []);
    others.restarted(NodeId(1));
    assert!(!others.is_settled());
    let release = [Step::Release(GroupId(1), NodeId(1))];
    assert_eq!(others.look(20, &dead([]), &standings), release);
    assert_eq!(others.look(30, &dead([]), &standings), [], "once");
}

#[test]
fn a_candidacy_that_gets_nowhere_is_followed_by_another() {
    let mut elections = Elections::default();
    let stuck = [standing(1, 1, vote(4, 1, false))];
    assert_eq!(elections.look(0, &dead([]), &stuck), []);
    assert_eq!(elections.look(299, &dead([]), &stuck), []);
    assert_eq!(elections.look(300, &dead([]), &stuck), [Step::Stand(GroupId(1))]);
    // A new vote is a new matter.
    let next = [standing(1, 1, vote(5, 3, false))];
    assert_eq!(elections.look(310, &dead([]), &next), []);
    assert!(elections.look(720, &dead([]), &next).contains(&Step::Stand(GroupId(1))));
    assert_eq!(elections.look(730, &dead([]), &[standing(1, 1, vote(5, 3, true))]), []);
    assert!(elections.is_settled());
}

#[test]
fn nobody_stands_without_a_majority_or_without_a_vote_of_its_own() {
    let mut elections = Elections::default();
    let standings = [standing(1, 2, vote(3, 1, true))];
    let steps = elections.look(0, &dead([1, 3]), &standings);
    assert_eq!(steps, [Step::Release(GroupId(1), NodeId(1))]);
    let learner = [standing(1, 4, vote(3, 1, true))];
    let release = [Step::Release(GroupId(1), NodeId(1))];
    assert_eq!(elections.look(1_000, &dead([1]), &learner), release);
}

#[test]
fn where_votes_take_long_candidacies_come_further_apart_and_never_end() {
    let mut elections = Elections::default();
    let mut stood = Vec::new();
    for now_ms in (0..60_000).step_by(10) {
        // Each candidacy of its own has brought a new vote and nothing else.
        let term = 4 + stood.len() as u64;
        let steps = elections.look(now_ms, &dead([]), &[standing(1, 1, vote(term, 1, false))]);
        stood.extend(steps.contains(&Step::Stand(GroupId(1))).then_some(now_ms));
    }
    let pauses: Vec<u64> = stood.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses.is_sorted() && pauses.len() > 10, "{pauses:?}");
    assert_eq!((pauses[0], pauses.last()), (310, Some(&4_810)));
}

#[test]
fn many_elections_begin_some_at_a_time() {
    let mut elections = Elections::default();
    let standings: Vec<Standing> =
        (1..=150).map(|group| standing(group, 1, vote(3, 1, true))).collect();
    let mut stood = BTreeSet::new();
    for now_ms in [0, 10, 20] {
        let steps = elections.look(now_ms, &dead([]), &standings);
        assert!(steps.len() <= STANDING_MAX);
        let groups = steps.into_iter().filter_map(|step| match step {
            Step::Stand(group) => Some(group),
            Step::Release(..) => None,
        });
        stood.extend(groups);
    }
    assert_eq!(stood.len(), 150);
}
