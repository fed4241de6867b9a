//! What nodes tell each other of themselves, about once a second: so each knows how the others'
//! replicas are, and until when its own ones lack nothing.

mod elections;
mod heard;
mod report;

pub use elections::Election;
pub(crate) use heard::Heard;

use super::{CATALOG_GROUP, Node};
use crate::{
    MemberId, NodeState,
    elections::Vote,
    route::{
        Moments, Proven, proven,
        scan::{AsOf, Piece, Wish},
        sounding::{Report, Sounding},
    },
};
use elections::Elections;
use futures::future::join_all;
use heard::Said;
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
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

/// What is known of the other nodes, and of how current this one is.
#[derive(Default)]
pub(super) struct Soundings {
    moments: Mutex<HashMap<GroupId, Moments>>,
    /// Leaders that a majority of their voters has named, and when these were asked.
    led: Mutex<HashMap<GroupId, (Instant, Vote)>>,
    heard: Mutex<BTreeMap<NodeId, Heard>>,
    /// Grows whenever a node says anything else of its replicas than before.
    changes: AtomicU64,
    elections: Mutex<Elections>,
}

impl Soundings {
    /// Notes that all that was acked before `at` lies up to `index`.
    pub(super) fn note(&self, group: GroupId, at: Instant, index: LogIndex) {
        self.moments.lock().entry(group).or_default().note(at, index);
    }

    /// What a node is asked: all, or what is new since it was asked last and of groups that are awake here.
    fn wish(&self, of: NodeId, now: Instant, awake: &BTreeSet<GroupId>) -> Wish {
        let tablets = || awake.iter().map(|group| TabletId(group.0)).collect();
        match self.heard.lock().get(&of) {
            Some(heard) if heard.may_tell_news(now) => Wish::SoundNews(tablets()),
            Some(_) | None => Wish::Sound,
        }
    }

    fn hear(&self, from: NodeId, said: Said) {
        let mut heard = self.heard.lock();
        let is_new = match heard.get_mut(&from) {
            Some(heard) => heard.hear(said),
            None => heard.insert(from, Heard::new(said)).is_none(),
        };
        if is_new {
            self.changes.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn ask_all_of(&self, node: NodeId) {
        if let Some(heard) = self.heard.lock().get_mut(&node) {
            heard.forget_whole();
        }
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
        let awake = self.hosting.instances.awake_or_changed();
        let asked = self.other_nodes().into_iter().map(|other| {
            let wish = self.soundings.wish(other, began, &awake);
            async move { Some((other, self.hear(other, wish).await?)) }
        });
        let said: Vec<(NodeId, Said)> = join_all(asked).await.into_iter().flatten().collect();
        let mut answers: HashMap<GroupId, Vec<(NodeId, &Sounding)>> =
            awake.iter().chain([&CATALOG_GROUP]).map(|group| (*group, Vec::new())).collect();
        for (other, said) in &said {
            for one in said.report.replicas.iter().filter(|one| !one.is_gone) {
                answers.entry(one.group).or_default().push((*other, one));
            }
        }
        let (mut stuck, mut now_behind) = (Vec::new(), HashMap::new());
        let mut leaders = HashMap::new();
        // Of those of which nobody has said anything nothing is proved either.
        for (group, answers) in &answers {
            let Some(replica) = self.replica(*group) else { continue };
            let group = *group;
            // Asked last: a vote that it gives meanwhile counts.
            let own = replica.sounding();
            if let Some(vote) = own.vote.filter(|vote| vote.is_elected && group != CATALOG_GROUP) {
                leaders.insert(group, vote.member);
            }
            let member = |(node, said): &(NodeId, &Sounding)| {
                let incarnation = said.incarnation;
                MemberId { node: *node, incarnation }
            };
            let mut said: Vec<_> =
                answers.iter().map(|answer| (member(answer), answer.1)).collect();
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
        let (count, is_whole) = (said.len(), said.iter().any(|(_, said)| said.is_whole));
        said.into_iter().for_each(|(other, said)| self.soundings.hear(other, said));
        self.forget_nodes();
        if is_whole {
            self.forget_groups();
        }
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
    pub(crate) fn heard(&self) -> BTreeMap<NodeId, Heard> {
        self.soundings.heard.lock().clone()
    }

    /// Grows whenever another node has said anything else of its replicas than before.
    pub(crate) fn heard_changes(&self) -> u64 {
        self.soundings.changes.load(Ordering::Relaxed)
    }

    /// The last changes of who leads tablets that have a replica here, the newest last.
    pub fn elections(&self) -> Vec<Election> {
        self.soundings.elections.lock().last.iter().copied().collect()
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

    async fn hear(&self, from: NodeId, wish: Wish) -> Option<Said> {
        let (before, before_ns) = (Instant::now(), self.clock.now_ns());
        let answer = timeout(ANSWER_WAIT, self.ask(from, &wish, AsOf::default())).await;
        let Ok(Ok(Piece::Blocks { blocks, .. })) = answer else {
            // One of an older version knows nothing of news.
            self.soundings.ask_all_of(from);
            return None;
        };
        let report = Report::decode(blocks.first()?)?;
        // Half of the way there and back.
        let way_ns = i64::try_from(before.elapsed().as_nanos() / 2).unwrap_or(0);
        let here_ns = before_ns.saturating_add(way_ns);
        let clock_ahead_ns = report.clock_ns.saturating_sub(here_ns);
        Some(Said { at: before, is_whole: wish == Wish::Sound, report, clock_ahead_ns })
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

    fn forget_nodes(&self) {
        let nodes = self.other_nodes();
        self.soundings.heard.lock().retain(|node, _| nodes.contains(node));
    }

    fn forget_groups(&self) {
        let is_here = |group: &GroupId| {
            *group == CATALOG_GROUP || self.hosting.get(TabletId(group.0)).is_some()
        };
        self.soundings.moments.lock().retain(|group, _| is_here(group));
        self.soundings.led.lock().retain(|group, _| is_here(group));
        self.soundings.elections.lock().retain(is_here);
    }
}
