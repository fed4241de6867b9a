//! Connections over real sockets.

use super::*;
use crate::{
    KeyPin,
    secured::{Admission, NodeKey, NodeTls, Stream},
    transport::{CallError, Network, PREFACE, Pending, Request, Service, Side, Tcp},
};
use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, watch},
};

type Event = (NodeId, Boot, Channel, Side, bool);

/// Notes what comes in. Echoes, refuses, or never answers, as the body says.
#[derive(Default)]
struct Noted {
    served: Mutex<Vec<(NodeId, Bytes)>>,
    links: Mutex<Vec<Event>>,
    turned_away: Mutex<Vec<NodeId>>,
    changes: watch::Sender<u64>,
}

impl Noted {
    fn change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Waits until what was noted is as wanted.
    async fn until(&self, mut wanted: impl FnMut(&Noted) -> bool) {
        /// What never comes must not hold up whoever runs the tests.
        const WAIT_MAX: Duration = Duration::from_secs(60);
        let mut changes = self.changes.subscribe();
        let waiting = async {
            while !wanted(self) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(WAIT_MAX, waiting).await.expect("it is noted within a minute");
    }

    async fn until_served(&self, count: usize) -> Vec<Bytes> {
        self.until(|noted| noted.served.lock().len() >= count).await;
        self.served.lock().iter().map(|(_, body)| body.clone()).collect()
    }

    async fn until_link(&self, node: u32, channel: Channel, side: Side, is_up: bool) {
        let is_it = |event: &Event| {
            let (of, _, over, at, up) = *event;
            (of, over, at, up) == (NodeId(node), channel, side, is_up)
        };
        self.until(|noted| noted.links.lock().iter().any(is_it)).await;
    }
}

impl Service for Noted {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        self.served.lock().push((from.node, frame.body.clone()));
        self.change();
        match &frame.body[..] {
            b"never" => Box::pin(std::future::pending()),
            b"refuse" => Box::pin(std::future::ready(Err(Refusal::NoReplica))),
            _ => Box::pin(std::future::ready(Ok(frame.body))),
        }
    }

    fn knows(&self, node: NodeId, _: KeyPin) -> bool {
        node != NodeId(99) && !self.turned_away.lock().contains(&node)
    }

    fn linked(&self, with: &Agreed, side: Side) {
        self.links.lock().push((with.node, with.boot, with.channel, side, true));
        self.change();
    }

    fn cut(&self, with: &Agreed, side: Side) {
        self.links.lock().push((with.node, with.boot, with.channel, side, false));
        self.change();
    }
}

fn tls_of(identity: NodeIdentity) -> Arc<NodeTls> {
    let key = NodeKey::generate().unwrap();
    Arc::new(NodeTls::new(&key, Some(identity), Admission::Loopback).unwrap())
}

/// A node that listens.
async fn node(identity: NodeIdentity) -> (Tcp, Arc<Noted>, String) {
    let noted = Arc::new(Noted::default());
    let tcp = Tcp::new(identity, Channel::ALL.into(), noted.clone(), tls_of(identity));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tcp.listen(listener);
    (tcp, noted, address)
}

fn request(kind: Kind, body: impl Into<Bytes>) -> Request {
    Request { kind, group: GroupId(4), incarnation: Incarnation(2), body: body.into() }
}

/// Takes connections of a node and never says anything, as one that is frozen.
async fn frozen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_node_that_is_given_up_is_lost_at_once() {
    let (one, noted_one, _) = node(identity(1, 1)).await;
    let (two, noted_two, address) = node(identity(2, 1)).await;
    one.call_only([(NodeId(2), address)].into());
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, true).await;
    }
    let kinds = [Kind::Append, Kind::Ask, Kind::Vote];
    let waiting = kinds.map(|kind| one.call(NodeId(2), request(kind, "never")));
    noted_two.until_served(3).await;
    one.break_off(NodeId(2));
    for waiting in waiting {
        assert_eq!(waiting.await, Err(CallError::Lost(NodeId(2))));
    }
    // It is called again, and answers.
    noted_one.until(|noted| noted.links.lock().len() >= 9).await;
    assert_eq!(one.call(NodeId(2), request(Kind::Append, "again")).await, Ok("again".into()));
    one.stop().await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_waits_for_a_node_that_does_not_greet() {
    let (one, ..) = node(identity(1, 1)).await;
    let (listener, address) = frozen().await;
    one.call_only([(NodeId(2), address)].into());
    let (_open, _) = listener.accept().await.unwrap();
    let answer = one.call(NodeId(2), request(Kind::Append, "rows")).await;
    assert_eq!(answer, Err(CallError::NotConnected(NodeId(2))));
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_arrive_in_order_and_each_gets_its_answer() {
    let (one, noted_one, _) = node(identity(1, 1)).await;
    let (two, noted_two, address) = node(identity(2, 1)).await;
    let before = one.call(NodeId(2), request(Kind::Append, "early")).await;
    assert_eq!(before, Err(CallError::NotConnected(NodeId(2))));
    one.call_only([(NodeId(2), address)].into());
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, true).await;
    }
    let body = |at: u32| {
        Bytes::from(at.to_le_bytes().repeat(if at.is_multiple_of(10) { 30_000 } else { 3 }))
    };
    let never = one.call(NodeId(2), request(Kind::Append, "never"));
    let answers: Vec<_> =
        (0..200).map(|at| one.call(NodeId(2), request(Kind::Append, body(at)))).collect();
    for (at, answer) in answers.into_iter().enumerate() {
        assert_eq!(answer.await, Ok(body(at as u32)));
    }
    let refused = one.call(NodeId(2), request(Kind::Vote, "refuse")).await;
    let refusal = Refusal::NoReplica;
    assert_eq!(refused, Err(CallError::Refused { node: NodeId(2), refusal }));
    one.notify(NodeId(2), request(Kind::Ping, "ping")).unwrap();
    let mut served = noted_two.until_served(203).await;
    served.retain(|body| *body != "ping");
    assert_eq!(served[0], "never");
    assert_eq!(served[1..201], (0..200).map(body).collect::<Vec<_>>());

    two.stop().await;
    assert_eq!(never.await, Err(CallError::Lost(NodeId(2))));
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, false).await;
    }
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_comes_back_is_found_again() {
    let (one, noted_one, _) = node(identity(1, 1)).await;
    let (two, _, address) = node(identity(2, 1)).await;
    one.call_only([(NodeId(2), address.clone())].into());
    noted_one.until_link(2, Channel::Raft, Side::Calling, true).await;
    two.stop().await;
    drop(two);
    noted_one.until_link(2, Channel::Raft, Side::Calling, false).await;

    let noted_two = Arc::new(Noted::default());
    let again =
        Tcp::new(identity(2, 2), Channel::ALL.into(), noted_two.clone(), tls_of(identity(2, 2)));
    again.listen(TcpListener::bind(&address).await.unwrap());
    let is_back = |event: &Event| event.1 == Boot(2) && event.2 == Channel::Raft && event.4;
    noted_one.until(|noted| noted.links.lock().iter().any(is_back)).await;
    assert_eq!(one.call(NodeId(2), request(Kind::Vote, "x")).await, Ok("x".into()));
    one.stop().await;
    noted_two.until_link(1, Channel::Raft, Side::Called, false).await;
    again.stop().await;
}

/// A node that is made of bytes.
struct Raw(Stream);

impl Raw {
    async fn connect(address: &str, hello: &Hello) -> Raw {
        Raw::connect_as(address, hello.identity, hello).await
    }

    /// With the certificate of a node that may be another one than the hello names.
    async fn connect_as(address: &str, shown: NodeIdentity, hello: &Hello) -> Raw {
        let stream = TcpStream::connect(address).await.unwrap();
        let (mut stream, _) = tls_of(shown).connect(stream).await.unwrap();
        let mut bytes = BytesMut::from(&PREFACE[..]);
        hello.to_frame().encode(&mut bytes);
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        Raw(stream)
    }

    async fn send(&mut self, request: u64, body: &'static str) {
        let frame = Frame { request, ..Frame::notice(Kind::Append, body.into()) };
        self.0.write_all(&encoded(&[frame])).await.unwrap();
        self.0.flush().await.unwrap();
    }

    /// Everything until the other side closes.
    async fn rest(mut self) -> Vec<Received> {
        let mut bytes = Vec::new();
        // A reset is an end, too.
        let _ = self.0.read_to_end(&mut bytes).await;
        let frames = bytes.strip_prefix(&PREFACE).unwrap_or(&bytes);
        decoded(Channel::Raft, frames, &[]).unwrap()
    }
}

fn theirs(identity: NodeIdentity) -> Received {
    Received::Frame(Hello::new(identity, Channel::Raft, NodeId(2)).to_frame())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_here_is_told_who_is_here_and_no_more() {
    let (one, noted, address) = node(identity(1, 1)).await;
    let stranger = NodeIdentity { cluster: ClusterId(8), ..identity(2, 1) };
    let hello = |identity| Hello::new(identity, Channel::Raft, NodeId(1));
    let newer = Hello { protocol_min: 7, protocol_max: 9, ..hello(identity(2, 1)) };
    let lost = Hello { for_node: NodeId(3), ..hello(identity(2, 1)) };
    for hello in [hello(stranger), newer, lost] {
        let mut raw = Raw::connect(&address, &hello).await;
        raw.send(1, "secret").await;
        assert_eq!(raw.rest().await, [theirs(identity(1, 1))]);
    }
    let unknown = hello(identity(99, 1));
    let mut raw = Raw::connect(&address, &unknown).await;
    raw.send(1, "secret").await;
    let answers = raw.rest().await;
    let [Received::Frame(answer)] = &answers[..] else { panic!("{answers:?}") };
    let told = unknown.answered(&Hello::decode(&answer.body).unwrap());
    let refused = HelloError::Unknown { node: NodeId(99), by: NodeId(1) };
    assert_eq!(told, Err(refused));
    // A node, by a certificate of another one.
    let other = identity(3, 1);
    let raw = Raw::connect_as(&address, other, &hello(identity(2, 1))).await;
    let answers = raw.rest().await;
    let [Received::Frame(answer)] = &answers[..] else { panic!("{answers:?}") };
    let told = hello(identity(2, 1)).answered(&Hello::decode(&answer.body).unwrap());
    assert_eq!(told, Err(HelloError::Unknown { node: NodeId(2), by: NodeId(1) }));
    for bytes in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], b"ORIBINET\xff\xff\xff\xff", b"ORIBINET\x1a\0\0\0"]
    {
        let stream = TcpStream::connect(&address).await.unwrap();
        let (mut stream, _) = tls_of(identity(2, 1)).connect(stream).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(answer, b"");
        // In clear text, what comes back is no more than that this is TLS.
        let mut clear = TcpStream::connect(&address).await.unwrap();
        clear.write_all(bytes).await.unwrap();
        clear.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let _ = clear.read_to_end(&mut answer).await;
        assert!(answer.len() < 16 && !answer.starts_with(&PREFACE), "{answer:?}");
    }
    assert!(noted.served.lock().is_empty() && noted.links.lock().is_empty());
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_before_the_one_that_takes_its_place_is_heard() {
    let (one, noted, address) = node(identity(1, 1)).await;
    let hello = |boot| Hello::new(identity(2, boot), Channel::Raft, NodeId(1));
    let mut first = Raw::connect(&address, &hello(5)).await;
    first.send(1, "a").await;
    first.send(2, "never").await;
    noted.until_served(2).await;
    let mut second = Raw::connect(&address, &hello(5)).await;
    second.send(1, "b").await;
    noted.until_served(3).await;
    // Nobody reads this any more.
    let _ = first.0.write_all(&encoded(&[Frame::notice(Kind::Append, "late".into())])).await;
    let answers = first.rest().await;
    assert!(answers.len() <= 2, "a hello and the answer to the first: {answers:?}");

    let mut third = Raw::connect(&address, &hello(6)).await;
    third.send(1, "c").await;
    noted.until_served(4).await;
    assert!(second.rest().await.len() <= 2);
    let mut old = Raw::connect(&address, &hello(5)).await;
    old.send(1, "old").await;
    assert_eq!(old.rest().await, [theirs(identity(1, 1))]);
    assert_eq!(noted.until_served(4).await, ["a", "never", "b", "c"]);
    drop(third);
    noted.until_link(2, Channel::Raft, Side::Called, false).await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_for_other_channels_are_handed_to_their_runtime() {
    let (noted_ears, noted_raft) = (Arc::new(Noted::default()), Arc::new(Noted::default()));
    let tls = || tls_of(identity(2, 1));
    let ears = Tcp::new(identity(2, 1), [Channel::Liveness].into(), noted_ears.clone(), tls());
    let others = [Channel::Raft, Channel::Bulk].into();
    let raft = Arc::new(Tcp::new(identity(2, 1), others, noted_raft.clone(), tls()));
    ears.hand_over(tokio::runtime::Handle::current(), raft.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    ears.listen(listener);
    let (one, noted_one, _) = node(identity(1, 1)).await;
    one.call_only([(NodeId(2), address)].into());
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, true).await;
    }
    assert_eq!(one.call(NodeId(2), request(Kind::Vote, "vote")).await, Ok("vote".into()));
    assert_eq!(one.call(NodeId(2), request(Kind::Ask, "ask")).await, Ok("ask".into()));
    one.notify(NodeId(2), request(Kind::Ping, "ping")).unwrap();
    assert_eq!(noted_ears.until_served(1).await, ["ping"]);
    assert_eq!(noted_raft.until_served(2).await, ["vote", "ask"]);
    raft.stop().await;
    noted_one.until_link(2, Channel::Raft, Side::Calling, false).await;
    ears.stop().await;
    noted_one.until_link(2, Channel::Liveness, Side::Calling, false).await;
    one.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_of_a_node_that_is_known_no_more_end() {
    let (one, noted_one, _) = node(identity(1, 1)).await;
    let (two, noted_two, address) = node(identity(2, 1)).await;
    one.call_only([(NodeId(2), address)].into());
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, true).await;
    }
    let never = one.call(NodeId(2), request(Kind::Append, "never"));
    noted_two.until_served(1).await;
    noted_two.turned_away.lock().push(NodeId(1));
    two.call_only([].into());
    for channel in Channel::ALL {
        noted_one.until_link(2, channel, Side::Calling, false).await;
    }
    assert_eq!(never.await, Err(CallError::Lost(NodeId(2))));
    one.stop().await;
    two.stop().await;
}

/// Knows a node while it is greeted, and no longer.
#[derive(Default)]
struct Forgetful(Noted, AtomicBool);

impl Service for Forgetful {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        self.0.serve(from, frame)
    }

    fn knows(&self, _: NodeId, _: KeyPin) -> bool {
        !self.1.swap(true, Ordering::SeqCst)
    }

    fn linked(&self, with: &Agreed, side: Side) {
        self.0.linked(with, side);
    }

    fn cut(&self, with: &Agreed, side: Side) {
        self.0.cut(with, side);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_forgotten_while_it_is_greeted_does_not_stay() {
    let (forgetful, only) = (Arc::new(Forgetful::default()), BTreeSet::from([Channel::Raft]));
    let own = identity(1, 1);
    let tcp = Tcp::new(own, only.clone(), forgetful.clone(), tls_of(own));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tcp.listen(listener);
    let caller = identity(2, 1);
    let two = Tcp::new(caller, only, Arc::new(Noted::default()), tls_of(caller));
    two.call_only([(NodeId(1), address)].into());
    forgetful.0.until_link(2, Channel::Raft, Side::Called, false).await;
    two.stop().await;
    tcp.stop().await;
}

/// Whoever says nothing keeps nobody from being heard.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_say_nothing_are_in_nobodys_way() {
    let (two, _, address) = node(identity(2, 1)).await;
    let mut idle = Vec::new();
    for _ in 0..500 {
        idle.push(TcpStream::connect(&address).await.unwrap());
    }
    let (one, noted_one, _) = node(identity(1, 1)).await;
    one.call_only([(NodeId(2), address)].into());
    noted_one.until_link(2, Channel::Raft, Side::Calling, true).await;
    // Not because they were ended: each is open still.
    for stream in &idle {
        let nothing = stream.try_read(&mut [0]).unwrap_err();
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    }
    one.stop().await;
    two.stop().await;
}

/// Notes what comes in, and is slow to take it that a connection is gone.
#[derive(Default)]
struct Slow(Noted, Notify);

impl Service for Slow {
    fn serve(&self, from: &Agreed, frame: Frame) -> Pending<Result<Bytes, Refusal>> {
        self.0.serve(from, frame)
    }

    fn linked(&self, with: &Agreed, side: Side) {
        self.0.linked(with, side);
    }

    fn cut(&self, with: &Agreed, side: Side) {
        /// Enough for the next connection to be told of, if it were not made to wait.
        const HELD: Duration = Duration::from_millis(200);
        self.1.notify_one();
        std::thread::sleep(HELD);
        self.0.cut(with, side);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_last_of_a_node_is_how_it_is() {
    let (slow, only) = (Arc::new(Slow::default()), BTreeSet::from([Channel::Raft]));
    let own = identity(1, 1);
    let tcp = Tcp::new(own, only.clone(), slow.clone(), tls_of(own));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tcp.listen(listener);
    let called = BTreeMap::from([(NodeId(1), address)]);
    let run = |boot| {
        let (of, noted) = (identity(2, boot), Arc::new(Noted::default()));
        Tcp::new(of, only.clone(), noted, tls_of(of))
    };
    let (before, after) = (run(1), run(2));
    before.call_only(called.clone());
    slow.0.until_link(2, Channel::Raft, Side::Called, true).await;
    before.stop().await;
    slow.1.notified().await;
    after.call_only(called);
    slow.0.until(|noted| noted.links.lock().len() >= 3).await;
    let told: Vec<_> = slow.0.links.lock().iter().map(|(_, boot, .., up)| (boot.0, *up)).collect();
    assert_eq!(told.last(), Some(&(2, true)), "{told:?}");
    after.stop().await;
    tcp.stop().await;
}
