//! Until when a replica is known to lack nothing: pure decisions.

use crate::{MemberId, elections::Vote, route::sounding::Sounding};
use oribi_model::LogIndex;
use std::collections::{BTreeSet, VecDeque};
use tokio::time::Instant;

/// Moments that are remembered of a group whose replica is behind.
const KEPT_MAX: usize = 16;

/// Moments before which everything that was acked lies up to some entry.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    /// By time. Only the first one may be applied already.
    known: VecDeque<(Instant, LogIndex)>,
}

impl Moments {
    /// Notes that all that was acked before `at` lies up to `index`. Where too many wait, the newest
    /// one gives way: the older ones are reached first.
    pub(crate) fn note(&mut self, at: Instant, index: LogIndex) {
        if self.known.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        if self.known.len() == KEPT_MAX {
            self.known.pop_back();
        }
        self.known.push_back((at, index));
    }

    /// The newest moment up to which a replica that has applied so much lacks nothing.
    pub(crate) fn reached(&mut self, applied: Option<LogIndex>) -> Option<Instant> {
        let is_reached = |(_, index): &(Instant, LogIndex)| applied >= Some(*index);
        let newest = self.known.iter().rposition(is_reached)?;
        self.known.drain(..newest);
        self.known.front().map(|(at, _)| *at)
    }
}

/// What the members of a group have proved together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Proven {
    /// The leader's vote.
    pub(crate) vote: Vote,
    /// Up to which entry everything lies that was acked before they were asked.
    pub(crate) upto: LogIndex,
}

/// Up to which entry everything lies that was acked before the members were asked: who leads said
/// so, and a majority, the leader among it, had voted for nobody newer then. `voters` and
/// `members_at` are the members and the entry that named them, as one of those knows them who answer.
pub(crate) fn proven(
    voters: &BTreeSet<MemberId>,
    members_at: Option<LogIndex>,
    answers: &[(MemberId, &Sounding)],
) -> Option<Proven> {
    let leads = |(member, said): &&(MemberId, &Sounding)| {
        said.leads && said.vote.is_some_and(|vote| vote.member == *member && vote.is_elected)
    };
    let leaders = answers.iter().filter(leads);
    let (_, leader) =
        leaders.max_by_key(|(_, said)| said.vote.map(|vote| (vote.term, vote.member)))?;
    // Where the members changed, others might elect.
    if leader.members_at != members_at {
        return None;
    }
    let of = |said: &Sounding| said.vote.map(|vote| (vote.term, vote.member));
    let with_it: BTreeSet<MemberId> = answers
        .iter()
        .filter(|(member, said)| voters.contains(member) && of(said) == of(leader))
        .map(|(member, _)| *member)
        .collect();
    let upto = leader.last.unwrap_or(LogIndex(0));
    (with_it.len() > voters.len() / 2).then_some(Proven { vote: leader.vote?, upto })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{elections::Vote, route::sounding::Sounding};
    use oribi_model::NodeId;
    use std::time::Duration;

    fn member(node: u32) -> MemberId {
        MemberId::first(NodeId(node))
    }

    fn said(term: u64, of: u32) -> Sounding {
        let vote = Some(Vote { term, member: member(of), is_elected: true });
        Sounding { vote, members_at: Some(LogIndex(0)), ..Sounding::default() }
    }

    fn leads(term: u64, of: u32, last: u64) -> Sounding {
        Sounding { leads: true, last: Some(LogIndex(last)), ..said(term, of) }
    }

    fn judge(voters: &[u32], answers: &[(u32, Sounding)]) -> Option<u64> {
        let voters = voters.iter().map(|node| member(*node)).collect();
        let answers: Vec<_> = answers.iter().map(|(node, said)| (member(*node), said)).collect();
        proven(&voters, Some(LogIndex(0)), &answers).map(|proven| proven.upto.0)
    }

    #[test]
    fn a_leader_and_a_majority_that_voted_for_nobody_newer_are_a_proof() {
        let (leader, with_it) = (leads(3, 1, 9), said(3, 1));
        assert_eq!(judge(&[1, 2, 3], &[(1, leader), (2, with_it)]), Some(9));
        assert_eq!(judge(&[1, 2, 3], &[(1, leader)]), None, "alone");
        assert_eq!(judge(&[1, 2, 3], &[(2, with_it), (3, with_it)]), None, "no leader");
        assert_eq!(judge(&[1, 2, 3], &[(1, leader), (2, said(4, 3))]), None, "one has voted since");
        assert_eq!(judge(&[1, 2, 3], &[(1, leader), (4, with_it)]), None, "no voter");
        assert_eq!(judge(&[1, 2, 3, 4, 5], &[(1, leader), (2, with_it)]), None);
        let three = [(1, leader), (2, with_it), (4, with_it)];
        assert_eq!(judge(&[1, 2, 3, 4, 5], &three), Some(9));
        // Two say that they lead: the newer one does.
        assert_eq!(judge(&[1, 2, 3], &[(1, leader), (2, leads(4, 2, 7)), (3, with_it)]), None);
        assert_eq!(
            judge(&[1, 2, 3], &[(1, leader), (2, leads(4, 2, 7)), (3, said(4, 2))]),
            Some(7)
        );
        // The term alone says nothing: several may be elected in one.
        assert_eq!(judge(&[1, 2, 3], &[(1, leader), (2, said(3, 2))]), None);
    }

    #[test]
    fn who_knows_other_members_than_the_leader_proves_nothing() {
        let changed = Sounding { members_at: Some(LogIndex(5)), ..leads(3, 1, 9) };
        assert_eq!(judge(&[1, 2, 3], &[(1, changed), (2, said(3, 1))]), None);
    }

    #[test]
    fn a_moment_counts_once_its_entries_are_applied() {
        let (start, s) = (Instant::now(), Duration::from_secs);
        let mut moments = Moments::default();
        assert_eq!(moments.reached(Some(LogIndex(9))), None);
        moments.note(start, LogIndex(5));
        moments.note(start + s(1), LogIndex(7));
        assert_eq!(moments.reached(Some(LogIndex(4))), None);
        assert_eq!(moments.reached(Some(LogIndex(5))), Some(start));
        assert_eq!(moments.reached(Some(LogIndex(6))), Some(start));
        assert_eq!(moments.reached(Some(LogIndex(8))), Some(start + s(1)));
        // What comes late proves nothing that is not known.
        moments.note(start, LogIndex(8));
        assert_eq!(moments.reached(Some(LogIndex(8))), Some(start + s(1)));
        moments.note(start + s(2), LogIndex(0));
        assert_eq!(moments.reached(None), None, "nothing is applied");
        assert_eq!(moments.reached(Some(LogIndex(0))), Some(start + s(2)));
    }

    #[test]
    fn one_that_stays_behind_keeps_the_moments_it_can_reach() {
        let start = Instant::now();
        let mut moments = Moments::default();
        for at in 0..1_000 {
            moments.note(start + Duration::from_secs(at), LogIndex(at));
        }
        assert_eq!(moments.known.len(), KEPT_MAX);
        assert_eq!(moments.reached(Some(LogIndex(3))), Some(start + Duration::from_secs(3)));
        assert_eq!(moments.reached(Some(LogIndex(1_000))), Some(start + Duration::from_secs(999)));
    }
}
