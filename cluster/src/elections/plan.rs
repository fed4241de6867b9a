//! The plan: what is due now, of what was seen.

#[cfg(test)]
mod tests;

use super::Voters;
use crate::{MemberId, liveness::Liveness};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Between the turns of two members of one group, ms.
const TURN_MS: u64 = 50;
/// After so long without a leader a member stands again, ms, and for so long another's candidacy is
/// waited for; longer with each time that came to nothing: where votes take long, a new candidacy
/// would only spoil the one before.
const AGAIN_MS: u64 = 300;
/// Where many groups have no leader at once each of them takes longer: both waits grow by so much for
/// each, ms, but by no more than the other figure. Whose turn is later would only stand in the way
/// of the votes that are on their way.
const CROWD_MS: u64 = 1;
const CROWD_MS_MAX: u64 = 150;
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
    pub voters: Arc<Voters>,
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
    fn again_ms(&self, crowd_ms: u64) -> u64 {
        (AGAIN_MS + crowd_ms) << (self.failed / PATIENT_TRIES).min(DOUBLED_MAX)
    }
}

/// What a look sees of a group of several.
struct Seen<'a> {
    standing: &'a Standing,
    vote: Vote,
    is_dead: bool,
    /// `None` where the group has a leader.
    waits: Option<Waits>,
}

impl<'a> Seen<'a> {
    fn of(standing: &'a Standing, lives: &dyn Lives) -> Option<Seen<'a>> {
        let vote = standing.vote.filter(|_| standing.voters.are_several())?;
        let leader = vote.member.node;
        let is_elsewhere = leader != standing.own.node;
        let is_dead = is_elsewhere && lives.is_dead(leader, standing.voters.nodes());
        Some(Seen { standing, vote, is_dead, waits: standing.waits(is_dead) })
    }
}

/// By how much waits are longer where so many groups have no leader.
fn crowd_ms(vacant: usize) -> u64 {
    (vacant as u64).saturating_sub(1).saturating_mul(CROWD_MS).min(CROWD_MS_MAX)
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

    /// Whether a group may be without a leader, as of the last look at it.
    pub fn is_vacant(&self, group: GroupId) -> bool {
        self.vacancies.contains_key(&group)
    }

    /// Whether some group may be without a leader.
    pub fn is_settled(&self) -> bool {
        self.vacancies.is_empty() && self.restarted.is_empty()
    }

    /// What is due at this time (ms by a clock that never goes back), where the replicas stand so.
    pub fn look(&mut self, now_ms: u64, lives: &dyn Lives, standings: &[Standing]) -> Vec<Step> {
        let restarted = std::mem::take(&mut self.restarted);
        self.look_for(now_ms, lives, standings, &restarted)
    }

    /// As [`Elections::look`], of the groups that were vacant in the last look only.
    pub fn look_again(
        &mut self,
        now_ms: u64,
        lives: &dyn Lives,
        standings: &[Standing],
    ) -> Vec<Step> {
        self.look_for(now_ms, lives, standings, &BTreeSet::new())
    }

    fn look_for(
        &mut self,
        now_ms: u64,
        lives: &dyn Lives,
        standings: &[Standing],
        restarted: &BTreeSet<NodeId>,
    ) -> Vec<Step> {
        if !self.vacancies.is_empty() {
            let known: BTreeSet<GroupId> =
                standings.iter().map(|standing| standing.group).collect();
            self.vacancies.retain(|group, _| known.contains(group));
        }
        let seen: Vec<Seen> =
            standings.iter().filter_map(|standing| Seen::of(standing, lives)).collect();
        let crowd_ms = crowd_ms(seen.iter().filter(|seen| seen.waits.is_some()).count());
        let (mut steps, mut stands) = (Vec::new(), 0);
        for Seen { standing, vote, is_dead, waits } in seen {
            let (nodes, leader) = (standing.voters.nodes(), vote.member.node);
            if restarted.contains(&leader) {
                steps.push(Step::Release(standing.group, leader));
            }
            let Some(waits) = waits else {
                self.vacancies.remove(&standing.group);
                continue;
            };
            let turn_ms = standing.turn(leader, lives) * (TURN_MS + crowd_ms);
            let pauses = Pauses { turn_ms, crowd_ms };
            let vacancy = self.vacancy(standing.group, vote, now_ms, waits, pauses);
            if is_dead && now_ms >= vacancy.release_ms {
                vacancy.release_ms = now_ms + AGAIN_MS + crowd_ms;
                steps.push(Step::Release(standing.group, leader));
            }
            // One that is due is left for the next look where many are.
            let may = standing.is_voter() && lives.trusts_majority(nodes) && stands < STANDING_MAX;
            if may && now_ms >= vacancy.due_ms {
                vacancy.due_ms = now_ms + vacancy.again_ms(crowd_ms);
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
        Pauses { turn_ms, crowd_ms }: Pauses,
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
                    Waits::OwnCandidacy => vacancy.again_ms(crowd_ms),
                    Waits::Candidacy => vacancy.again_ms(crowd_ms) + turn_ms,
                };
        }
        vacancy
    }
}

/// For how long a replica lets others go first, and how much longer all takes at present, ms.
#[derive(Clone, Copy)]
struct Pauses {
    turn_ms: u64,
    crowd_ms: u64,
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
    fn is_voter(&self) -> bool {
        self.voters.members().contains(&self.own)
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
        let nodes = self.voters.nodes().iter().copied();
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
