//! Who is asked for a group: the newest leader that anybody has named, or else whose turn it is.

use crate::{Assignment, MemberId};
use oribi_store::log::GroupId;
use std::collections::HashMap;

/// Who was elected to lead a group, and in which term. The greater one is newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hint {
    pub(crate) term: u64,
    pub(crate) member: MemberId,
}

/// What an answer said that somebody does not lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// Who leads instead, newer than anything known before: to be asked at once.
    Leader,
    /// Nothing new: another member has its turn, and it is better to wait a little.
    None,
}

/// What is known of the leaders of groups.
#[derive(Debug, Default)]
pub(crate) struct Leaders {
    groups: HashMap<GroupId, Known>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Known {
    /// The newest leader that an answer has named.
    hint: Option<Hint>,
    turn: Option<Turn>,
}

/// A member that is asked although another was named.
#[derive(Debug, Clone, Copy)]
struct Turn {
    member: MemberId,
    /// What was known then: anything newer ends the turn.
    since: Option<Hint>,
}

impl Leaders {
    /// Who is asked next. `own` is the leader that the replica on this node has elected, if there
    /// is one.
    pub(crate) fn of(
        &self,
        group: GroupId,
        own: Option<Hint>,
        assignment: &Assignment,
    ) -> MemberId {
        let known = self.groups.get(&group).copied().unwrap_or_default();
        let newest = known.hint.max(own);
        match known.turn {
            Some(turn) if turn.since >= newest => turn.member,
            _ => newest.map_or(assignment.founder(), |hint| hint.member),
        }
    }

    /// Notes that `asked` does not lead or cannot be reached, and whom it named.
    pub(crate) fn note(
        &mut self,
        group: GroupId,
        asked: MemberId,
        (named, own): (Option<Hint>, Option<Hint>),
        assignment: &Assignment,
    ) -> News {
        let known = self.groups.entry(group).or_default();
        let newest = known.hint.max(own);
        if named > newest && named.is_some_and(|hint| hint.member != asked) {
            *known = Known { hint: named, turn: None };
            return News::Leader;
        }
        // Where the replica here has heard more since, that one is asked.
        if newest.is_some_and(|hint| hint.member != asked)
            && known.turn.is_none_or(|turn| turn.since < newest)
        {
            known.turn = None;
            return News::Leader;
        }
        let member = after(asked, assignment);
        known.turn = Some(Turn { member, since: newest.max(named) });
        News::None
    }

    /// Forgets groups that are gone.
    pub(crate) fn keep(&mut self, is_there: impl Fn(GroupId) -> bool) {
        self.groups.retain(|group, _| is_there(*group));
    }
}

/// The member behind this one, in turn.
fn after(asked: MemberId, assignment: &Assignment) -> MemberId {
    let voters = assignment.voters();
    let behind = voters.iter().find(|member| **member > asked).or_else(|| voters.first());
    behind.copied().unwrap_or(assignment.founder())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::NodeId;

    const GROUP: GroupId = GroupId(7);

    fn member(node: u32) -> MemberId {
        MemberId::first(NodeId(node))
    }

    fn three() -> Assignment {
        Assignment::new(member(2), vec![member(1), member(3)])
    }

    fn hint(term: u64, node: u32) -> Option<Hint> {
        Some(Hint { term, member: member(node) })
    }

    #[test]
    fn the_newest_leader_named_is_asked_and_the_founder_where_none_was() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.of(GROUP, None, &three()), member(2));
        assert_eq!(leaders.of(GROUP, hint(1, 3), &three()), member(3));
        assert_eq!(leaders.note(GROUP, member(2), (hint(4, 1), None), &three()), News::Leader);
        assert_eq!(leaders.of(GROUP, None, &three()), member(1));
        assert_eq!(leaders.of(GROUP, hint(3, 3), &three()), member(1));
        assert_eq!(leaders.of(GROUP, hint(5, 3), &three()), member(3));
        assert_eq!(leaders.of(GroupId(8), None, &three()), member(2), "another group");
        leaders.keep(|group| group != GROUP);
        assert_eq!(leaders.of(GROUP, None, &three()), member(2));
    }

    #[test]
    fn without_news_each_has_its_turn() {
        let mut leaders = Leaders::default();
        // Node 1 is dead, and the others still name it.
        let own = hint(4, 1);
        let mut asked = Vec::new();
        for _ in 0..6 {
            let next = leaders.of(GROUP, own, &three());
            assert_eq!(leaders.note(GROUP, next, (hint(4, 1), own), &three()), News::None);
            asked.push(next.node.0);
        }
        assert_eq!(asked, [1, 2, 3, 1, 2, 3]);
        // One was elected: whoever hears of it first, it is asked.
        assert_eq!(leaders.of(GROUP, hint(5, 3), &three()), member(3));
        assert_eq!(leaders.note(GROUP, member(1), (hint(5, 2), own), &three()), News::Leader);
        assert_eq!(leaders.of(GROUP, own, &three()), member(2));
    }

    #[test]
    fn who_has_its_turn_and_leads_is_asked_again() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.note(GROUP, member(2), (None, None), &three()), News::None);
        assert_eq!(leaders.of(GROUP, None, &three()), member(3));
        assert_eq!(leaders.of(GROUP, None, &three()), member(3));
    }

    #[test]
    fn what_the_own_replica_heard_meanwhile_is_news() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.of(GROUP, hint(1, 1), &three()), member(1));
        let outcome = leaders.note(GROUP, member(1), (None, hint(2, 3)), &three());
        assert_eq!(outcome, News::Leader);
        assert_eq!(leaders.of(GROUP, hint(2, 3), &three()), member(3));
    }

    #[test]
    fn one_that_names_itself_and_refuses_does_not_hold_the_turn() {
        let mut leaders = Leaders::default();
        assert_eq!(leaders.note(GROUP, member(1), (hint(9, 1), None), &three()), News::None);
        assert_eq!(leaders.of(GROUP, None, &three()), member(2));
    }
}
