//! The network between the hosts: requests of one connection arrive in order, or with it not at
//! all.

use crate::{
    Replica,
    elections::Lives,
    node::CatalogMachine,
    replica::vote_given,
    tasks::{
        self,
        simulated::{self, Owner},
    },
    transport::{CallError, Channel, Frame, Kind, Network, Pending, Refusal, Request, Role},
};
use bytes::Bytes;
use oribi_model::{ArrivalClock, NodeId};
use oribi_store::{Tablet, log::GroupId};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

/// Whose tasks carry what is sent.
const CARRIER: Owner = 1_000_000;
/// Where nothing gets through, the system gives a connection up after so long.
const GIVEN_UP: Duration = Duration::from_secs(2);
/// A node that does not answer is suspected after so long.
const SUSPECTED: Duration = Duration::from_millis(400);
/// One that has ended, after so long.
const NOTICED: Duration = Duration::from_millis(5);

type Answer = oneshot::Sender<Result<Bytes, Refusal>>;

/// What arrives at a host.
pub(super) struct Arrival {
    pub(super) frame: Frame,
    pub(super) answer: Answer,
}

/// What stands at one place of the network.
pub(super) struct Place {
    pub(super) arrivals: mpsc::UnboundedSender<Arrival>,
    pub(super) replicas: BTreeMap<GroupId, Arc<Replica>>,
    pub(super) tablets: BTreeMap<GroupId, Arc<Tablet>>,
    pub(super) catalog: Option<Arc<CatalogMachine>>,
    pub(super) arrival: ArrivalClock,
}

type Way = (NodeId, NodeId);

#[derive(Default)]
struct State {
    places: BTreeMap<NodeId, Place>,
    /// Since when a node does not run, or stands still.
    ended: BTreeMap<NodeId, Instant>,
    still: BTreeMap<NodeId, Instant>,
    shut: BTreeMap<Way, Instant>,
    /// The greatest vote that each replica has given: term and member.
    votes: BTreeMap<(NodeId, GroupId), (u64, u64)>,
    connections: BTreeMap<(NodeId, NodeId, Channel), Connection>,
    count: u64,
    /// Requests for pieces of copies, and offers.
    segments: usize,
    delay_us: u64,
    /// One request in so many breaks its connection; 0 for none.
    breaks_one_in: u64,
}

struct Connection {
    number: u64,
    queue: mpsc::UnboundedSender<(Frame, oneshot::Sender<Result<Bytes, Refusal>>)>,
}

#[derive(Default)]
pub(super) struct Hall(Mutex<State>);

/// The hall as one node has it.
pub(super) struct Door(pub(super) NodeId, pub(super) Arc<Hall>);

impl Hall {
    pub(super) fn open(&self, node: NodeId, place: Place) {
        let mut state = self.0.lock();
        state.ended.remove(&node);
        state.places.insert(node, place);
    }

    pub(super) fn close(&self, node: NodeId) {
        let place = {
            let mut state = self.0.lock();
            state.still.remove(&node);
            state.ended.insert(node, tasks::now());
            state.connections.retain(|(from, to, _), _| *from != node && *to != node);
            state.places.remove(&node)
        };
        drop(place);
    }

    pub(super) fn reset(&self, one: NodeId, other: NodeId) {
        let is_one = |from, to| (from, to) == (one, other) || (from, to) == (other, one);
        self.0.lock().connections.retain(|(from, to, _), _| !is_one(*from, *to));
    }

    pub(super) fn stand_still(&self, node: NodeId) {
        self.0.lock().still.insert(node, tasks::now());
    }

    pub(super) fn go_on(&self, node: NodeId) {
        self.0.lock().still.remove(&node);
    }

    pub(super) fn shut(&self, from: NodeId, to: NodeId) {
        self.0.lock().shut.entry((from, to)).or_insert_with(tasks::now);
    }

    pub(super) fn open_all(&self) {
        self.0.lock().shut.clear();
    }

    pub(super) fn weather(&self, delay_us: u64, breaks_one_in: u64) {
        let mut state = self.0.lock();
        (state.delay_us, state.breaks_one_in) = (delay_us, breaks_one_in);
    }

    pub(super) fn segments(&self) -> usize {
        self.0.lock().segments
    }

    /// The greatest vote that a replica has given to another one: term and member.
    pub(super) fn vote_of(&self, node: NodeId, group: GroupId) -> Option<(u64, u64)> {
        self.0.lock().votes.get(&(node, group)).copied()
    }

    fn note_vote(&self, node: NodeId, group: GroupId, vote: Option<(u64, u64)>) {
        let Some(vote) = vote else { return };
        let mut state = self.0.lock();
        let known = state.votes.entry((node, group)).or_insert(vote);
        *known = vote.max(*known);
    }

    /// The nodes that run.
    pub(super) fn nodes(&self) -> Vec<NodeId> {
        self.0.lock().places.keys().copied().collect()
    }

    pub(super) fn replica(&self, node: NodeId, group: GroupId) -> Option<Arc<Replica>> {
        self.0.lock().places.get(&node)?.replicas.get(&group).cloned()
    }

    pub(super) fn tablet(&self, node: NodeId, group: GroupId) -> Option<Arc<Tablet>> {
        self.0.lock().places.get(&node)?.tablets.get(&group).cloned()
    }

    pub(super) fn catalog(&self, node: NodeId) -> Option<Arc<CatalogMachine>> {
        self.0.lock().places.get(&node)?.catalog.clone()
    }

    /// What gives times of arrival to rows that come to a node.
    pub(super) fn arrival(&self, node: NodeId) -> Option<ArrivalClock> {
        self.0.lock().places.get(&node).map(|place| place.arrival.clone())
    }

    /// A connection, made where there is none.
    fn connection(
        self: &Arc<Hall>,
        way: (NodeId, NodeId, Channel),
    ) -> mpsc::UnboundedSender<(Frame, Answer)> {
        let mut state = self.0.lock();
        if let Some(connection) = state.connections.get(&way) {
            return connection.queue.clone();
        }
        state.count += 1;
        let (number, (queue, sent)) = (state.count, mpsc::unbounded_channel());
        state.connections.insert(way, Connection { number, queue: queue.clone() });
        drop(state);
        simulated::spawn_of(CARRIER, carry(self.clone(), way, number, sent));
        queue
    }

    fn stands(&self, way: (NodeId, NodeId, Channel), number: u64) -> bool {
        self.0.lock().connections.get(&way).is_some_and(|one| one.number == number)
    }

    fn break_off(&self, way: (NodeId, NodeId, Channel), number: u64) {
        let mut state = self.0.lock();
        if state.connections.get(&way).is_some_and(|one| one.number == number) {
            state.connections.remove(&way);
        }
    }

    fn is_shut(&self, from: NodeId, to: NodeId) -> bool {
        self.0.lock().shut.contains_key(&(from, to))
    }

    /// Waits for as long as a piece takes, and until the way is open; whether the connection stands.
    async fn pass(
        &self,
        connection: (NodeId, NodeId, Channel),
        number: u64,
        (from, to): Way,
    ) -> bool {
        let delay_us = self.0.lock().delay_us;
        tasks::sleep(Duration::from_micros(20 + simulated::below(delay_us))).await;
        let since = tasks::now();
        while self.is_shut(from, to) {
            if tasks::now() - since >= GIVEN_UP {
                self.break_off(connection, number);
            }
            if !self.stands(connection, number) {
                return false;
            }
            tasks::sleep(Duration::from_millis(20)).await;
        }
        self.stands(connection, number)
    }

    /// Since when a node seems dead to another one, for whatever reason.
    fn seems_dead(&self, one: NodeId, other: NodeId) -> bool {
        let (state, now) = (self.0.lock(), tasks::now());
        let long = |since: Option<&Instant>, bound| since.is_some_and(|at| now - *at >= bound);
        long(state.ended.get(&other), NOTICED)
            || long(state.still.get(&other), SUSPECTED)
            || long(state.shut.get(&(one, other)), SUSPECTED)
            || long(state.shut.get(&(other, one)), SUSPECTED)
    }
}

/// Carries what is sent over one connection, one after the other.
async fn carry(
    hall: Arc<Hall>,
    way: (NodeId, NodeId, Channel),
    number: u64,
    mut sent: mpsc::UnboundedReceiver<(Frame, Answer)>,
) {
    let (from, to, _) = way;
    while let Some((frame, answer)) = sent.recv().await {
        let one_in = hall.0.lock().breaks_one_in;
        if one_in > 0 && simulated::below(one_in) == 0 {
            hall.break_off(way, number);
        }
        if !hall.pass(way, number, (from, to)).await {
            return;
        }
        let (kind, group) = (frame.kind, frame.group);
        if kind == Kind::Segment {
            hall.0.lock().segments += 1;
        }
        let (arrived, answered) = oneshot::channel();
        let arrivals = hall.0.lock().places.get(&to).map(|place| place.arrivals.clone());
        let Some(arrivals) = arrivals else { return };
        if arrivals.send(Arrival { frame, answer: arrived }).is_err() {
            return;
        }
        let hall = hall.clone();
        simulated::spawn_of(CARRIER, async move {
            let Ok(found) = answered.await else { return };
            if let (Ok(body), Kind::Vote) = (&found, kind) {
                hall.note_vote(to, group, vote_given(body));
            }
            if hall.pass(way, number, (to, from)).await {
                let _ = answer.send(found);
            }
        });
    }
}

impl Network for Door {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        let Door(from, hall) = self;
        let is_there = hall.0.lock().places.contains_key(&to);
        let channel = request.kind.channel().filter(|_| is_there);
        let Some(channel) = channel else {
            return Box::pin(std::future::ready(Err(CallError::NotConnected(to))));
        };
        let Request { kind, group, incarnation, body } = request;
        let frame = Frame { kind, role: Role::Request, group, incarnation, request: 1, body };
        let (sender, answer) = oneshot::channel();
        if hall.connection((*from, to, channel)).send((frame, sender)).is_err() {
            return Box::pin(std::future::ready(Err(CallError::NotConnected(to))));
        }
        Box::pin(async move {
            let answer = answer.await.map_err(|_| CallError::Lost(to))?;
            answer.map_err(|refusal| CallError::Refused { node: to, refusal })
        })
    }

    fn notify(&self, to: NodeId, _: Request) -> Result<(), CallError> {
        Err(CallError::NotConnected(to))
    }
}

/// What a node thinks of the lives of others: what its liveness would have found by then.
impl Lives for Door {
    fn trusts(&self, node: NodeId) -> bool {
        node == self.0 || !self.1.seems_dead(self.0, node)
    }

    fn is_dead(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        let heard = voters.iter().filter(|voter| **voter != node && self.trusts(**voter));
        let suspecting = heard.filter(|voter| self.1.seems_dead(**voter, node)).count();
        !self.trusts(node) && suspecting > voters.len() / 2
    }

    fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        voters.iter().filter(|voter| self.trusts(**voter)).count() > voters.len() / 2
    }
}
