//! Which leaders have proved that they lead: pure.
//!
//! That a vote was given for somebody is memory. It is proved by an answer of the leader, under this
//! vote, after everything that may have ended its lead.

use super::{Standing, Vote};
use oribi_model::NodeId;
use oribi_store::log::GroupId;
use std::collections::{BTreeMap, BTreeSet};

/// Proofs that failed in a row before a leader elsewhere is deserted: one may have come too late.
const DESERTED_AFTER: u32 = 2;
/// The same before a replica that leads begins anew.
const RESTARTED_AFTER: u32 = 3;
/// Looks in which others may prove a leader before it is asked itself.
const ASKED_AFTER: u32 = 2;

#[derive(Debug, Clone, Copy)]
struct Known {
    vote: Vote,
    is_proved: bool,
    /// Looks since when it is to be proved.
    looks: u32,
    failed: u32,
}

/// What follows from a proof that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failed {
    /// The leader, on another node or in another run, is not taken for one any more.
    Desert(Vote),
    /// This replica takes itself for the leader, and can do nothing: it begins anew.
    Restart,
    /// It is too early to tell.
    Wait,
}

/// The proofs of the groups of a node.
#[derive(Debug, Default)]
pub struct Proofs {
    groups: BTreeMap<GroupId, Known>,
}

impl Proofs {
    /// A node was suspected, or trusted again, or runs anew: what it led is to be proved again.
    pub fn doubt(&mut self, node: NodeId) {
        for known in self.groups.values_mut().filter(|known| known.vote.member.node == node) {
            (known.is_proved, known.looks) = (false, 0);
        }
    }

    /// A group is led under this vote by a replica that has no place in it any more: whether it still does is to be
    /// proved.
    pub fn doubt_vote(&mut self, group: GroupId, vote: Vote) {
        let known = self.groups.get_mut(&group).filter(|known| known.vote == vote);
        if let Some(known) = known.filter(|known| known.is_proved) {
            (known.is_proved, known.looks) = (false, 0);
        }
    }

    /// The groups of several members whose leader is to be proved, as far as these replicas know of
    /// one.
    pub fn due(&mut self, standings: &[Standing]) -> Vec<(GroupId, Vote)> {
        let known: BTreeSet<GroupId> = standings.iter().map(|standing| standing.group).collect();
        self.groups.retain(|group, _| known.contains(group));
        let mut due = Vec::new();
        for standing in standings.iter().filter(|standing| standing.voters.are_several()) {
            let is_known = |vote: &Vote| vote.is_elected || standing.is_deserted;
            let Some(vote) = standing.vote.filter(is_known) else { continue };
            let vote = Vote { is_elected: true, ..vote };
            // One that does not lead although it was elected stands anyway.
            if vote.member == standing.own && !standing.leads {
                continue;
            }
            let begun = Known { vote, is_proved: false, looks: 0, failed: 0 };
            let known = self.groups.entry(standing.group).or_insert(begun);
            if known.vote != vote {
                *known = begun;
            }
            if !known.is_proved {
                known.looks = known.looks.saturating_add(1);
                due.push((standing.group, vote));
            }
        }
        due
    }

    /// Whether a leader that is to be proved is to be asked itself: nothing that was heard anyway has
    /// proved it in time.
    pub fn is_asked(&self, group: GroupId) -> bool {
        self.groups.get(&group).is_some_and(|known| known.looks > ASKED_AFTER)
    }

    /// The leader of a group has proved that it leads; what it proved under an earlier vote says
    /// nothing.
    pub fn proved(&mut self, group: GroupId, vote: Vote) {
        if let Some(known) = self.groups.get_mut(&group).filter(|known| known.vote == vote) {
            (known.is_proved, known.failed) = (true, 0);
        }
    }

    /// Nobody could prove to lead a group.
    pub fn failed(&mut self, own: NodeId, group: GroupId, vote: Vote) -> Failed {
        let Some(known) = self.groups.get_mut(&group).filter(|known| known.vote == vote) else {
            return Failed::Wait;
        };
        known.failed += 1;
        match (vote.member.node == own, known.failed) {
            (false, DESERTED_AFTER..) => Failed::Desert(vote),
            (true, RESTARTED_AFTER..) => {
                known.failed = 0;
                Failed::Restart
            }
            _ => Failed::Wait,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemberId;

    const GROUP: GroupId = GroupId(1);

    fn standing(own: u32, leader: u32) -> Standing {
        let member = |node| MemberId::first(NodeId(node));
        let vote = Vote { term: 4, member: member(leader), is_elected: true };
        Standing {
            group: GROUP,
            own: member(own),
            voters: std::sync::Arc::new([1, 2, 3].map(member).into_iter().collect()),
            vote: Some(vote),
            leads: own == leader,
            is_deserted: false,
        }
    }

    #[test]
    fn a_leader_is_proved_once_and_again_after_whatever_befell_its_node() {
        let mut proofs = Proofs::default();
        let (here, vote) = (standing(2, 1), standing(2, 1).vote.unwrap());
        assert_eq!(proofs.due(std::slice::from_ref(&here)), [(GROUP, vote)]);
        assert!(!proofs.is_asked(GROUP), "others may prove it");
        assert_eq!(proofs.due(std::slice::from_ref(&here)), [(GROUP, vote)], "until it is");
        proofs.due(std::slice::from_ref(&here));
        assert!(proofs.is_asked(GROUP));
        proofs.proved(GROUP, vote);
        assert_eq!(proofs.due(std::slice::from_ref(&here)), []);
        proofs.doubt(NodeId(3));
        assert_eq!(proofs.due(std::slice::from_ref(&here)), []);
        proofs.doubt(NodeId(1));
        assert_eq!(proofs.due(std::slice::from_ref(&here)), [(GROUP, vote)]);
        assert!(!proofs.is_asked(GROUP), "others may prove it again");
        let later = Standing { vote: Some(Vote { term: 5, ..vote }), ..here.clone() };
        proofs.proved(GROUP, vote);
        assert_eq!(proofs.due(&[later]).len(), 1, "of another vote");
        let candidate = Standing { vote: Some(Vote { is_elected: false, ..vote }), ..here.clone() };
        let ended = Standing { leads: false, ..standing(1, 1) };
        let deserted = Standing { is_deserted: true, ..candidate.clone() };
        proofs.doubt(NodeId(1));
        assert_eq!(proofs.due(&[deserted]), [(GROUP, vote)], "it may lead all the same");
        let alone = std::sync::Arc::new([here.own].into_iter().collect());
        for other in [candidate, ended, Standing { voters: alone, ..here }] {
            assert_eq!(proofs.due(&[other]), [], "there is nothing to be proved");
        }
    }

    #[test]
    fn a_leader_that_was_replaced_is_asked_once_more() {
        let mut proofs = Proofs::default();
        let (here, vote) = ([standing(2, 1)], standing(2, 1).vote.unwrap());
        proofs.due(&here);
        proofs.proved(GROUP, vote);
        proofs.doubt_vote(GROUP, Vote { term: 3, ..vote });
        assert_eq!(proofs.due(&here), [], "of an earlier vote");
        for _ in 0..=ASKED_AFTER {
            proofs.doubt_vote(GROUP, vote);
            assert_eq!(proofs.due(&here), [(GROUP, vote)]);
        }
        assert!(proofs.is_asked(GROUP), "doubt does not put it off");
    }

    #[test]
    fn a_leader_without_proof_is_deserted_and_one_that_is_here_begins_anew() {
        let mut proofs = Proofs::default();
        let vote = standing(2, 1).vote.unwrap();
        proofs.due(&[standing(2, 1)]);
        assert_eq!(proofs.failed(NodeId(2), GROUP, vote), Failed::Wait);
        assert_eq!(proofs.failed(NodeId(2), GROUP, vote), Failed::Desert(vote));
        let old = Vote { term: 3, ..vote };
        assert_eq!(proofs.failed(NodeId(2), GROUP, old), Failed::Wait);

        let mut proofs = Proofs::default();
        proofs.due(&[standing(1, 1)]);
        let outcomes = [(); 4].map(|()| proofs.failed(NodeId(1), GROUP, vote));
        assert_eq!(outcomes, [Failed::Wait, Failed::Wait, Failed::Restart, Failed::Wait]);
    }
}
