//! What only the leader of a group does is done by it, on this node or another.
//!
//! What was surely not done is tried again, with whoever leads then; what may have been done is
//! never sent twice, or the second copy could land behind something newer.

use super::{CATALOG_GROUP, Node, outbox::Outbox};
use crate::{
    Assignment, Catalog, Error, Incarnation, MemberId, Result,
    command::{Body, Command},
    replica::{Missed, Patience, Replica},
    route::{Hint, Leaders, Load, News, wire::Said},
    transport::Network,
};
use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use oribi_model::{LogIndex, NodeId, TabletId};
use oribi_store::log::GroupId;
use parking_lot::Mutex;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::{runtime::Handle, time::Instant};

/// How long a leader is looked for. An election takes less.
const SEEK_WAIT: Duration = Duration::from_secs(2);
/// How long a leader of several members may take.
pub(super) const WHOLE_WAIT: Duration = Duration::from_secs(5);
/// Before the next member is asked where nothing new was heard; doubled from try to try.
const PAUSE_MIN: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(32);
/// The same where a replica is here: it hears of a leader, and that ends the pause. While many groups elect,
/// questions that nobody can answer yet would only hold them up.
const HEARING_PAUSE_MIN: Duration = Duration::from_millis(64);
const HEARING_PAUSE_MAX: Duration = Duration::from_millis(128);

/// What only the leader of a group does.
#[derive(Clone)]
pub(super) enum Errand {
    /// Stores a command.
    Commit(Command),
    /// Says up to where a read has to be.
    Read,
}

/// How an errand ended well.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    /// Rows that were new to the tablet.
    pub(super) new_rows: u64,
    /// Where the command stands, or up to where a read has to be.
    pub(super) index: LogIndex,
}

/// What a node knows of the way to leaders.
pub(super) struct Routes {
    pub(super) network: Arc<dyn Network>,
    pub(super) load: Load,
    pub(super) outbox: Outbox,
    /// Where errands run for which a thread waits; `None` for a node without tasks.
    pub(super) runtime: Option<Handle>,
    leaders: Mutex<Leaders>,
}

impl Routes {
    pub(super) fn new(network: Arc<dyn Network>) -> Routes {
        let runtime = Handle::try_current().ok();
        Routes {
            network,
            load: Load::default(),
            outbox: Outbox::default(),
            runtime,
            leaders: Mutex::default(),
        }
    }

    /// Forgets the leaders of tablets that the catalog no longer has.
    pub(super) fn forget_gone(&self, catalog: &Catalog) {
        let is_there =
            |group: GroupId| group == CATALOG_GROUP || catalog.tablet(TabletId(group.0)).is_some();
        self.leaders.lock().keep(is_there);
    }
}

/// An errand on its way.
pub(super) struct Job {
    /// Its place among those of one call.
    at: usize,
    pub(super) group: GroupId,
    pub(super) errand: Errand,
    /// Who is asked now.
    pub(super) target: MemberId,
    /// How long to wait for news before that.
    pause: Duration,
    /// The leader that a replica here knew then: another one is news.
    known: Option<Hint>,
    tries: u32,
}

/// Errands that are done together.
enum Round {
    Here(Job),
    There(NodeId, Vec<Job>),
    /// Done alone, once something is heard of its group.
    Later(Job),
}

type Ended = Vec<(Job, Result<Done, Missed>)>;

impl Node {
    /// Does an errand, wherever its group is led.
    pub(super) async fn run_one(&self, group: GroupId, errand: Errand) -> Result<Done> {
        if self.is_alone(group) {
            return self.lead_alone(group, errand).await;
        }
        let mut outcomes = self.run(vec![(group, errand)]).await;
        outcomes.pop().unwrap_or(Err(Error::Stopping))
    }

    /// Does errands at once, wherever their groups are led; those of one node go there together.
    /// What became of each, in their order.
    pub(super) async fn run(&self, errands: Vec<(GroupId, Errand)>) -> Vec<Result<Done>> {
        if errands.iter().all(|(group, _)| self.is_alone(*group)) {
            let alone = errands.into_iter().map(|(group, errand)| self.lead_alone(group, errand));
            return join_all(alone).await;
        }
        if self.check().is_err() {
            let refused = |_| Err(self.check().err().unwrap_or(Error::Stopping));
            return errands.iter().map(refused).collect();
        }
        let (started, mut outcomes) = (Instant::now(), Vec::new());
        outcomes.resize_with(errands.len(), || Err(Error::Stopping));
        let jobs = errands.into_iter().enumerate().map(|(at, (group, errand))| {
            let (target, pause, known) = (self.target(group), Duration::ZERO, None);
            Job { at, group, errand, target, pause, known, tries: 0 }
        });
        let rounds = self.rounds(jobs.collect());
        let mut under_way: FuturesUnordered<_> =
            rounds.into_iter().map(|round| self.carry_out(round)).collect();
        while let Some(ended) = under_way.next().await {
            let mut again = Vec::new();
            for (job, outcome) in ended {
                match outcome {
                    Ok(done) => outcomes[job.at] = Ok(done),
                    Err(Missed::Failed(error)) => outcomes[job.at] = Err(error),
                    Err(Missed::Elsewhere(_)) if started.elapsed() >= SEEK_WAIT => {
                        let (group, reason) = (job.group.0, self.why_no_leader(job.group));
                        outcomes[job.at] = Err(Error::Unavailable { group, reason });
                    }
                    Err(Missed::Elsewhere(named)) => again.push(self.turned(job, named)),
                }
            }
            under_way.extend(self.rounds(again).into_iter().map(|round| self.carry_out(round)));
        }
        outcomes
    }

    /// The voters of a group that has several, as far as a replica here knows them, or else those that
    /// it is assigned to. A tablet that is gone counts as this node's, which will say so.
    pub(super) fn assignment(&self, group: GroupId) -> Assignment {
        // Who is left alone with the catalog need not be who founded it.
        let may_count = |one: &Arc<Replica>| group == CATALOG_GROUP || one.has_others();
        let known = self.replica(group).filter(may_count);
        let electors = known.map(|replica| replica.electors());
        let mut voters = electors.iter().flat_map(|electors| electors.members()).copied();
        match voters.next() {
            Some(first) => Assignment::new(first, voters.collect()),
            None => {
                let assignment = self.hosting.assignment(group);
                // Who has nothing of it can say nothing of it.
                let is_out = self.hosting.is_out(TabletId(group.0));
                let others = is_out.then(|| assignment.without(self.hosting.node)).flatten();
                others.unwrap_or(assignment)
            }
        }
    }

    /// Whether this replica of a group is, or is to be, on this node.
    pub(super) fn is_assigned(&self, group: GroupId, incarnation: Incarnation) -> bool {
        if let Some(replica) = self.replica(group) {
            return replica.member().incarnation == incarnation;
        }
        let own = MemberId { node: self.hosting.node, incarnation };
        self.assignment(group).voters().contains(&own)
    }

    /// Whether this node has the only replica of a group.
    pub(super) fn is_alone(&self, group: GroupId) -> bool {
        self.hosting.has_no_others()
            || self.replica(group).map_or_else(
                || self.hosting.is_alone(group),
                |replica| {
                    !replica.has_others()
                        && (replica.is_sole_voter() || self.hosting.is_alone(group))
                },
            )
    }

    fn own_hint(&self, group: GroupId) -> Option<Hint> {
        self.replica(group)?.leader()
    }

    fn target(&self, group: GroupId) -> MemberId {
        let (own, assignment) = (self.own_hint(group), self.assignment(group));
        self.routes.leaders.lock().of(group, own, &assignment)
    }

    /// The nodes that have a tablet; first the one that is said to lead it.
    pub(super) fn nodes_of(&self, tablet: TabletId) -> Vec<NodeId> {
        let group = GroupId(tablet.0);
        let first = self.target(group).node;
        let voters = self.assignment(group).voters();
        let others = voters.into_iter().map(|voter| voter.node).filter(|node| *node != first);
        [first].into_iter().chain(others).collect()
    }

    /// The job for the next one to be asked.
    fn turned(&self, job: Job, named: Option<Hint>) -> Job {
        let (own, assignment) = (self.own_hint(job.group), self.assignment(job.group));
        let mut leaders = self.routes.leaders.lock();
        let pause = match leaders.note(job.group, job.target, (named, own), &assignment) {
            News::Leader => Duration::ZERO,
            News::None => {
                let hears = self.replica(job.group).is_some_and(|replica| replica.is_running());
                let (min, max) = match hears {
                    true => (HEARING_PAUSE_MIN, HEARING_PAUSE_MAX),
                    false => (PAUSE_MIN, PAUSE_MAX),
                };
                (min * (1 << job.tries.min(4))).min(max)
            }
        };
        let target = leaders.of(job.group, own, &assignment);
        Job { target, pause, known: own, tries: job.tries + 1, ..job }
    }

    /// One round for each that is done here or waits, and one for each other node.
    fn rounds(&self, jobs: Vec<Job>) -> Vec<Round> {
        let (mut rounds, mut by_node) = (Vec::new(), BTreeMap::<NodeId, Vec<Job>>::new());
        for job in jobs {
            match job.target.node {
                _ if !job.pause.is_zero() => rounds.push(Round::Later(job)),
                node if node == self.hosting.node => rounds.push(Round::Here(job)),
                node => by_node.entry(node).or_default().push(job),
            }
        }
        rounds.extend(by_node.into_iter().map(|(node, jobs)| Round::There(node, jobs)));
        rounds
    }

    async fn carry_out(&self, round: Round) -> Ended {
        let (node, jobs) = match round {
            Round::Here(job) => (self.hosting.node, vec![job]),
            Round::There(node, jobs) => (node, jobs),
            Round::Later(job) => {
                self.pause(&job).await;
                let job = Job { target: self.target(job.group), ..job };
                (job.target.node, vec![job])
            }
        };
        if node != self.hosting.node {
            let outcomes = self.forward(node, &jobs).await;
            return jobs.into_iter().zip(outcomes).collect();
        }
        let mut ended = Vec::with_capacity(jobs.len());
        for job in jobs {
            let patience = Patience::of_several(WHOLE_WAIT);
            let outcome = self.lead(job.group, job.errand.clone(), patience).await;
            ended.push((job, outcome));
        }
        ended
    }

    async fn pause(&self, job: &Job) {
        match self.replica(job.group) {
            Some(replica) => replica.hears_of_another(job.known, job.pause).await,
            None => tokio::time::sleep(job.pause).await,
        }
    }

    /// Does an errand of a group that only this node has.
    async fn lead_alone(&self, group: GroupId, errand: Errand) -> Result<Done> {
        match self.lead(group, errand, Patience::ALONE).await {
            Ok(done) => Ok(done),
            Err(Missed::Failed(error)) => Err(error),
            Err(Missed::Elsewhere(_)) => {
                let reason = "it has no leader here".to_owned();
                Err(Error::Unavailable { group: group.0, reason })
            }
        }
    }

    /// Does an errand here, where this node leads the group.
    pub(super) async fn lead(
        &self,
        group: GroupId,
        errand: Errand,
        patience: Patience,
    ) -> Result<Done, Missed> {
        self.check()?;
        let replica = match self.able(group) {
            Ok(replica) => replica,
            // It may be named as the leader still, for as long as nobody stands for it: others are asked.
            Err(_) if self.is_out(group) => return Err(Missed::Elsewhere(None)),
            Err(error) => return Err(error.into()),
        };
        let command = match errand {
            Errand::Read => {
                let index = replica.read_index(patience.whole.min(SEEK_WAIT)).await?;
                return Ok(Done { new_rows: 0, index: index.unwrap_or(LogIndex(0)) });
            }
            Errand::Commit(command) => command,
        };
        if !self.hears_majority(group) {
            return Err(Missed::Elsewhere(None));
        }
        let new_rows = match command.body() {
            Body::Rows(batch) if batch.cursor.is_some() => {
                self.apply_all_once(&replica).await?;
                self.new_rows(TabletId(group.0), batch)
            }
            Body::Rows(batch) => self.new_rows(TabletId(group.0), batch),
            Body::Delete(_) | Body::Change(_) => 0,
        };
        let outcome = self.unless_stalled(replica.commit(&command, patience)).await;
        if group == CATALOG_GROUP {
            self.take_dropped().await;
        }
        match outcome {
            Ok(index) => Ok(Done { new_rows, index }),
            Err(Missed::Failed(Error::Closed { .. })) if group != CATALOG_GROUP => {
                Err(Error::NoTablet(TabletId(group.0)).into())
            }
            Err(missed) => Err(missed),
        }
    }

    /// Whether what is here of a group takes no part, and others may.
    fn is_out(&self, group: GroupId) -> bool {
        let voters = || self.assignment(group).voters();
        self.hosting.is_out(TabletId(group.0))
            && voters().iter().any(|voter| voter.node != self.hosting.node)
    }

    fn hears_majority(&self, group: GroupId) -> bool {
        if self.is_alone(group) {
            return true;
        }
        if let Some(replica) = self.replica(group).filter(|replica| replica.has_others()) {
            return self.hosting.around.links.hears(replica.electors().nodes());
        }
        let voters = self.assignment(group).voters();
        let nodes = voters.iter().map(|voter| voter.node).collect();
        self.hosting.around.links.hears(&nodes)
    }

    /// The replica of a group that is here or begins here.
    pub(super) fn able(&self, group: GroupId) -> Result<Arc<Replica>> {
        if group == CATALOG_GROUP {
            return Ok(self.catalog_replica.clone());
        }
        let tablet = TabletId(group.0);
        // It may have been dropped by another node, and not be taken out here yet.
        if self.catalog().tablet(tablet).is_none() {
            return Err(Error::NoTablet(tablet));
        }
        let hosted = self.hosting.serving(tablet, &self.catalog)?;
        match hosted.tablet.failure() {
            Some(reason) => Err(Error::Damaged { tablet, reason }),
            None => Ok(hosted.replica.clone()),
        }
    }
}

/// An answer as whoever asked takes it.
pub(super) fn outcome_of(group: GroupId, said: Said) -> Result<Done, Missed> {
    let unavailable = |reason| Missed::Failed(Error::Unavailable { group: group.0, reason });
    match said {
        Said::Done { new_rows, index } => Ok(Done { new_rows, index }),
        Said::Refused(reason) => Err(Error::Refused(reason).into()),
        Said::Elsewhere(hint) => Err(Missed::Elsewhere(hint)),
        Said::Busy { retry_after_ms } => Err(unavailable(format!(
            "its leader has too much to do; to be tried again after {retry_after_ms} ms"
        ))),
        Said::Unknown(reason) => Err(Error::Unknown { group: group.0, reason }.into()),
        Said::Gone => Err(Error::NoTablet(TabletId(group.0)).into()),
        Said::Failed(reason) => Err(unavailable(reason)),
    }
}

/// The other way round.
pub(super) fn said_of(outcome: Result<Done, Missed>) -> Said {
    use crate::WriteOutcome;
    match outcome {
        Ok(Done { new_rows, index }) => Said::Done { new_rows, index },
        Err(Missed::Elsewhere(hint)) => Said::Elsewhere(hint),
        Err(Missed::Failed(Error::Refused(reason))) => Said::Refused(reason),
        Err(Missed::Failed(Error::NoTablet(_))) => Said::Gone,
        // Another member may lead once this node is gone.
        Err(Missed::Failed(Error::Stopping)) => Said::Elsewhere(None),
        Err(Missed::Failed(error)) => match error.outcome() {
            WriteOutcome::Unknown => Said::Unknown(error.to_string()),
            WriteOutcome::NotStored => Said::Failed(error.to_string()),
        },
    }
}
