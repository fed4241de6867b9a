//! The plan: what is due now, of what was seen.

use crate::{MemberId, liveness::Liveness};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::collections::{BTreeMap, BTreeSet};

/// Between the turns of two members of one group, ms.
const TURN_MS: u64 = 50;
/// After so long without a leader a member stands again, ms, and for so long another's candidacy is
/// waited for; longer with each time that came to nothing: where votes take long, a new candidacy
/// would only spoil the one before.
const AGAIN_MS: u64 = 300;
/// That is doubled after so many candidacies and votes that came to nothing, and so often at most.
const PATIENT_TRIES: u32 = 3;
const DOUBLED_MAX: u32 = 4;
/// Elections that a node begins in one look; the others follow with the next.
const STANDING_MAX: usize = 64;

/// What is known of the lives of nodes.
pub trait Lives {
    /// Whether this node trusts another one, or itself.
    fn trusts(&self, node: NodeId) -> bool;
    /// Whether a node is dead for a group whose voters these nodes hold.
    fn is_dead(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> bool;
    /// Whether this node trusts a majority of these.
    fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool;
    /// Whether a node wants to lead; one that does not still stands after all others.
    fn wants_lead(&self, _: NodeId) -> bool {
        true
    }
}

impl Lives for Liveness {
    fn trusts(&self, node: NodeId) -> bool {
        Liveness::trusts(self, node)
    }

    fn is_dead(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        Liveness::is_dead(self, node, voters)
    }

    fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        Liveness::trusts_majority(self, voters)
    }

    fn wants_lead(&self, node: NodeId) -> bool {
        Liveness::wants_lead(self, node)
    }
}

/// The vote that a replica holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// Its term.
    pub term: u64,
    /// For whom.
    pub member: MemberId,
    /// Whether that one was elected, as far as this replica knows.
    pub is_elected: bool,
}

/// How a replica of this node stands in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The group.
    pub group: GroupId,
    /// The replica.
    pub own: MemberId,
    /// Those that elect; this replica may be none of them.
    pub voters: BTreeSet<MemberId>,
    /// Its vote; `None` where it never heard of a candidate.
    pub vote: Option<Vote>,
    /// Whether it leads, as far as it knows.
    pub leads: bool,
    /// Whether the vote is for one that was elected and is not taken for the leader any more.
    pub is_deserted: bool,
}

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// End the lease of the leader on this node.
    Release(GroupId, NodeId),
    /// Stand for the lead.
    Stand(GroupId),
}

/// A group that may have no leader.
#[derive(Debug, Clone, Copy)]
struct Vacancy {
    /// The vote under which it came to that.
    vote: Vote,
    /// Whom this replica leaves the first turn.
    waits: Waits,
    /// When this replica stands next, ms.
    due_ms: u64,
    /// When the lease of the leader is to be ended, ms.
    release_ms: u64,
    /// Candidacies and votes that came to nothing.
    failed: u32,
}

impl Vacancy {
    fn again_ms(&self) -> u64 {
        AGAIN_MS << (self.failed / PATIENT_TRIES).min(DOUBLED_MAX)
    }
}

/// The elections of a node.
#[derive(Debug, Default)]
pub struct Elections {
    vacancies: BTreeMap<GroupId, Vacancy>,
    /// Nodes that run anew, whose leases are to be ended.
    restarted: BTreeSet<NodeId>,
}

impl Elections {
    /// A node runs anew: whatever it led, it does not lead.
    pub fn restarted(&mut self, node: NodeId) {
        self.restarted.insert(node);
    }

    /// Whether some group may be without a leader.
    pub fn is_settled(&self) -> bool {
        self.vacancies.is_empty() && self.restarted.is_empty()
    }

    /// What is due at this time (ms by a clock that never goes back), where the replicas stand so.
    pub fn look(&mut self, now_ms: u64, lives: &dyn Lives, standings: &[Standing]) -> Vec<Step> {
        let restarted = std::mem::take(&mut self.restarted);
        let known: BTreeSet<GroupId> = standings.iter().map(|standing| standing.group).collect();
        self.vacancies.retain(|group, _| known.contains(group));
        let (mut steps, mut stands) = (Vec::new(), 0);
        for standing in standings.iter().filter(|standing| standing.voters.len() > 1) {
            let Some(vote) = standing.vote else { continue };
            let nodes = standing.nodes();
            let leader = vote.member.node;
            let is_dead = leader != standing.own.node && lives.is_dead(leader, &nodes);
            if restarted.contains(&leader) {
                steps.push(Step::Release(standing.group, leader));
            }
            let Some(waits) = standing.waits(is_dead) else {
                self.vacancies.remove(&standing.group);
                continue;
            };
            let turn_ms = standing.turn(leader, lives) * TURN_MS;
            let vacancy = self.vacancy(standing.group, vote, now_ms, waits, turn_ms);
            if is_dead && now_ms >= vacancy.release_ms {
                vacancy.release_ms = now_ms + AGAIN_MS;
                steps.push(Step::Release(standing.group, leader));
            }
            // One that is due is left for the next look where many are.
            let may = standing.is_voter() && lives.trusts_majority(&nodes) && stands < STANDING_MAX;
            if may && now_ms >= vacancy.due_ms {
                vacancy.due_ms = now_ms + vacancy.again_ms();
                vacancy.failed += 1;
                stands += 1;
                steps.push(Step::Stand(standing.group));
            }
        }
        steps
    }

    /// What is noted of a group without a leader, under its present vote.
    fn vacancy(
        &mut self,
        group: GroupId,
        vote: Vote,
        now_ms: u64,
        waits: Waits,
        turn_ms: u64,
    ) -> &mut Vacancy {
        let known = self.vacancies.get(&group).copied();
        let failed = known.map_or(0, |known| known.failed.saturating_add(1));
        let begun = Vacancy { vote, waits, due_ms: now_ms, release_ms: now_ms, failed };
        let vacancy = self.vacancies.entry(group).or_insert(begun);
        if known.is_none_or(|known| (known.vote, known.waits) != (vote, waits)) {
            *vacancy = begun;
            vacancy.due_ms = now_ms
                + match waits {
                    Waits::Nobody => 0,
                    Waits::Turn => turn_ms,
                    Waits::OwnCandidacy => vacancy.again_ms(),
                    Waits::Candidacy => vacancy.again_ms() + turn_ms,
                };
        }
        vacancy
    }
}

/// Whom a replica of a group without a leader leaves the first turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waits {
    /// It was elected itself, before it ended.
    Nobody,
    /// Those whose turn is before its own.
    Turn,
    /// It stands, and nobody has answered yet.
    OwnCandidacy,
    /// Another one stands.
    Candidacy,
}

impl Standing {
    fn nodes(&self) -> BTreeSet<NodeId> {
        self.voters.iter().map(|voter| voter.node).collect()
    }

    fn is_voter(&self) -> bool {
        self.voters.contains(&self.own)
    }

    /// Whom this replica leaves the first turn; `None` where the group has a leader, as far as this
    /// replica can tell.
    fn waits(&self, is_dead: bool) -> Option<Waits> {
        let vote = self.vote?;
        if self.leads {
            return None;
        }
        if vote.member == self.own {
            return Some(if vote.is_elected { Waits::Nobody } else { Waits::OwnCandidacy });
        }
        if is_dead || vote.member.node == self.own.node {
            return Some(Waits::Turn);
        }
        (!vote.is_elected).then_some(Waits::Candidacy)
    }

    /// Which turn this replica has among those that may stand.
    fn turn(&self, leader: NodeId, lives: &dyn Lives) -> u64 {
        let place = |node: NodeId| (!lives.wants_lead(node), mixed(self.group, node), node);
        let own = place(self.own.node);
        let nodes = self.nodes().into_iter();
        let before = nodes.filter(|node| *node != leader && lives.trusts(*node));
        before.filter(|node| place(*node) < own).count() as u64
    }
}

/// Another order of the nodes for each group.
fn mixed(group: GroupId, node: NodeId) -> u64 {
    let mut mixed = group.0.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(node.0);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
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
        let voters = [1, 2, 3].map(member).into();
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
            Standing { voters: [member(2)].into(), ..standing(4, 2, vote(1, 9, true)) },
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
}
