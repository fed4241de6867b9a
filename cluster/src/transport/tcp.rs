//! The network over TCP: this node calls every other one, once for each purpose, and takes the
//! calls of others.
//!
//! The handshake of TLS goes between the socket and the greeting, in `greeted` and `call_once`.

use super::{
    Agreed, Asker, CallError, Channel, Connection, Decoder, HelloError, Kind, Network, Pending,
    Request, Service, Side, Succession,
    calls::Calls,
    greeting::{self, Caller, GREETING_WAIT, GreetingError},
    newcomers::Newcomers,
    pump::{Ended, Pump},
};
use crate::{
    KeyPin, NodeIdentity,
    secured::{NodeTls, Peer, Stream},
};
use bytes::Bytes;
use oribi_model::NodeId;
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::{Notify, oneshot, watch},
    task::JoinSet,
    time::{Instant, timeout},
};

const CONNECT_WAIT: Duration = Duration::from_secs(2);
/// Before a node is called again: at first, and at most. The kernel of one that is ending may still
/// take a call.
const AGAIN_MIN: Duration = Duration::from_millis(5);
const AGAIN_MAX: Duration = Duration::from_secs(1);
/// Before another connection is taken where one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A connection that came in, and may have to make room for another.
struct Called {
    node: NodeId,
    pin: KeyPin,
    stop: Arc<Notify>,
    /// Answers, with an error, once nothing more of it is handed on.
    ended: oneshot::Receiver<()>,
}

/// A connection that this node has made.
#[derive(Clone)]
struct Calling {
    calls: Calls,
    stop: Arc<Notify>,
}

#[derive(Default)]
struct Callers {
    succession: Succession,
    running: BTreeMap<Connection, Called>,
}

/// Another network of the same node, on its own runtime, for what comes over other channels.
struct Elsewhere {
    runtime: Handle,
    tcp: Arc<Tcp>,
}

struct Shared {
    identity: NodeIdentity,
    channels: BTreeSet<Channel>,
    elsewhere: OnceLock<Elsewhere>,
    service: Arc<dyn Service>,
    callers: Mutex<Callers>,
    /// The connections that this node has made and that stand.
    calling: Mutex<BTreeMap<(NodeId, Channel), Calling>>,
    newcomers: Newcomers,
    tls: Arc<NodeTls>,
    stopped: watch::Sender<bool>,
}

/// A node that is called.
struct Callee {
    address: String,
    /// Changes where it is to be called without waiting any longer.
    again: watch::Sender<()>,
    calling: JoinSet<()>,
}

/// The connections of a node for some channels.
pub struct Tcp {
    shared: Arc<Shared>,
    called: Mutex<BTreeMap<NodeId, Callee>>,
    /// What listens, and the connections that were taken over.
    taking: Mutex<JoinSet<()>>,
}

impl Tcp {
    /// A network in which nobody is called yet; `service` takes what others ask.
    pub fn new(
        identity: NodeIdentity,
        channels: BTreeSet<Channel>,
        service: Arc<dyn Service>,
        tls: Arc<NodeTls>,
    ) -> Tcp {
        let shared = Arc::new(Shared {
            identity,
            channels,
            elsewhere: OnceLock::new(),
            service,
            callers: Mutex::default(),
            calling: Mutex::default(),
            newcomers: Newcomers::default(),
            tls,
            stopped: watch::Sender::new(false),
        });
        Tcp { shared, called: Mutex::default(), taking: Mutex::default() }
    }

    /// Takes the calls that come in at `listener`, on the present runtime, until the network ends.
    pub fn listen(&self, listener: TcpListener) {
        let shared = self.shared.clone();
        self.taking.lock().spawn(async move {
            let mut stopped = shared.stopped.subscribe();
            let mut connections = JoinSet::new();
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                () = accept(&shared, &listener, &mut connections) => {}
            }
            connections.shutdown().await;
        });
    }

    /// Hands connections that come in for other channels than this network's to another one, which
    /// works on `runtime`. Said once, before anything listens.
    pub fn hand_over(&self, runtime: Handle, tcp: Arc<Tcp>) {
        if self.shared.elsewhere.set(Elsewhere { runtime, tcp }).is_err() {
            tracing::error!("connections are handed over already");
        }
    }

    /// Calls these nodes at their addresses (`HOST:PORT`), again and again, and no others. Connections
    /// of nodes that are not known any more end.
    pub fn call_only(&self, nodes: BTreeMap<NodeId, String>) {
        for called in self.shared.callers.lock().running.values() {
            if !self.shared.service.knows(called.node, called.pin) {
                called.stop.notify_one();
            }
        }
        let mut called = self.called.lock();
        called.retain(|node, known| nodes.get(node) == Some(&known.address));
        for (node, address) in nodes {
            called.entry(node).or_insert_with(|| self.callee(node, address));
        }
    }

    /// Calls a node again now, where that would have had to wait.
    pub fn call_now(&self, node: NodeId) {
        if let Some(callee) = self.called.lock().get(&node) {
            callee.again.send_replace(());
        }
    }

    /// Gives up the connections that this node has made to another one: whoever waits for an answer
    /// over them is told at once. They are made anew, and meanwhile nothing is sent.
    pub fn break_off(&self, node: NodeId) {
        let calling = self.shared.calling.lock();
        for (_, standing) in calling.iter().filter(|((to, _), _)| *to == node) {
            standing.stop.notify_one();
        }
    }

    fn callee(&self, node: NodeId, address: String) -> Callee {
        let (mut calling, again) = (JoinSet::new(), watch::Sender::new(()));
        for channel in self.shared.channels.iter().copied() {
            let (shared, address, again) =
                (self.shared.clone(), address.clone(), again.subscribe());
            let call = async move { shared.keep_calling(node, channel, &address, again).await };
            calling.spawn(call);
        }
        Callee { address, again, calling }
    }

    /// Takes a connection over whose other side is known.
    fn adopt(
        &self,
        runtime: &Handle,
        stream: Stream,
        pin: KeyPin,
        agreed: Agreed,
        decoder: Decoder,
    ) {
        let shared = self.shared.clone();
        let serve = async move {
            let mut stopped = shared.stopped.subscribe();
            let ended = async {
                let mut stream = stream;
                match stream.get_mut().0.arrive() {
                    Ok(()) => shared.serve_greeted(stream, pin, agreed, decoder).await,
                    Err(error) => error.to_string(),
                }
            };
            tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => {}
                ended = ended => tracing::debug!(%ended, "a connection from another node has ended"),
            }
        };
        let mut taking = self.taking.lock();
        while taking.try_join_next().is_some() {}
        taking.spawn_on(serve, runtime);
    }

    /// Whether this node has a connection to another one for this purpose.
    pub fn is_connected(&self, node: NodeId, channel: Channel) -> bool {
        self.shared.calling.lock().contains_key(&(node, channel))
    }

    /// Ends all connections. Once this resolves, nothing more is handed on.
    pub async fn stop(&self) {
        self.shared.stopped.send_replace(true);
        let called = std::mem::take(&mut *self.called.lock());
        for mut callee in called.into_values() {
            callee.calling.shutdown().await;
        }
        let mut taking = std::mem::take(&mut *self.taking.lock());
        while taking.join_next().await.is_some() {}
    }
}

impl Network for Tcp {
    fn call(&self, to: NodeId, request: Request) -> Pending<Result<Bytes, CallError>> {
        let asked = self.shared.calls(to, request.kind).and_then(|calls| calls.ask(request));
        match asked {
            Ok(answer) => Box::pin(async move { answer.await.unwrap_or(Err(CallError::Lost(to))) }),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn notify(&self, to: NodeId, request: Request) -> Result<(), CallError> {
        self.shared.calls(to, request.kind)?.tell(request)
    }
}

async fn accept(shared: &Arc<Shared>, listener: &TcpListener, connections: &mut JoinSet<()>) {
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, from)) => {
                let shared = shared.clone();
                connections.spawn(async move {
                    let ended = shared.serve(stream).await;
                    tracing::debug!(%from, %ended, "a connection from another node has ended");
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another node");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Shared {
    fn calls(&self, to: NodeId, kind: Kind) -> Result<Calls, CallError> {
        let channel = kind.channel().unwrap_or(Channel::Liveness);
        let standing = self.calling.lock().get(&(to, channel)).cloned();
        standing.map(|standing| standing.calls).ok_or(CallError::NotConnected(to))
    }

    async fn serve(&self, stream: TcpStream) -> String {
        let greeted = greeted(self, stream).await;
        let (mut stream, peer, caller) = match greeted {
            Ok(greeted) => greeted,
            Err(error) => return error.to_string(),
        };
        let (agreed, decoder) = match caller {
            Caller::Node(agreed, decoder) => (agreed, decoder),
            Caller::Joining(body) => {
                let join = |asker, body| self.join(asker, body);
                let answered = greeting::reply(&mut stream, &self.tls, &peer, body, join).await;
                return answered.map_or_else(|error| error.to_string(), |()| "answered".into());
            }
        };
        if self.channels.contains(&agreed.channel) {
            return self.serve_greeted(stream, peer.pin(), agreed, decoder).await;
        }
        let Some(Elsewhere { runtime, tcp }) = self.elsewhere.get() else {
            return "nothing is taken over this channel".into();
        };
        match stream.get_mut().0.leave() {
            Ok(()) => tcp.adopt(runtime, stream, peer.pin(), agreed, decoder),
            Err(error) => return error.to_string(),
        }
        "it was handed over".into()
    }

    /// The answer to somebody who wants to be known, worked on where other work is.
    fn join(&self, asker: Asker, body: Bytes) -> Pending<Option<Bytes>> {
        let Some(Elsewhere { runtime, tcp }) = self.elsewhere.get() else {
            return self.service.join(asker, body);
        };
        let (tcp, runtime) = (tcp.clone(), runtime.clone());
        Box::pin(async move {
            let answering = async move { tcp.shared.service.join(asker, body).await };
            runtime.spawn(answering).await.unwrap_or(None)
        })
    }

    async fn serve_greeted(
        &self,
        stream: Stream,
        pin: KeyPin,
        agreed: Agreed,
        decoder: Decoder,
    ) -> String {
        let (connection, stop, ended) = match self.succeed(&agreed, pin).await {
            Ok(taken) => taken,
            Err(error) => return error.to_string(),
        };
        if !self.service.knows(agreed.node, pin) {
            // It was forgotten since it was greeted, when its connection was in no list to be ended.
            stop.notify_one();
        }
        self.service.linked(&agreed, Side::Called);
        let outcome = self.pump(agreed, stop).1.run(stream, decoder).await;
        {
            let mut callers = self.callers.lock();
            callers.running.remove(&connection);
            // Told before the next one can be: what is told last is how it is.
            if callers.succession.end(agreed.node, agreed.channel, connection) {
                self.service.cut(&agreed, Side::Called);
            }
        }
        drop(ended);
        outcome.to_string()
    }

    /// Gives a connection the place of those before it, once they have ended.
    async fn succeed(
        &self,
        agreed: &Agreed,
        pin: KeyPin,
    ) -> Result<(Connection, Arc<Notify>, oneshot::Sender<()>), super::Superseded> {
        let (stop, (ending, ended)) = (Arc::<Notify>::default(), oneshot::channel());
        let (connection, before) = {
            let mut callers = self.callers.lock();
            let (connection, before) = callers.succession.offer(agreed)?;
            let before: Vec<Called> =
                before.iter().filter_map(|one| callers.running.remove(one)).collect();
            let called = Called { node: agreed.node, pin, stop: stop.clone(), ended };
            callers.running.insert(connection, called);
            (connection, before)
        };
        for one in before {
            one.stop.notify_one();
            let _ = one.ended.await;
        }
        Ok((connection, stop, ending))
    }

    fn pump(&self, agreed: Agreed, stop: Arc<Notify>) -> (Calls, Pump) {
        let (calls, queue) = Calls::new(agreed.node, agreed.channel);
        let service = self.service.clone();
        (calls.clone(), Pump { agreed, calls, queue, service, stop })
    }

    async fn keep_calling(
        &self,
        node: NodeId,
        channel: Channel,
        address: &str,
        mut again: watch::Receiver<()>,
    ) {
        let mut stopped = self.stopped.subscribe();
        let (mut pause, mut was_unknown) = (AGAIN_MIN, false);
        while !*stopped.borrow_and_update() {
            let started = Instant::now();
            again.mark_unchanged();
            let outcome = self.call_once(node, channel, address).await;
            let stood = outcome.is_ok() && started.elapsed() > AGAIN_MAX;
            match outcome {
                Ok(ended) => {
                    was_unknown = false;
                    tracing::debug!(node = node.0, ?channel, %ended, "a connection has ended");
                }
                Err(GreetingError::Hello(error @ HelloError::Unknown { .. })) if !was_unknown => {
                    was_unknown = true;
                    tracing::warn!(%error, "another node turns this one away; it is asked again");
                }
                Err(error) => {
                    tracing::debug!(node = node.0, ?channel, %error, "cannot connect");
                }
            }
            // Where a connection stood for a while, a break may be all that is wrong.
            pause = if stood { Duration::ZERO } else { (pause * 2).clamp(AGAIN_MIN, AGAIN_MAX) };
            tokio::select! {
                _ = stopped.changed() => {}
                // What changes it lives as long as this task.
                _ = again.changed() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn call_once(
        &self,
        node: NodeId,
        channel: Channel,
        address: &str,
    ) -> Result<Ended, GreetingError> {
        let late = |_| GreetingError::Late;
        let connected = timeout(CONNECT_WAIT, TcpStream::connect(address)).await.map_err(late)?;
        if connected.is_err() {
            self.service.refused(node, channel);
        }
        let stream = connected?;
        stream.set_nodelay(true)?;
        let connecting = timeout(GREETING_WAIT, self.tls.connect(stream)).await;
        let (mut stream, peer) = connecting.map_err(late)??;
        let cluster = self.identity.cluster;
        if !peer.is_named(cluster, node) || !self.service.knows(node, peer.pin()) {
            return Err(GreetingError::OtherKey(node));
        }
        let hello = greeting::hello(self.identity, channel, node);
        let (agreed, decoder) = greeting::call(&mut stream, &hello).await?;
        let stop = Arc::<Notify>::default();
        let (calls, pump) = self.pump(agreed, stop.clone());
        let _standing = Standing::new(self, agreed, Calling { calls, stop });
        Ok(pump.run(stream, decoder).await)
    }
}

/// A connection that this node has made, for as long as it stands.
struct Standing<'a> {
    shared: &'a Shared,
    agreed: Agreed,
    calling: Calling,
}

impl Standing<'_> {
    fn new(shared: &Shared, agreed: Agreed, calling: Calling) -> Standing<'_> {
        shared.calling.lock().insert((agreed.node, agreed.channel), calling.clone());
        shared.service.linked(&agreed, Side::Calling);
        Standing { shared, agreed, calling }
    }
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        let Agreed { node, channel, .. } = self.agreed;
        let mut calling = self.shared.calling.lock();
        // The node may be called elsewhere by now.
        let is_known = |known: &Calling| known.calls.is_same(&self.calling.calls);
        if calling.get(&(node, channel)).is_some_and(is_known) {
            calling.remove(&(node, channel));
            // Told before the next one can be: what is told last is how it is.
            self.shared.service.cut(&self.agreed, Side::Calling);
        }
    }
}

type Greeted = (Stream, Peer, Caller);

async fn greeted(shared: &Shared, stream: TcpStream) -> Result<Greeted, GreetingError> {
    let newcomer = shared.newcomers.arrive();
    let greeted = async {
        stream.set_nodelay(true)?;
        let accepting = async {
            // Who says nothing takes no turn.
            stream.readable().await?;
            shared.newcomers.turn().await?;
            shared.tls.accept(stream).await
        };
        let accepted = timeout(GREETING_WAIT, accepting).await;
        let (mut stream, peer) = accepted.unwrap_or(Err(std::io::ErrorKind::TimedOut.into()))?;
        let (own, service) = (shared.identity, &shared.service);
        let knows = |node| peer.is_named(own.cluster, node) && service.knows(node, peer.pin());
        let caller = greeting::accept(&mut stream, own, knows).await?;
        Ok((stream, peer, caller))
    };
    tokio::select! {
        greeted = greeted => greeted,
        () = newcomer.must_go() => Err(GreetingError::Late),
    }
}
