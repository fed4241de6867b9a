//! What nodes tell each other of themselves, about once a second: so each knows how the others'
//! replicas are, and until when its own ones lack nothing.

use super::{CATALOG_GROUP, Node, hosting::group_of};
use crate::{
    MemberId, NodeState,
    elections::Vote,
    route::{
        Moments, Proven, proven,
        scan::{AsOf, Piece, Wish},
        sounding::{Report, Sounding},
    },
};
use futures::future::join_all;
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// Between two rounds.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two rounds until the first in which somebody has answered.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// How long an answer is waited for.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// How long replicas that stay behind are waited for in one round.
const FOLLOW_WAIT: Duration = Duration::from_secs(1);

/// What a node said of its clock longer ago counts no more.
const CLOCK_AGE_MAX: Duration = Duration::from_secs(10);

/// What a node said of itself last.
pub(crate) struct Heard {
    pub(crate) at: Instant,
    pub(crate) report: Report,
    /// By how much its clock is ahead of the one here, as far as the way there and back lets tell.
    pub(crate) clock_ahead_ns: i64,
}

/// What is known of the other nodes, and of how current this one is.
#[derive(Default)]
pub(super) struct Soundings {
    moments: Mutex<HashMap<GroupId, Moments>>,
    /// Leaders that a majority of their voters has named, and when these were asked.
    led: Mutex<HashMap<GroupId, (Instant, Vote)>>,
    heard: Mutex<BTreeMap<NodeId, Arc<Heard>>>,
    elections: Mutex<Elections>,
}

/// Tablets that one node has come to lead at about the same time, of those that have a replica here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Election {
    /// About when, by the clock of this node, ns since 1970.
    pub at_ns: i64,
    /// Who leads them.
    pub leader: NodeId,
    /// How many.
    pub tablets: usize,
}

/// Who leads which tablet, and how that changed last.
#[derive(Default)]
struct Elections {
    leaders: HashMap<GroupId, MemberId>,
    last: VecDeque<Election>,
}

impl Elections {
    const KEPT_MAX: usize = 20;

    /// Notes who leads these groups now; whoever is seen for the first time was not elected now.
    fn look(&mut self, leaders: HashMap<GroupId, MemberId>, at_ns: i64) {
        let mut new = BTreeMap::<NodeId, usize>::new();
        for (group, leader) in &leaders {
            let known = self.leaders.get(group);
            if known.is_some_and(|known| known != leader) {
                *new.entry(leader.node).or_default() += 1;
            }
        }
        self.leaders = leaders;
        let new = new.into_iter().map(|(leader, tablets)| Election { at_ns, leader, tablets });
        self.last.extend(new);
        self.last.drain(..self.last.len().saturating_sub(Self::KEPT_MAX));
    }
}

impl Soundings {
    /// Notes that all that was acked before `at` lies up to `index`.
    pub(super) fn note(&self, group: GroupId, at: Instant, index: LogIndex) {
        self.moments.lock().entry(group).or_default().note(at, index);
    }

    /// By how much the clocks of nodes that were heard lately are ahead of the one here, ns.
    pub(super) fn clocks_ahead_ns(&self) -> Vec<i64> {
        let heard = self.heard.lock();
        let lately = heard.values().filter(|heard| heard.at.elapsed() < CLOCK_AGE_MAX);
        lately.map(|heard| heard.clock_ahead_ns).collect()
    }
}

/// Asks the others again and again.
pub(super) async fn run(node: Arc<Node>) {
    let (never, mut behind, mut pause) = (Notify::new(), HashMap::new(), FIRST_PAUSE);
    loop {
        if node.hosting.has_no_others() {
            pause = FIRST_PAUSE;
            tokio::select! {
                () = node.has_company() => {}
                going = node.until(&never, Duration::MAX) => if !going { return },
            }
        }
        if node.sound(&mut behind).await > 0 {
            pause = PAUSE;
        }
        if !node.until(&never, pause).await {
            return;
        }
    }
}

impl Node {
    /// Asks all others how they are, notes what that proves of the replicas that are here, and has
    /// those catch up that stay behind. `behind` is what those had applied that were behind in the
    /// last round. Gives how many have answered.
    async fn sound(&self, behind: &mut HashMap<GroupId, Option<LogIndex>>) -> usize {
        let began = Instant::now();
        let asked = self.other_nodes().into_iter();
        let asked = asked.map(|other| async move { Some((other, self.hear(other).await?)) });
        let heard: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
        let mut answers = HashMap::<GroupId, Vec<(NodeId, &Sounding)>>::new();
        for (other, heard) in &heard {
            for said in &heard.report.replicas {
                answers.entry(said.group).or_default().push((*other, said));
            }
        }
        let (mut stuck, mut now_behind) = (Vec::new(), HashMap::new());
        let mut leaders = HashMap::new();
        for replica in self.replicas() {
            let group = replica.group();
            // Asked last: a vote that it gives meanwhile counts.
            let own = replica.sounding();
            if let Some(vote) = own.vote.filter(|vote| vote.is_elected && group != CATALOG_GROUP) {
                leaders.insert(group, vote.member);
            }
            let answers = answers.get(&group).into_iter().flatten();
            let member = |(node, said): &(NodeId, &Sounding)| {
                let incarnation = said.incarnation;
                MemberId { node: *node, incarnation }
            };
            let mut said: Vec<_> = answers.map(|answer| (member(answer), answer.1)).collect();
            said.push((replica.member(), &own));
            let electors = replica.electors();
            let proof =
                proven(electors.members(), own.members_at, &said).filter(|_| replica.is_settled());
            let Some(Proven { vote, upto: index }) = proof else { continue };
            self.soundings.led.lock().insert(group, (began, vote));
            let is_first = !self.soundings.moments.lock().contains_key(&group);
            self.soundings.note(group, began, index);
            if own.applied < Some(index) {
                if is_first || behind.get(&group) == Some(&own.applied) {
                    stuck.push(group);
                }
                now_behind.insert(group, own.applied);
            }
        }
        *behind = now_behind;
        self.soundings.elections.lock().look(leaders, self.clock.now_ns());
        let count = heard.len();
        let heard = heard.into_iter().map(|(other, heard)| (other, Arc::new(heard)));
        self.soundings.heard.lock().extend(heard);
        self.forget_soundings();
        if !stuck.is_empty() {
            // What was committed before a restart is told with the next entry, or to who asks.
            let _ = timeout(FOLLOW_WAIT, self.follow(stuck)).await;
        }
        count
    }

    /// How long ago a replica that is here is known to have lacked nothing, as of `now`; `None` where
    /// that is not known.
    pub(super) fn age_of(&self, group: GroupId, now: Instant) -> Option<Duration> {
        if self.is_only_here(group) {
            return Some(Duration::ZERO);
        }
        let applied = match self.replica(group) {
            Some(replica) => replica.applied_index(),
            None => None,
        };
        let mut moments = self.soundings.moments.lock();
        let at = moments.get_mut(&group)?.reached(applied)?;
        Some(now.saturating_duration_since(at))
    }

    /// Whether a majority of a group's voters, asked after `since`, has said under this vote that
    /// its leader leads, and that one, too.
    pub(crate) fn is_led_since(&self, group: GroupId, vote: Vote, since: Instant) -> bool {
        let led = self.soundings.led.lock();
        led.get(&group).is_some_and(|(at, known)| *at >= since && *known == vote)
    }

    /// What each other node said of itself and its replicas last, by id.
    pub(crate) fn heard(&self) -> BTreeMap<NodeId, Arc<Heard>> {
        self.soundings.heard.lock().clone()
    }

    /// The last changes of who leads tablets that have a replica here, the newest last.
    pub fn elections(&self) -> Vec<Election> {
        self.soundings.elections.lock().last.iter().copied().collect()
    }

    /// How this node is.
    pub(crate) fn report(&self) -> Report {
        let mut replicas = vec![self.catalog_replica.sounding()];
        for hosted in self.hosting.all() {
            let stats = hosted.tablet.stats();
            let flushed = hosted.tablet.flushed().map(|flushed| flushed.index);
            let (rows, bytes) = (stats.rows, stats.bytes.max(hosted.replica.copied_bytes()));
            replicas.push(Sounding { flushed, rows, bytes, ..hosted.replica.sounding() });
        }
        for (tablet, _) in self.hosting.damaged() {
            let group = group_of(tablet);
            replicas.push(Sounding { group, is_damaged: true, ..Sounding::default() });
        }
        let (disk_free_bytes, clock_ns) = (self.disk_free_bytes(), self.clock.now_ns());
        Report { disk_free_bytes, clock_ns, replicas }
    }

    /// How the replicas of these tablets are, as far as they are here.
    pub(super) fn report_of(&self, tablets: &[TabletId]) -> Report {
        let of = |tablet: &TabletId| Some(self.hosting.get(*tablet)?.replica.sounding());
        let replicas = tablets.iter().filter_map(of).collect();
        Report { disk_free_bytes: 0, clock_ns: 0, replicas }
    }

    /// As [`Node::report_of`], of another node; `None` where it does not say so in time.
    pub(super) async fn hear_of(&self, from: NodeId, tablets: Vec<TabletId>) -> Option<Report> {
        self.hear_by(from, &Wish::SoundOf(tablets)).await
    }

    /// The report that another node answers with; `None` where it does not in time.
    pub(super) async fn hear_by(&self, from: NodeId, wish: &Wish) -> Option<Report> {
        let answer = timeout(ANSWER_WAIT, self.ask(from, wish, AsOf::default())).await;
        let Ok(Ok(Piece::Blocks { blocks, .. })) = answer else { return None };
        Report::decode(blocks.first()?)
    }

    async fn hear(&self, from: NodeId) -> Option<Heard> {
        let (before, before_ns) = (Instant::now(), self.clock.now_ns());
        let answer = timeout(ANSWER_WAIT, self.ask(from, &Wish::Sound, AsOf::default())).await;
        let Ok(Ok(Piece::Blocks { blocks, .. })) = answer else { return None };
        let report = Report::decode(blocks.first()?)?;
        // Half of the way there and back.
        let way_ns = i64::try_from(before.elapsed().as_nanos() / 2).unwrap_or(0);
        let here_ns = before_ns.saturating_add(way_ns);
        let clock_ahead_ns = report.clock_ns.saturating_sub(here_ns);
        Some(Heard { at: before, report, clock_ahead_ns })
    }

    /// All nodes but this one, as far as the catalog or its group knows them.
    pub(super) fn other_nodes(&self) -> BTreeSet<NodeId> {
        let catalog = self.catalog();
        let present = catalog.nodes().filter(|(_, record)| record.state != NodeState::Removed);
        let mut nodes: BTreeSet<NodeId> = present.map(|(node, _)| node).collect();
        nodes.extend(self.catalog_replica.members().voters.iter().map(|voter| voter.node));
        nodes.remove(&self.hosting.node);
        nodes
    }

    /// Forgets what is gone.
    fn forget_soundings(&self) {
        let nodes = self.other_nodes();
        self.soundings.heard.lock().retain(|node, _| nodes.contains(node));
        let is_here = |group: &GroupId| {
            *group == CATALOG_GROUP || self.hosting.get(TabletId(group.0)).is_some()
        };
        self.soundings.moments.lock().retain(|group, _| is_here(group));
        self.soundings.led.lock().retain(|group, _| is_here(group));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tablets_that_change_hands_together_are_one_election() {
        let of = |pairs: &[(u64, u32)]| {
            let leader =
                |(group, node): &(u64, u32)| (GroupId(*group), MemberId::first(NodeId(*node)));
            pairs.iter().map(leader).collect::<HashMap<_, _>>()
        };
        let mut elections = Elections::default();
        elections.look(of(&[(1, 1), (2, 1), (3, 2)]), 5);
        assert!(elections.last.is_empty(), "nobody was elected since");
        elections.look(of(&[(1, 3), (2, 3), (3, 2), (4, 1)]), 6);
        elections.look(of(&[(1, 3), (2, 3), (3, 2), (4, 1)]), 7);
        let seen = Election { at_ns: 6, leader: NodeId(3), tablets: 2 };
        assert_eq!(elections.last, [seen]);
        for at in 0..50 {
            elections.look(of(&[(1, at % 2)]), i64::from(at));
        }
        assert_eq!(elections.last.len(), Elections::KEPT_MAX);
        assert_eq!(elections.last.back().unwrap().at_ns, 49);
    }
}
