//! The next step from the members that a group has to those that it is to have: pure.

use crate::{MemberId, Members};
use std::collections::BTreeSet;

/// What a group is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) members: BTreeSet<MemberId>,
    /// The others follow without a vote.
    pub(super) voters_max: usize,
    /// Where it has more voters than this, it may have fewer.
    pub(super) voters_min: usize,
    /// Those that vote only where there are too few others.
    pub(super) avoided: BTreeSet<MemberId>,
}

/// What its leader does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    AddLearner(MemberId),
    ChangeVoters(BTreeSet<MemberId>),
    /// The leader is not wanted any more: one of these is to lead.
    HandOver(BTreeSet<MemberId>),
    /// These follow no more.
    Forget(BTreeSet<MemberId>),
}

/// The next step of the leader `own`; `None` where none is due before somebody has caught up. The
/// number of voters is odd, and falls only to what is wanted: a voter that is not wanted any more
/// stays until another takes its place. Only where the only voter goes, two vote for a moment.
pub(super) fn next(
    own: MemberId,
    members: &Members,
    caught_up: &BTreeSet<MemberId>,
    wanted: &Wanted,
) -> Option<Step> {
    if !members.is_settled {
        // What another leader began is ended first, as it may hold up everything else.
        return Some(Step::ChangeVoters(members.voters.clone()));
    }
    if let Some(new) = wanted.members.iter().find(|member| !members.contains(**member)) {
        return Some(Step::AddLearner(*new));
    }
    let stay: BTreeSet<_> = members.voters.intersection(&wanted.members).copied().collect();
    let rise = members.learners.intersection(&wanted.members);
    let rise: BTreeSet<_> = rise.filter(|one| caught_up.contains(one)).copied().collect();
    if !wanted.members.contains(&own) && members.voters.contains(&own) {
        let heirs: BTreeSet<_> = stay.intersection(caught_up).copied().collect();
        return match (heirs.is_empty(), rise.first()) {
            (false, _) => Some(Step::HandOver(heirs)),
            (true, Some(heir)) if members.voters.len() == 1 => {
                Some(Step::ChangeVoters(BTreeSet::from([own, *heir])))
            }
            (true, _) => None,
        };
    }
    let is_avoided = |member: &&MemberId| wanted.avoided.contains(member);
    let first = stay.iter().chain(&rise).filter(|member| !is_avoided(member));
    let last = stay.iter().filter(is_avoided);
    let mut voters: Vec<MemberId> = first.chain(last).copied().take(wanted.voters_max).collect();
    if voters.len().is_multiple_of(2) {
        voters.pop();
    }
    let voters: BTreeSet<MemberId> = voters.into_iter().collect();
    // Who is not there would hold up the change.
    let is_able = voters.intersection(caught_up).count() > voters.len() / 2;
    let are_enough = voters.len() >= members.voters.len().min(wanted.voters_min);
    if are_enough && is_able && voters != members.voters {
        return Some(Step::ChangeVoters(voters));
    }
    let gone: BTreeSet<_> = members.learners.difference(&wanted.members).copied().collect();
    (!gone.is_empty()).then_some(Step::Forget(gone))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::NodeId;
    use proptest::prelude::*;

    fn set(nodes: &[u32]) -> BTreeSet<MemberId> {
        nodes.iter().map(|node| MemberId::first(NodeId(*node))).collect()
    }

    fn members(voters: &[u32], learners: &[u32]) -> Members {
        Members { voters: set(voters), learners: set(learners), is_settled: true }
    }

    fn wanted(nodes: &[u32], voters_max: usize) -> Wanted {
        let (members, voters_min, avoided) = (set(nodes), usize::MAX, BTreeSet::new());
        Wanted { members, voters_max, voters_min, avoided }
    }

    fn first(node: u32) -> MemberId {
        MemberId::first(NodeId(node))
    }

    fn next(members: &Members, caught_up: &BTreeSet<MemberId>, wanted: &Wanted) -> Option<Step> {
        super::next(first(1), members, caught_up, wanted)
    }

    #[test]
    fn learners_come_first_and_vote_once_they_make_the_number_odd() {
        let three = wanted(&[1, 2, 3], 5);
        let step = |members: &Members, caught_up: &[u32]| next(members, &set(caught_up), &three);
        assert_eq!(step(&members(&[1], &[]), &[1]), Some(Step::AddLearner(first(2))));
        assert_eq!(step(&members(&[1], &[2]), &[1, 2]), Some(Step::AddLearner(first(3))));
        assert_eq!(step(&members(&[1], &[2, 3]), &[1, 2]), None);
        let all = Some(Step::ChangeVoters(set(&[1, 2, 3])));
        assert_eq!(step(&members(&[1], &[2, 3]), &[1, 2, 3]), all);
        assert_eq!(step(&members(&[1, 2, 3], &[]), &[1]), None);
        assert_eq!(next(&members(&[1], &[2]), &set(&[1, 2]), &wanted(&[1, 2], 5)), None);
    }

    #[test]
    fn of_many_nodes_a_few_vote() {
        let seven = wanted(&[1, 2, 3, 4, 5, 6, 7], 5);
        let now = members(&[1, 2, 3], &[4, 5, 6, 7]);
        let voters = Some(Step::ChangeVoters(set(&[1, 2, 3, 5, 6])));
        assert_eq!(next(&now, &set(&[1, 5, 6, 7]), &seven), voters);
        assert_eq!(next(&now, &set(&[1, 7]), &seven), None);
    }

    #[test]
    fn a_voter_that_is_gone_stays_until_another_takes_its_place() {
        let now = members(&[1, 2, 3], &[4]);
        let without = wanted(&[1, 2, 4], 5);
        assert_eq!(next(&now, &set(&[1, 2]), &without), None);
        let replaced = Some(Step::ChangeVoters(set(&[1, 2, 4])));
        assert_eq!(next(&now, &set(&[1, 2, 4]), &without), replaced);
        let half = Members { is_settled: false, ..now };
        assert_eq!(next(&half, &set(&[1]), &without), Some(Step::ChangeVoters(set(&[1, 2, 3]))));
        let after = members(&[1, 2, 4], &[3]);
        assert_eq!(next(&after, &set(&[1, 2, 4]), &without), Some(Step::Forget(set(&[3]))));
    }

    #[test]
    fn a_leader_that_goes_has_another_lead_first() {
        let (own, without) = (first(3), wanted(&[1, 2, 4], 3));
        let step = |now: &Members, caught_up: &[u32], wanted: &Wanted| {
            super::next(own, now, &set(caught_up), wanted)
        };
        let now = members(&[1, 2, 3], &[4]);
        assert_eq!(step(&now, &[1, 3], &without), Some(Step::HandOver(set(&[1]))));
        assert_eq!(step(&now, &[3, 4], &without), None);
        // The only voter that goes has one vote beside it for a moment.
        let alone = Wanted { voters_min: 1, ..wanted(&[4], 1) };
        let two = Some(Step::ChangeVoters(set(&[3, 4])));
        assert_eq!(step(&members(&[3], &[4]), &[3], &alone), None);
        assert_eq!(step(&members(&[3], &[4]), &[3, 4], &alone), two);
        let both = members(&[3, 4], &[]);
        assert_eq!(step(&both, &[3, 4], &alone), Some(Step::HandOver(set(&[4]))));
        let one = super::next(first(4), &both, &set(&[3, 4]), &alone);
        assert_eq!(one, Some(Step::ChangeVoters(set(&[4]))));
    }

    #[test]
    fn the_number_of_voters_falls_to_what_is_wanted_and_no_further() {
        let now = members(&[1, 2, 3, 4, 5], &[]);
        let three = Wanted { voters_min: 3, ..wanted(&[1, 2, 5], 3) };
        let fewer = Some(Step::ChangeVoters(set(&[1, 2, 5])));
        assert_eq!(next(&now, &set(&[1, 2]), &three), fewer);
        assert_eq!(next(&now, &set(&[1]), &three), None, "they could not agree");
        // Of the catalog's voters one that is gone stays where nobody takes its place.
        let gone = members(&[1, 2, 3], &[]);
        assert_eq!(next(&gone, &set(&[1, 2]), &wanted(&[1, 2], 5)), None);
    }

    #[test]
    fn those_that_are_away_vote_only_where_there_are_too_few_others() {
        let of = |nodes: &[u32]| Wanted { avoided: set(&[3]), ..wanted(nodes, 5) };
        let now = members(&[1, 2, 3], &[4]);
        let others = Some(Step::ChangeVoters(set(&[1, 2, 4])));
        assert_eq!(next(&now, &set(&[1, 2, 4]), &of(&[1, 2, 3, 4])), others);
        assert_eq!(next(&members(&[1, 2, 3], &[]), &set(&[1, 2]), &of(&[1, 2, 3])), None);
    }

    proptest! {
        #[test]
        fn the_steps_end_with_as_many_voters_as_there_can_be(nodes in 1_u32..9, max in 1_usize..6) {
            let all: Vec<u32> = (1..=nodes).collect();
            let wanted = wanted(&all, max);
            let mut now = members(&[1], &[]);
            let mut steps = 0;
            while let Some(step) = next(&now, &set(&all), &wanted) {
                match step {
                    Step::AddLearner(member) => drop(now.learners.insert(member)),
                    Step::HandOver(_) | Step::Forget(_) => prop_assert!(false, "{step:?}"),
                    Step::ChangeVoters(voters) => {
                        now.learners = now.voters.union(&now.learners).copied().collect();
                        now.learners.retain(|member| !voters.contains(member));
                        now.voters = voters;
                    }
                }
                prop_assert!(now.voters.len() % 2 == 1);
                steps += 1;
                prop_assert!(steps < 30);
            }
            let most = max.min(all.len());
            prop_assert_eq!(now.voters.len(), most - usize::from(most % 2 == 0));
            prop_assert_eq!(now.voters.len() + now.learners.len(), all.len());
        }
    }
}
