//! Groups of three over a network in memory: leaders are killed, cut off and come back, and what was
//! acked is judged at the end.

use super::*;
use crate::{
    CopyOptions, Incarnation, WriteOutcome,
    elections::{Said, Supervisor},
    testing::{Gate, HeldDisk},
    transport::{CallError, Frame, Kind, Pending, Refusal, Request, Role},
};
use bytes::Bytes;
use oribi_store::log::Op;
use std::collections::{BTreeMap, BTreeSet};

pub(super) const NODES: [u32; 3] = [1, 2, 3];
/// How long a try of a test waits for what may never come; nothing is judged by it.
const TRY: Duration = Duration::from_millis(300);
/// How long one waits for what comes.
pub(super) const LONG: Duration = Duration::from_secs(100);

/// What becomes of a request that arrives.
pub(super) enum Fate {
    Answered,
    /// Nobody ever answers.
    Silence,
    /// The answer is changed on the way.
    Damaged,
    /// It gets no further before this says so.
    Held(tokio::sync::oneshot::Receiver<()>),
}

type Rule = Box<dyn FnMut(NodeId, &Request) -> Fate + Send>;

/// Hands requests from node to node, unless they are cut off from each other.
#[derive(Default)]
pub(super) struct Hall {
    replicas: Mutex<BTreeMap<NodeId, Arc<Replica>>>,
    cut: Mutex<BTreeSet<(NodeId, NodeId)>>,
    rule: Mutex<Option<Rule>>,
}

/// The hall as one node has it.
struct Door(NodeId, Arc<Hall>);

impl Hall {
    fn way(&self, from: NodeId, to: NodeId) -> Option<Arc<Replica>> {
        let is_open = !self.cut.lock().contains(&(from, to));
        is_open.then(|| self.replicas.lock().get(&to).cloned()).flatten()
    }

    /// Has each request to a node judged.
    pub(super) fn judge(&self, rule: impl FnMut(NodeId, &Request) -> Fate + Send + 'static) {
        *self.rule.lock() = Some(Box::new(rule));
    }

    pub(super) fn judge_no_more(&self) {
        *self.rule.lock() = None;
    }

    pub(super) fn isolate(&self, node: u32) {
        let others = NODES.into_iter().filter(|other| *other != node);
        let pairs = others.flat_map(|other| [(node, other), (other, node)]);
        self.cut.lock().extend(pairs.map(|(from, to)| (NodeId(from), NodeId(to))));
    }

    pub(super) fn heal(&self) {
        self.cut.lock().clear();
    }
}

impl Network for Door {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        let Door(from, hall) = self;
        let Some(replica) = hall.way(*from, to) else {
            return Box::pin(std::future::ready(Err(CallError::NotConnected(to))));
        };
        let fate = hall.rule.lock().as_mut().map_or(Fate::Answered, |rule| rule(to, &request));
        let Request { kind, group, incarnation, body } = request;
        let frame = Frame { kind, role: Role::Request, group, incarnation, request: 1, body };
        if matches!(fate, Fate::Silence) {
            return Box::pin(std::future::pending());
        }
        let (answer, from, hall) = (replica.receive(&frame), *from, hall.clone());
        Box::pin(async move {
            let mut answer = answer.await;
            match (fate, &mut answer) {
                (Fate::Held(go), _) => drop(go.await),
                (Fate::Damaged, Ok(body)) => {
                    let mut bytes = body.to_vec();
                    *bytes.last_mut().unwrap() ^= 1;
                    *body = bytes.into();
                }
                _ => {}
            }
            // The answer takes the way back.
            if hall.way(to, from).is_none() {
                return Err(CallError::Lost(to));
            }
            answer.map_err(|refusal| CallError::Refused { node: to, refusal })
        })
    }

    fn notify(&self, to: NodeId, _: Request) -> Result<(), CallError> {
        Err(CallError::NotConnected(to))
    }
}

/// A node: a disk that outlives its runs, and the replica of the present one.
pub(super) struct Node {
    pub(super) disk: SimDisk,
    /// Holds the syncs of its log.
    pub(super) gate: Gate,
    pub(super) log: Option<Arc<Log>>,
    pub(super) machine: Arc<Memory>,
}

pub(super) struct Group {
    pub(super) hall: Arc<Hall>,
    /// With whom it begins.
    assignment: Assignment,
    pub(super) nodes: BTreeMap<u32, Node>,
    pub(super) acked: Vec<usize>,
    count: usize,
    options: CopyOptions,
}

impl Group {
    pub(super) fn new() -> Group {
        Group::with(CopyOptions::default())
    }

    pub(super) fn with(options: CopyOptions) -> Group {
        let [founder, others @ ..] = NODES.map(|id| MemberId::first(NodeId(id)));
        Group::of(Assignment::new(founder, others.to_vec()), options)
    }

    /// One that the first node begins with alone.
    pub(super) fn alone() -> Group {
        Group::of(Assignment::alone(MemberId::first(NodeId(1))), CopyOptions::default())
    }

    fn of(assignment: Assignment, options: CopyOptions) -> Group {
        let node = || {
            let (gate, machine) = Default::default();
            Node { disk: SimDisk::new(), gate, log: None, machine }
        };
        let nodes = NODES.into_iter().map(|id| (id, node())).collect();
        let (hall, acked) = Default::default();
        let mut group = Group { hall, assignment, nodes, acked, count: 0, options };
        NODES.into_iter().for_each(|id| group.start(id));
        group
    }

    pub(super) fn start(&mut self, id: u32) {
        let door = self.door(id);
        let node = self.nodes.get_mut(&id).unwrap();
        let log = open_log_on(Arc::new(HeldDisk(node.disk.clone(), node.gate.clone())));
        // What was not flushed comes from the log.
        node.machine = Arc::new(Memory::on(&node.disk));
        let around = (Arc::new(Instances::new(self.options.clone())), door);
        let member = MemberId::first(NodeId(id));
        let (of, machine) = ((GROUP, &self.assignment), node.machine.clone());
        let replica = Replica::recover(member, of, log.clone(), machine, around).unwrap();
        node.log = Some(log);
        self.hall.replicas.lock().insert(NodeId(id), replica);
    }

    fn door(&self, id: u32) -> Arc<dyn Network> {
        Arc::new(Door(NodeId(id), self.hall.clone()))
    }

    /// Ends a node as a power cut does.
    pub(super) async fn kill(&mut self, id: u32) {
        let replica = self.hall.replicas.lock().remove(&NodeId(id)).unwrap();
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk = node.disk.reboot(id.into());
        replica.close().await;
        node.log.take().unwrap().close();
    }

    pub(super) fn replica(&self, id: u32) -> Arc<Replica> {
        self.hall.replicas.lock()[&NodeId(id)].clone()
    }

    pub(super) fn running(&self) -> Vec<u32> {
        self.hall.replicas.lock().keys().map(|node| node.0).collect()
    }

    /// A write that is acked.
    pub(super) async fn write(&mut self, id: u32) {
        self.count += 1;
        self.replica(id).write_within(create(self.count), LONG, LONG).await.unwrap();
        self.acked.push(self.count);
    }

    /// A write that is acked by whoever leads. Where another one leads meanwhile nobody may know what has
    /// become of it, and the next one is made.
    async fn write_led(&mut self) {
        loop {
            let leader = self.leader().await;
            self.count += 1;
            match self.replica(leader).write_within(create(self.count), LONG, LONG).await {
                Ok(()) => return self.acked.push(self.count),
                Err(Error::Unknown { .. } | Error::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// A write that is not.
    pub(super) async fn try_write(&mut self, id: u32) -> Error {
        self.count += 1;
        self.replica(id).write_within(create(self.count), TRY, 10 * TRY).await.unwrap_err()
    }

    /// Does what the nodes' liveness would have them do where `dead` is: each voter ends the lease,
    /// and one after the other stands, until one is proved to lead.
    pub(super) async fn elect(&self, dead: Option<u32>) -> u32 {
        loop {
            let living: Vec<u32> =
                self.running().into_iter().filter(|id| Some(*id) != dead).collect();
            for id in &living {
                if let Some(dead) = dead {
                    self.replica(*id).release(NodeId(dead)).await.unwrap();
                }
            }
            for id in &living {
                if self.replica(*id).leads(TRY).await || self.try_to_lead(*id).await {
                    return *id;
                }
            }
        }
    }

    /// Has a replica stand once, and says whether it is proved to lead then. Whoever stands again
    /// before the votes of the first time can have come takes these from itself, and with disks that
    /// are slow enough it does so for ever.
    async fn try_to_lead(&self, id: u32) -> bool {
        let replica = self.replica(id);
        replica.stand().await.unwrap();
        let waiting = replica.running().await.unwrap().raft.wait(Some(TRY));
        let _ = waiting.metrics(|metrics| metrics.state.is_leader(), "it leads").await;
        replica.leads(TRY).await
    }

    /// Everything acked is applied at every node, in the same order everywhere.
    pub(super) async fn judge(&self) {
        let count = self.acked.len();
        let applied = |id: u32| self.nodes[&id].machine.applied.lock().clone();
        // Everybody has what the leader has once it has all that was acked.
        loop {
            let ends: Vec<_> =
                NODES.iter().map(|id| applied(*id).last().map(|last| last.0)).collect();
            if ends.windows(2).all(|pair| pair[0] == pair[1]) && applied(1).len() >= count {
                break;
            }
            tokio::task::yield_now().await;
        }
        let all = applied(1);
        assert_eq!(all, applied(2));
        assert_eq!(all, applied(3));
        for number in &self.acked {
            let name = format!("\"db{number}\"");
            let times = all.iter().filter(|(_, change)| change.contains(&name)).count();
            assert!(times >= 1, "write {number} was acked and is not there");
        }
    }

    pub(super) async fn end(&mut self) {
        for id in self.running() {
            self.replica(id).close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_three_takes_what_its_leader_is_given() {
    let mut group = Group::new();
    for _ in 0..20 {
        group.write(1).await;
    }
    let error = group.try_write(2).await;
    assert_eq!(error.outcome(), WriteOutcome::NotStored, "{error}");
    group.judge().await;
    assert!(group.replica(1).leads(TRY).await && !group.replica(2).leads(TRY).await);
    for id in NODES {
        assert_eq!(group.replica(id).voted_for(), Some(MemberId::first(NodeId(1))));
        assert!(group.replica(id).is_running() && group.replica(id).usage().is_none());
    }
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_leads_where_the_leader_was_killed_and_nothing_acked_is_lost() {
    let mut group = Group::new();
    let mut leader = 1;
    for _ in 0..4 {
        for _ in 0..10 {
            group.write(leader).await;
        }
        let dead = leader;
        group.kill(dead).await;
        leader = group.elect(Some(dead)).await;
        assert_ne!(leader, dead);
        for _ in 0..10 {
            group.write(leader).await;
        }
        group.start(dead);
    }
    assert_eq!(group.acked.len(), 80);
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_cut_off_acks_nothing() {
    let mut group = Group::new();
    group.write(1).await;
    group.hall.isolate(1);
    // Nobody stands as long as the voters hold the leader to be alive.
    group.replica(2).stand().await.unwrap();
    assert!(!group.replica(2).leads(TRY).await);
    let error = group.try_write(1).await;
    assert_eq!(error.outcome(), WriteOutcome::Unknown, "{error}");
    let leader = group.elect(Some(1)).await;
    for _ in 0..10 {
        group.write(leader).await;
    }
    group.try_write(1).await;
    group.hall.heal();
    group.write(leader).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_all_nobody_leads_by_memory() {
    let mut group = Group::new();
    for _ in 0..10 {
        group.write(1).await;
    }
    for id in NODES {
        group.kill(id).await;
    }
    NODES.into_iter().for_each(|id| group.start(id));
    for id in NODES {
        assert!(!group.replica(id).leads(TRY).await);
    }
    let leader = group.elect(None).await;
    group.write(leader).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_for_another_replica_changes_nothing() {
    let mut group = Group::new();
    let frame = |kind, incarnation, body: &'static [u8]| Frame {
        kind,
        role: Role::Request,
        group: GROUP,
        incarnation: Incarnation(incarnation),
        request: 1,
        body: Bytes::from_static(body),
    };
    let vote = b"\x09\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0";
    for (frame, refusal) in [
        (frame(Kind::Vote, 1, vote), Refusal::WrongReplica { have: Incarnation(0) }),
        (frame(Kind::Vote, 0, b"?"), Refusal::Malformed),
        (frame(Kind::Append, 0, b"?"), Refusal::Malformed),
        (frame(Kind::Ask, 0, vote), Refusal::Malformed),
    ] {
        assert_eq!(group.replica(3).receive(&frame).await, Err(refusal));
    }
    assert_eq!(group.replica(3).voted_for(), None);
    assert!(!group.replica(3).is_running());
    group.write(1).await;
    group.end().await;
}

/// A supervisor for each node, all of which are told who is dead.
struct Supervisors {
    said: Arc<Said>,
    all: Vec<Arc<Supervisor>>,
    tasks: tokio::task::JoinSet<()>,
}

impl Supervisors {
    fn start(hall: &Arc<Hall>) -> Supervisors {
        let (said, mut all) = (Arc::<Said>::default(), Vec::new());
        let mut tasks = tokio::task::JoinSet::new();
        for id in NODES {
            let supervisor = Arc::<Supervisor>::default();
            let (hall, said, running) = (hall.clone(), said.clone(), supervisor.clone());
            tasks.spawn(async move {
                let here = || hall.replicas.lock().get(&NodeId(id)).cloned().into_iter().collect();
                running.run(Duration::from_secs(1), here, |look| look(&*said)).await;
            });
            all.push(supervisor);
        }
        Supervisors { said, all, tasks }
    }

    fn died(&self, node: u32) {
        self.said.died(NodeId(node));
        self.all.iter().for_each(|supervisor| supervisor.look_now());
    }

    fn came_back(&self, node: u32) {
        self.said.came_back(NodeId(node));
        self.all.iter().for_each(|supervisor| supervisor.restarted(NodeId(node)));
    }

    async fn stop(mut self) {
        self.all.iter().for_each(|supervisor| supervisor.stop());
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Group {
    /// The node that is proved to lead, once one is.
    async fn leader(&self) -> u32 {
        loop {
            for id in self.running() {
                if self.replica(id).leads(TRY).await {
                    return id;
                }
            }
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_has_missed_a_leader_does_not_keep_others_from_leading() {
    let mut group = Group::new();
    group.write(1).await;
    // Whoever has less than node 1 cannot lead instead of it.
    group.judge().await;
    group.hall.isolate(3);
    // Node 3 goes on to take node 1 for the leader, while 2 leads and ends.
    group.kill(1).await;
    group.start(1);
    group.replica(2).release(NodeId(1)).await.unwrap();
    while !group.try_to_lead(2).await {}
    group.write(2).await;
    while group.replica(1).voted_for() != Some(MemberId::first(NodeId(2))) {
        tokio::task::yield_now().await;
    }
    group.kill(2).await;
    group.hall.heal();
    assert_eq!(group.replica(3).voted_for(), Some(MemberId::first(NodeId(1))));
    // Nobody tells node 3 that 1 is dead: it is not.
    group.replica(1).release(NodeId(2)).await.unwrap();
    while !group.try_to_lead(1).await {}
    group.write(1).await;
    group.start(2);
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_starts_that_knows_of_more_than_a_power_cut_has_left_it() {
    let mut group = Group::new();
    group.write(1).await;
    group.judge().await;
    group.kill(3).await;
    let log = open_log(&group.nodes[&3].disk);
    let last = group.replica(1).applied.lock().last.unwrap();
    let committed = types::LogId::new(*last.committed_leader_id(), last.index + 50);
    let (sender, synced) = tokio::sync::oneshot::channel();
    log.submit(GROUP, Op::Committed(forms::encode_committed(&committed)), Box::new(|_| {}));
    let vote = log.group(GROUP).unwrap().vote.unwrap();
    log.submit(GROUP, Op::Vote(vote), Box::new(|outcome| drop(sender.send(outcome))));
    synced.await.unwrap().unwrap();
    log.close();
    group.start(3);
    group.write(1).await;
    group.judge().await;
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_asked_for_votes_in_vain_is_known_again_once_it_writes() {
    let mut group = Group::new();
    group.write(1).await;
    group.judge().await;
    let leader = group.replica(3).leader();
    assert_eq!(leader.map(|leader| leader.member), Some(MemberId::first(NodeId(1))));
    group.replica(3).note_asked_by(MemberId::first(NodeId(1)));
    group.replica(3).release_deserted().await;
    assert_eq!(group.replica(3).leader(), None);
    group.write(1).await;
    group.judge().await;
    assert_eq!(group.replica(3).leader(), leader);
    group.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn supervisors_give_a_group_another_leader_whenever_its_own_dies() {
    let mut group = Group::new();
    group.write(1).await;
    let supervisors = Supervisors::start(&group.hall);
    for _ in 0..4 {
        let dead = group.leader().await;
        group.kill(dead).await;
        supervisors.died(dead);
        let leader = group.leader().await;
        assert_ne!(leader, dead);
        for _ in 0..5 {
            group.write_led().await;
        }
        group.start(dead);
        supervisors.came_back(dead);
    }
    // All at once: whoever led stands by itself.
    for id in NODES {
        group.kill(id).await;
    }
    for id in NODES {
        group.start(id);
        supervisors.came_back(id);
    }
    group.write_led().await;
    group.judge().await;
    supervisors.stop().await;
    group.end().await;
}
