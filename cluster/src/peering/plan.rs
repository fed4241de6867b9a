//! The next step from the members that a group has to those that it is to have: pure.

use crate::{MemberId, Members};
use std::collections::BTreeSet;

/// What a group is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) members: BTreeSet<MemberId>,
    /// The others follow without a vote.
    pub(super) voters_max: usize,
}

/// What its leader does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    AddLearner(MemberId),
    ChangeVoters(BTreeSet<MemberId>),
}

/// The next step; `None` where none is due before somebody has caught up. The number of voters is
/// odd, and grows only: a voter that is not wanted any more stays until another takes its place.
pub(super) fn next(
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
    let stay = members.voters.intersection(&wanted.members);
    let rise = members.learners.intersection(&wanted.members);
    let rise = rise.filter(|learner| caught_up.contains(learner));
    let mut voters: Vec<MemberId> = stay.chain(rise).copied().take(wanted.voters_max).collect();
    if voters.len().is_multiple_of(2) {
        voters.pop();
    }
    let voters: BTreeSet<MemberId> = voters.into_iter().collect();
    let is_worth_it = voters.len() >= members.voters.len() && voters != members.voters;
    is_worth_it.then_some(Step::ChangeVoters(voters))
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
        Wanted { members: set(nodes), voters_max }
    }

    #[test]
    fn learners_come_first_and_vote_once_they_make_the_number_odd() {
        let three = wanted(&[1, 2, 3], 5);
        let step = |members: &Members, caught_up: &[u32]| next(members, &set(caught_up), &three);
        let first = MemberId::first;
        assert_eq!(step(&members(&[1], &[]), &[1]), Some(Step::AddLearner(first(NodeId(2)))));
        assert_eq!(step(&members(&[1], &[2]), &[1, 2]), Some(Step::AddLearner(first(NodeId(3)))));
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
