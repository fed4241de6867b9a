//! What others ask of this node, and what it hears of them.

use super::{book::Book, state::State};
use crate::{
    Change, ClusterId, JoinNonce, KeyPin, Node, NodeState, Presence,
    elections::Supervisor,
    join::{Answer, Ask, Known, Who, other_cluster},
    liveness::{Action, Event, Health, Watcher},
    secured::Standing,
    transport::{Agreed, Asker, Channel, Frame, Pending, Refusal, Service, Side, Tcp},
};
use bytes::Bytes;
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock, Weak};

/// Takes what comes over connections.
#[derive(Default)]
pub(super) struct Door(OnceLock<Weak<State>>);

impl Door {
    /// Opens it; said once.
    pub(super) fn open(&self, state: &Arc<State>) {
        if self.0.set(Arc::downgrade(state)).is_err() {
            tracing::error!("what comes from other nodes is taken already");
        }
    }

    fn state(&self) -> Option<Arc<State>> {
        self.0.get().and_then(Weak::upgrade)
    }
}

impl Service for Door {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        match self.state() {
            Some(state) => state.node.serve(from, frame),
            None => Box::pin(std::future::ready(Err(Refusal::Stopping))),
        }
    }

    fn linked(&self, with: &Agreed, side: Side) {
        if let Some(state) = self.state() {
            state.node.linked(with, side);
            state.watch.tell(Event::Linked(with.node));
            match side {
                // It is there, so that it can be called too.
                Side::Called => state.tcp.call_now(with.node),
                Side::Calling if with.channel == Channel::Raft => {
                    state.supervisor.reached(with.node);
                }
                Side::Calling => {}
            }
        }
    }

    fn cut(&self, with: &Agreed, side: Side) {
        if let Some(state) = self.state() {
            state.node.cut(with, side);
            state.watch.tell(Event::Cut(with.node));
        }
    }

    fn knows(&self, node: NodeId, pin: KeyPin) -> bool {
        // Before it is open, nobody can be told apart.
        self.state().is_some_and(|state| knows(&state.node, &state.book, node, pin))
    }

    fn join(&self, asker: Asker, body: Bytes) -> Pending<Option<Bytes>> {
        let state = self.state();
        Box::pin(async move {
            let answer = match Ask::decode(&body) {
                Ok(ask) => state?.answer(&asker, ask).await,
                Err(answer) => answer,
            };
            Some(answer.encode())
        })
    }
}

/// Whether there is such a node in the cluster, or there may be, and this is its key.
fn knows(own: &Node, book: &Mutex<Book>, node: NodeId, pin: KeyPin) -> bool {
    own.may_belong(node) && book.lock().is_key_of(&own.catalog(), node, pin)
}

impl State {
    async fn answer(&self, asker: &Asker, ask: Ask) -> Answer {
        if ask.presence.pin != Some(asker.pin) {
            let reason = "what was asked names another key than the connection".to_owned();
            return Answer::Refused { reason };
        }
        match ask.who {
            Who::New { nonce } => match &asker.standing {
                Standing::Unproven(reason) if !self.is_key_of_any(asker.pin) => {
                    Answer::Refused { reason: reason.to_string() }
                }
                Standing::Undecided(reason) if !self.is_key_of_any(asker.pin) => {
                    Answer::Later { reason: (*reason).to_owned() }
                }
                _ => self.take_in(nonce, ask.presence).await,
            },
            Who::Known { cluster, node } => match self.refuses(asker, cluster, node) {
                Some(answer) => answer,
                None => self.note(node, ask.presence).await,
            },
        }
    }

    /// Why what is said to come from a node of the cluster is not believed.
    fn refuses(&self, asker: &Asker, cluster: ClusterId, node: NodeId) -> Option<Answer> {
        let (ours, catalog) = (self.node.identity(), self.node.catalog());
        let refused = |reason: String| Some(Answer::Refused { reason });
        if cluster != ours.cluster {
            return Some(other_cluster(cluster, ours.cluster));
        }
        if node == ours.node {
            return refused(format!("node {node} of this cluster is this one itself"));
        }
        if catalog.node(node).is_some_and(|record| record.state == NodeState::Removed) {
            return refused(format!("node {node} was removed from the cluster"));
        }
        match (self.book.lock().pin_of(&catalog, node), &asker.standing) {
            (Some(pin), _) if pin == asker.pin => None,
            (Some(_), _) => refused(format!(
                "node {node} is known by another key; bring its file node.key back, or remove the node \
                 and let it join anew"
            )),
            (None, Standing::Proven) => None,
            (None, Standing::Unproven(reason)) => refused(reason.to_string()),
            (None, Standing::Undecided(reason)) => {
                Some(Answer::Later { reason: (*reason).to_owned() })
            }
        }
    }

    /// Gives a node that is new an id, where the catalog is led here.
    async fn take_in(&self, nonce: JoinNonce, presence: Presence) -> Answer {
        if !self.leads_catalog() {
            return self.elsewhere();
        }
        match self.node.change(Change::RegisterNode { nonce, presence }).await {
            Ok(catalog) => match catalog.node_of(nonce) {
                Some(node) => Answer::Joined { cluster: self.node.identity().cluster, node },
                None => Answer::Later { reason: "the cluster has not taken it in yet".into() },
            },
            Err(error) if error.is_retryable() => Answer::Later { reason: error.to_string() },
            Err(error) => Answer::Refused { reason: error.to_string() },
        }
    }

    /// Who leads the catalog, as far as this node knows.
    fn elsewhere(&self) -> Answer {
        let leader = self.catalog().and_then(|replica| replica.voted_for());
        let leader = leader.filter(|leader| leader.node != self.own());
        match leader.and_then(|leader| self.places().remove(&leader.node)) {
            Some(place) => Answer::Elsewhere { addresses: vec![place.address] },
            None => Answer::Later {
                reason: match self.awaited() {
                    Some(awaited) => format!("it waits itself for {awaited}"),
                    None => "nobody leads the cluster at present".into(),
                },
            },
        }
    }

    /// Notes where a node is now, in the catalog too where that is led here.
    async fn note(&self, node: NodeId, presence: Presence) -> Answer {
        let (address, boot) = (presence.addresses.node.clone(), presence.boot);
        let place = Known { address, boot, pin: presence.pin };
        let catalog = self.node.catalog();
        let record = catalog.node(node);
        let is_known = record.is_some_and(|record| record.presence == presence);
        if !is_known && self.leads_catalog() {
            match self.node.change(Change::AnnounceNode { node, presence }).await {
                Err(error) if !error.is_retryable() => {
                    return Answer::Refused { reason: error.to_string() };
                }
                Ok(_) | Err(_) => {}
            }
        }
        self.hear(node, place);
        Answer::Heard { nodes: self.places(), cluster_key: self.options.cluster_key.held() }
    }
}

/// Hears whom this node suspects and trusts.
pub(super) struct Eyes {
    pub(super) node: Weak<Node>,
    pub(super) book: Arc<Mutex<Book>>,
    pub(super) tcp: Arc<Tcp>,
    pub(super) supervisor: Arc<Supervisor>,
}

impl Watcher for Eyes {
    fn changed(&self, action: &Action) {
        match action {
            Action::Restarted(node, boot) => {
                tracing::info!(node = node.0, boot = boot.0, "a node runs anew");
                self.supervisor.restarted(*node);
            }
            Action::Suspect(node, doubt) => {
                tracing::warn!(node = node.0, ?doubt, "a node is suspected");
                self.supervisor.changed(*node);
            }
            Action::Trust(node) => {
                tracing::info!(node = node.0, "a node is trusted");
                self.tcp.call_now(*node);
                self.supervisor.changed(*node);
            }
            Action::BreakOff(node) => self.tcp.break_off(*node),
            Action::Differs(_) => self.supervisor.look_now(),
            Action::Ping(..) | Action::Reconnect(_) => {}
        }
    }

    fn knows(&self, node: NodeId, pin: KeyPin) -> bool {
        self.node.upgrade().is_some_and(|own| knows(&own, &self.book, node, pin))
    }

    fn health(&self) -> Health {
        self.node.upgrade().map_or_else(Health::default, |node| node.health())
    }
}
