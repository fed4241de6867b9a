//! The liveness of a node on a thread of its own, with connections of its own: whatever keeps other
//! work waiting keeps no ping waiting.

use super::{Action, Event, Health, Liveness, Ping, priority};
use crate::{
    KeyPin, NodeIdentity,
    secured::NodeTls,
    transport::{
        Agreed, CallError, Channel, Frame, Kind, Network, Pending, Refusal, Request, Service, Side,
        Tcp,
    },
};
use bytes::Bytes;
use oribi_model::NodeId;
use parking_lot::RwLock;
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::TcpListener,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    time::{Instant, timeout_at},
};

/// What happened and was not looked at yet; what comes beyond it is lost, as a ping may be.
const EVENTS_MAX: usize = 4_096;

/// Told of what changes in a node's view of its peers, on the liveness thread: it must not wait.
pub trait Watcher: Send + Sync + 'static {
    /// A peer is suspected or trusted, or runs anew.
    fn changed(&self, action: &Action);

    /// Whether there is such a node in the cluster, or there may be, and this is its key.
    fn knows(&self, _: NodeId, _: KeyPin) -> bool {
        true
    }

    /// How the node is, for its next pings; the age of the disk's last sync is not taken from here.
    fn health(&self) -> Health;
}

/// What goes to the thread.
enum Message {
    Event(Event),
    /// The peers, with the addresses at which they listen for pings.
    Peers(BTreeMap<NodeId, String>),
    Stop,
}

/// The liveness thread of a node.
pub struct Watch {
    messages: mpsc::Sender<Message>,
    view: Arc<RwLock<Liveness>>,
    started: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch nobody. Pings are taken at `listener`, which blocks no more from here on.
    /// What comes there for other channels goes to another network, with the runtime it works on.
    ///
    /// # Errors
    /// No thread or no sockets can be had.
    pub fn start(
        identity: NodeIdentity,
        listener: TcpListener,
        tls: Arc<NodeTls>,
        watcher: Arc<dyn Watcher>,
        elsewhere: Option<(Handle, Arc<Tcp>)>,
    ) -> io::Result<Watch> {
        listener.set_nonblocking(true)?;
        let (messages, received) = mpsc::channel(EVENTS_MAX);
        let started = Instant::now();
        let liveness = Liveness::new(identity.node, identity.boot, 0);
        let view = Arc::new(RwLock::new(liveness));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = Work { started, tls, watcher, view: view.clone(), elsewhere };
        let events = messages.clone();
        let run = move || runtime.block_on(work.run(identity, listener, events, received));
        let thread = std::thread::Builder::new().name("oribi-liveness".into()).spawn(run)?;
        Ok(Watch { messages, view, started, thread: Some(thread) })
    }

    /// Watches these nodes from now on, each at its address (`HOST:PORT`).
    pub async fn watch(&self, peers: BTreeMap<NodeId, String>) {
        // Where the thread has ended, nobody is watched any more.
        let _ = self.messages.send(Message::Peers(peers)).await;
    }

    /// Tells of something that this node knows of a peer or of itself: connections for other
    /// purposes, and that the disk has synced what it was tried with. Lost where too much waits.
    pub fn tell(&self, event: Event) {
        self.teller().tell(event);
    }

    /// What tells such things from elsewhere, and holds on to nothing else.
    pub fn teller(&self) -> Teller {
        Teller(self.messages.clone())
    }

    /// How long ago the last ping of a peer came, ms.
    pub fn heard_ms(&self, node: NodeId) -> Option<u64> {
        let at_ms = self.view.read().heard_ms(node)?;
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Some(now_ms.saturating_sub(at_ms))
    }

    /// The view of the moment, for whoever takes long over it: the thread waits for no one who holds it.
    pub fn seen(&self) -> Liveness {
        self.view.read().clone()
    }

    /// Asks the view of the moment, briefly.
    pub fn view<T>(&self, ask: impl FnOnce(&Liveness) -> T) -> T {
        ask(&self.view.read())
    }
}

/// Tells the thread of what happens, from anywhere.
#[derive(Clone)]
pub struct Teller(mpsc::Sender<Message>);

impl Teller {
    /// As [`Watch::tell`].
    pub fn tell(&self, event: Event) {
        let _ = self.0.try_send(Message::Event(event));
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut message = Message::Stop;
        // The thread takes what waits, so there is room soon, or it has ended.
        while let Err(mpsc::error::TrySendError::Full(again)) = self.messages.try_send(message) {
            message = again;
            std::thread::yield_now();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the liveness thread ended abnormally");
        }
    }
}

/// What the thread works with.
struct Work {
    started: Instant,
    tls: Arc<NodeTls>,
    watcher: Arc<dyn Watcher>,
    view: Arc<RwLock<Liveness>>,
    elsewhere: Option<(Handle, Arc<Tcp>)>,
}

impl Work {
    async fn run(
        mut self,
        identity: NodeIdentity,
        listener: TcpListener,
        events: mpsc::Sender<Message>,
        mut received: mpsc::Receiver<Message>,
    ) {
        let turn = priority::hurry();
        tracing::debug!(?turn, "the liveness thread begins");
        let service = Arc::new(Ears(Teller(events), self.watcher.clone()));
        let tcp =
            Tcp::new(identity, BTreeSet::from([Channel::Liveness]), service, self.tls.clone());
        if let Some((runtime, other)) = self.elsewhere.take() {
            tcp.hand_over(runtime, other);
        }
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => tcp.listen(listener),
            Err(error) => tracing::error!(%error, "cannot listen for the pings of other nodes"),
        }
        loop {
            let due = self.started + Duration::from_millis(self.view.read().next_ms());
            let event = match timeout_at(due, received.recv()).await {
                Ok(Some(Message::Event(event))) => event,
                Ok(Some(Message::Peers(peers))) => call_all(&tcp, peers),
                Ok(Some(Message::Stop) | None) => break,
                Err(_) => Event::Tick,
            };
            self.step(Event::Health(self.watcher.health()), &tcp);
            self.step(event, &tcp);
        }
        tcp.stop().await;
    }

    fn step(&self, event: Event, tcp: &Tcp) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let actions = self.view.write().step(now_ms, event);
        for action in actions {
            match action {
                Action::Ping(to, ref ping) => send(tcp, to, ping),
                Action::Reconnect(node) => tcp.call_now(node),
                Action::BreakOff(node) => {
                    tcp.break_off(node);
                    self.watcher.changed(&action);
                }
                Action::Suspect(..)
                | Action::Trust(_)
                | Action::Differs(_)
                | Action::Restarted(..) => self.watcher.changed(&action),
            }
        }
    }
}

fn call_all(tcp: &Tcp, peers: BTreeMap<NodeId, String>) -> Event {
    let nodes = peers.keys().copied().collect();
    tcp.call_only(peers);
    Event::Peers(nodes)
}

fn send(tcp: &Tcp, to: NodeId, ping: &Ping) {
    let (group, incarnation) = (oribi_store::log::GroupId(0), crate::Incarnation(0));
    let request = Request { kind: Kind::Ping, group, incarnation, body: ping.encode() };
    // A ping that cannot be sent is one that does not arrive.
    if let Err(CallError::Full(_)) = tcp.notify(to, request) {
        tracing::debug!(node = to.0, "pings wait to be sent");
    }
}

/// Hears pings and connections.
struct Ears(Teller, Arc<dyn Watcher>);

impl Service for Ears {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        match Ping::decode(&frame.body) {
            Some(ping) if ping.boot == from.boot => self.0.tell(Event::Pinged(from.node, ping)),
            _ => tracing::debug!(node = from.node.0, "a ping that is none"),
        }
        Box::pin(std::future::ready(Ok(Bytes::new())))
    }

    fn knows(&self, node: NodeId, pin: KeyPin) -> bool {
        self.1.knows(node, pin)
    }

    fn linked(&self, with: &Agreed, _: Side) {
        self.0.tell(Event::Linked(with.node));
    }

    fn cut(&self, with: &Agreed, _: Side) {
        self.0.tell(Event::Cut(with.node));
    }

    fn refused(&self, node: NodeId, _: Channel) {
        self.0.tell(Event::Refused(node));
    }
}
