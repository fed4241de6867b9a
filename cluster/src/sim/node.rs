//! A node of a simulation: its liveness, and the connections that it makes and takes, through the
//! frames and hellos of the real ones.

use super::wire::Wire;
use crate::{
    Boot, ClusterId, NodeIdentity,
    liveness::{Action, Event, Liveness, Ping},
    transport::{Channel, Connection, Decoder, Frame, Hello, Kind, Received, Succession},
};
use bytes::BytesMut;
use oribi_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// What a node has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Done {
    /// Bytes to be sent.
    Send(Wire, Vec<u8>),
    /// A connection to be closed.
    Close(Wire),
    /// A connection to be asked for.
    Connect(NodeId),
    /// A change of its view.
    View(Action),
}

/// What one end of a connection knows of it.
#[derive(Debug)]
enum End {
    /// Called by this node; the answer has not come yet.
    Asking(NodeId, Decoder),
    Asked(NodeId, Decoder),
    /// Taken; who calls is not known yet.
    Greeting(Decoder),
    Taken(NodeId, Connection, Decoder),
}

/// The process of a node in one of its runs.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) identity: NodeIdentity,
    pub(super) liveness: Liveness,
    succession: Succession,
    ends: BTreeMap<Wire, End>,
    /// The connections over which this node speaks.
    speaking: BTreeMap<NodeId, Wire>,
    taken: BTreeMap<Connection, Wire>,
    pub(super) start_us: u64,
    /// What was handed on last of each sender: its run, and the number.
    heard: BTreeMap<NodeId, (Boot, u64)>,
    /// What was handed on although something later had been.
    pub(super) disorder: Option<String>,
}

impl Process {
    pub(super) fn start(
        node: NodeId,
        boot: Boot,
        nodes: &BTreeSet<NodeId>,
        now_us: u64,
    ) -> Process {
        let identity = NodeIdentity { cluster: ClusterId(1), node, boot };
        let mut liveness = Liveness::new(node, boot, 0);
        liveness.step(0, Event::Peers(nodes.clone()));
        Process {
            identity,
            liveness,
            succession: Succession::default(),
            ends: BTreeMap::new(),
            speaking: BTreeMap::new(),
            taken: BTreeMap::new(),
            start_us: now_us,
            heard: BTreeMap::new(),
            disorder: None,
        }
    }

    /// When its liveness wants to be stepped, µs of the simulation.
    pub(super) fn due_us(&self) -> u64 {
        self.start_us + self.liveness.next_ms() * 1_000
    }

    pub(super) fn step(&mut self, now_us: u64, event: Event) -> Vec<Done> {
        let now_ms = (now_us - self.start_us) / 1_000;
        let mut done = Vec::new();
        for action in self.liveness.step(now_ms, event) {
            match action {
                Action::Ping(to, ping) => {
                    if let Some(wire) = self.speaking.get(&to) {
                        let frame = Frame::notice(Kind::Ping, ping.encode());
                        done.push(Done::Send(*wire, encoded(&[], &frame)));
                    }
                }
                Action::Reconnect(node) => done.push(Done::Connect(node)),
                // Ways that are shut break connections here, so that none is useless for long.
                Action::BreakOff(_) | Action::Differs(_) => {}
                view => done.push(Done::View(view)),
            }
        }
        done
    }

    /// Calls a node over a connection that was made for it.
    pub(super) fn call(&mut self, node: NodeId, wire: Wire) -> Vec<Done> {
        let mut done = Vec::new();
        if let Some(before) = self.speaking.remove(&node) {
            self.ends.remove(&before);
            done.push(Done::Close(before));
        }
        self.ends.insert(wire, End::Asking(node, Decoder::new(Channel::Liveness)));
        done.push(Done::Send(wire, self.hello_to(node)));
        done
    }

    /// Another node has called.
    pub(super) fn called(&mut self, wire: Wire) {
        self.ends.insert(wire, End::Greeting(Decoder::new(Channel::Liveness)));
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, now_us: u64, wire: Wire, bytes: &[u8]) -> Vec<Done> {
        let Some(mut end) = self.ends.remove(&wire) else { return Vec::new() };
        end.decoder().buffer().extend_from_slice(bytes);
        let mut done = Vec::new();
        loop {
            let frame = match end.decoder().next_frame().expect("nodes send frames") {
                Some(Received::Frame(frame)) => frame,
                Some(received) => panic!("{received:?} came"),
                None => break,
            };
            match self.take(now_us, (wire, end), frame, &mut done) {
                Some(next) => end = next,
                None => {
                    done.push(Done::Close(wire));
                    return done;
                }
            }
        }
        self.ends.insert(wire, end);
        done
    }

    /// A connection broke.
    pub(super) fn broken(&mut self, now_us: u64, wire: Wire) -> Vec<Done> {
        let node = match self.ends.remove(&wire) {
            Some(End::Asked(node, _)) => {
                if self.speaking.get(&node) == Some(&wire) {
                    self.speaking.remove(&node);
                }
                node
            }
            Some(End::Taken(node, connection, _)) => {
                self.taken.remove(&connection);
                if !self.succession.end(node, Channel::Liveness, connection) {
                    return Vec::new();
                }
                node
            }
            Some(End::Asking(node, _)) => return vec![Done::Connect(node)],
            Some(End::Greeting(_)) | None => return Vec::new(),
        };
        let mut done = self.step(now_us, Event::Cut(node));
        if !self.speaking.contains_key(&node) && !done.contains(&Done::Connect(node)) {
            done.push(Done::Connect(node));
        }
        done
    }

    pub(super) fn is_speaking_to(&self, node: NodeId) -> bool {
        let asking = |end: &End| matches!(end, End::Asking(to, _) if *to == node);
        self.speaking.contains_key(&node) || self.ends.values().any(asking)
    }

    /// Takes a frame; `None` where the connection is to be closed.
    fn take(
        &mut self,
        now_us: u64,
        (wire, end): (Wire, End),
        frame: Frame,
        done: &mut Vec<Done>,
    ) -> Option<End> {
        match end {
            End::Asking(node, decoder) => {
                let own = Hello::new(self.identity, Channel::Liveness, node);
                own.answered(&Hello::decode(&frame.body).ok()?).ok()?;
                self.speaking.insert(node, wire);
                done.extend(self.step(now_us, Event::Linked(node)));
                Some(End::Asked(node, decoder))
            }
            End::Asked(..) => panic!("an answer that nobody wants"),
            End::Greeting(decoder) => {
                let theirs = Hello::decode(&frame.body).ok()?;
                done.push(Done::Send(wire, self.hello_to(theirs.identity.node)));
                let agreed = Hello::accept(self.identity, &theirs).ok()?;
                let (connection, before) = self.succession.offer(&agreed).ok()?;
                for one in before {
                    let before = self.taken.remove(&one).expect("it was taken");
                    self.ends.remove(&before);
                    done.push(Done::Close(before));
                }
                self.taken.insert(connection, wire);
                done.extend(self.step(now_us, Event::Linked(agreed.node)));
                Some(End::Taken(agreed.node, connection, decoder))
            }
            End::Taken(node, connection, decoder) => {
                assert!(self.succession.is_current(node, Channel::Liveness, connection));
                let ping = Ping::decode(&frame.body).expect("nodes send pings");
                let now = (ping.boot, ping.number);
                if let Some(before) = self.heard.insert(node, now)
                    && before >= now
                {
                    self.disorder = Some(format!("node {node} said {now:?} after {before:?}"));
                }
                done.extend(self.step(now_us, Event::Pinged(node, ping)));
                Some(End::Taken(node, connection, decoder))
            }
        }
    }

    fn hello_to(&self, node: NodeId) -> Vec<u8> {
        let hello = Hello::new(self.identity, Channel::Liveness, node);
        encoded(&[], &hello.to_frame())
    }
}

impl End {
    fn decoder(&mut self) -> &mut Decoder {
        match self {
            End::Asking(_, decoder)
            | End::Asked(_, decoder)
            | End::Greeting(decoder)
            | End::Taken(_, _, decoder) => decoder,
        }
    }
}

fn encoded(before: &[u8], frame: &Frame) -> Vec<u8> {
    let mut bytes = BytesMut::from(before);
    frame.encode(&mut bytes);
    bytes.to_vec()
}
