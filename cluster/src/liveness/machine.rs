//! Which nodes are trusted and which are suspected, as a machine without any time of its own.
//!
//! A peer is trusted while it is heard and hears this node: for that counts when the newest ping was
//! *sent* that the peer says it has got. So an old message that arrives late proves nothing, and a
//! link that works one way only is none. A node is dead for a group where a majority of those that
//! hold its voters suspect it.

use super::{Echo, Health, Ping};
use crate::Boot;
use oribi_model::NodeId;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Between two pings to a peer, ms.
pub const PING_MS: u64 = 100;
/// A peer of which nothing was heard for so long is suspected, ms.
pub const SUSPECT_MS: u64 = 400;
/// So is one that is heard and has proved for so long by nothing that it hears this node, ms. That takes a
/// ping each way, and four times a processor, on a machine that may have much else to do.
pub const UNHEARD_MS: u64 = 700;
/// How long a connection that broke may take to stand again, ms, unless nobody answers where the peer
/// was: a ping that is sent at once comes back with its next one.
pub const RECONNECT_MS: u64 = 150;
/// A disk that has not synced anything for so long stalls, ms.
pub const STALL_MS: u64 = 2_000;
/// By how much a step may come late before what nobody could hear meanwhile counts for nobody's silence,
/// ms.
const LATE_MS: u64 = 20;
/// Between two steps of this machine more time passes only where the process stood still, ms.
pub const PAUSE_MS: u64 = 300;
/// Between two times that the connections to a suspected peer are made anew, ms.
const RENEW_MS: u64 = 2_000;
/// A peer that was suspected is trusted again after so many proofs in a row.
const PROOFS: u32 = 3;
/// Pings whose time of sending is remembered, for each peer.
const SENT_MAX: usize = 64;

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The nodes to be watched are these, apart from this one.
    Peers(BTreeSet<NodeId>),
    /// A peer's ping came.
    Pinged(NodeId, Ping),
    /// A connection with a peer stands.
    Linked(NodeId),
    /// A connection with a peer broke.
    Cut(NodeId),
    /// A peer could not be connected to: nobody answers where it was.
    Refused(NodeId),
    /// The disk of this node has synced what it was tried with.
    DiskProved,
    /// How this node is otherwise; the age of the disk's last sync is not taken from here.
    Health(Health),
}

/// Why a peer is suspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Doubt {
    /// Its connections broke, and nobody answers where it was.
    #[error("nobody answers where it was")]
    Gone,
    /// It has proved nothing for too long, or does not hear this node.
    #[error("it has not been heard of for too long")]
    Silent,
    /// It says that its disk stalls.
    #[error("its disk stalls")]
    Stalled,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send this to a peer.
    Ping(NodeId, Ping),
    /// Connect to a peer again, at once.
    Reconnect(NodeId),
    /// Give up the connections to a peer and whatever waits for an answer over them: it does not
    /// answer, and may never say so.
    BreakOff(NodeId),
    /// A peer suspects or trusts others than it said before.
    Differs(NodeId),
    /// A peer is suspected from now on.
    Suspect(NodeId, Doubt),
    /// A peer is trusted again.
    Trust(NodeId),
    /// A peer runs anew: whatever it led before, it does not lead now.
    Restarted(NodeId, Boot),
}

/// What is known of one peer.
#[derive(Debug, Clone)]
struct Peer {
    /// Of its last ping.
    boot: Boot,
    heard: u64,
    health: Health,
    trusts: BTreeSet<NodeId>,
    /// When its last ping came.
    heard_ms: Option<u64>,
    /// Since when nothing was heard of it, as far as this node could hear: later by whatever it came late.
    silent_ms: u64,
    /// Number and time of the pings that were sent to it, not yet known to have arrived.
    sent: VecDeque<(u64, u64)>,
    last_sent: u64,
    /// When the newest ping was sent that it has got; at first, when it came to be watched. Later, too.
    proved_ms: u64,
    /// Proofs since it was suspected.
    proofs: u32,
    link: Link,
    /// The last ping that was sent to it before a connection with it broke.
    cut_after: u64,
    doubt: Option<Doubt>,
    /// When its connections were given up last, while it is suspected.
    broken_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    /// It stands, or is being made for the first time.
    Open,
    /// It broke, and is being made again until then, ms.
    Mending(u64),
    /// It could not be made again.
    Gone,
}

/// The liveness of all peers as this node sees it. Times are ms by any clock that never goes back.
#[derive(Debug, Clone)]
pub struct Liveness {
    own: NodeId,
    boot: Boot,
    peers: BTreeMap<NodeId, Peer>,
    health: Health,
    disk_proved_ms: u64,
    stepped_ms: u64,
    /// This node stood still; until then it knows nothing of others.
    blind_until_ms: u64,
    ping_ms: u64,
}

impl Liveness {
    /// A node without peers. Its disk counts as proved now.
    pub fn new(own: NodeId, boot: Boot, now_ms: u64) -> Liveness {
        Liveness {
            own,
            boot,
            peers: BTreeMap::new(),
            health: Health::default(),
            disk_proved_ms: now_ms,
            stepped_ms: now_ms,
            blind_until_ms: now_ms,
            ping_ms: now_ms,
        }
    }

    /// Takes what happened. Called at the latest at [`Liveness::next_ms`].
    pub fn step(&mut self, now_ms: u64, event: Event) -> Vec<Action> {
        let now_ms = now_ms.max(self.stepped_ms);
        if now_ms - self.stepped_ms > PAUSE_MS {
            // Whatever is old now grew old while nobody looked.
            self.blind_until_ms = now_ms + SUSPECT_MS;
            self.ping_ms = now_ms;
        }
        self.excuse(now_ms);
        self.stepped_ms = now_ms;
        let mut actions = Vec::new();
        let is_cut = matches!(event, Event::Cut(_));
        self.take(now_ms, event, &mut actions);
        // Others are told at once, as they may wait for it.
        let is_due = now_ms >= self.ping_ms || is_cut && !actions.is_empty();
        if self.judge(now_ms, &mut actions) || is_due {
            self.ping_all(now_ms, &mut actions);
            self.ping_ms = now_ms + PING_MS;
        }
        actions
    }

    /// When the next step is due, if nothing happens before.
    pub fn next_ms(&self) -> u64 {
        let due = self.peers.values().filter(|peer| peer.doubt.is_none()).map(|peer| {
            let doubted_ms = (peer.silent_ms + SUSPECT_MS).min(peer.proved_ms + UNHEARD_MS);
            match peer.link {
                Link::Mending(until_ms) => doubted_ms.min(until_ms) + 1,
                Link::Open | Link::Gone => doubted_ms + 1,
            }
        });
        let due = due.map(|due_ms| due_ms.max(self.blind_until_ms)).min();
        due.map_or(self.ping_ms, |due_ms| due_ms.min(self.ping_ms)).max(self.stepped_ms + 1)
    }

    /// Whether a node is trusted. A node trusts itself unless its disk stalls.
    pub fn trusts(&self, node: NodeId) -> bool {
        if node == self.own {
            return !self.is_stalled();
        }
        self.peers.get(&node).is_some_and(|peer| peer.doubt.is_none())
    }

    /// Whether a node may be given groups to lead, as far as it has said.
    pub fn wants_lead(&self, node: NodeId) -> bool {
        let said = if node == self.own { Some(self.health) } else { self.health(node) };
        said.is_none_or(|health| !health.leaves_lead)
    }

    /// Why a peer is suspected, if it is.
    pub fn doubt(&self, node: NodeId) -> Option<Doubt> {
        self.peers.get(&node).and_then(|peer| peer.doubt)
    }

    /// What a peer last said of itself.
    pub fn health(&self, node: NodeId) -> Option<Health> {
        let peer = self.peers.get(&node)?;
        peer.heard_ms.map(|_| peer.health)
    }

    /// When the last ping of a peer came, ms.
    pub fn heard_ms(&self, node: NodeId) -> Option<u64> {
        self.peers.get(&node)?.heard_ms
    }

    /// Which run of a peer was heard last.
    pub fn boot_of(&self, node: NodeId) -> Option<Boot> {
        let peer = self.peers.get(&node)?;
        peer.heard_ms.map(|_| peer.boot)
    }

    /// Whether the disk of this node stalls.
    pub fn is_stalled(&self) -> bool {
        self.stepped_ms - self.disk_proved_ms > STALL_MS
    }

    /// Whether a node is dead for a group whose voters these nodes hold: this node suspects it, and
    /// with it a majority of them, as far as they have said so lately.
    pub fn is_dead(&self, node: NodeId, voters: &BTreeSet<NodeId>) -> bool {
        let suspects = |voter: &&NodeId| {
            if **voter == self.own {
                return !self.trusts(node);
            }
            let peer = self.peers.get(voter).filter(|peer| self.is_fresh(peer));
            **voter != node && peer.is_some_and(|peer| !peer.trusts.contains(&node))
        };
        !self.trusts(node) && is_majority(voters.iter().filter(suspects).count(), voters)
    }

    /// Whether a majority of these nodes, this one included where it is among them, is trusted. A
    /// leader without one appends nothing.
    pub fn trusts_majority(&self, voters: &BTreeSet<NodeId>) -> bool {
        is_majority(voters.iter().filter(|voter| self.trusts(**voter)).count(), voters)
    }

    /// For as long as this node came late, nobody else was late.
    fn excuse(&mut self, now_ms: u64) {
        let late_ms = now_ms.saturating_sub(self.next_ms());
        if late_ms <= LATE_MS {
            return;
        }
        for peer in self.peers.values_mut().filter(|peer| peer.doubt.is_none()) {
            peer.silent_ms = (peer.silent_ms + late_ms).min(now_ms);
            peer.proved_ms = (peer.proved_ms + late_ms).min(now_ms);
            if let Link::Mending(until_ms) = &mut peer.link {
                *until_ms += late_ms;
            }
        }
    }

    fn is_fresh(&self, peer: &Peer) -> bool {
        let heard = peer.heard_ms.is_some_and(|at_ms| self.stepped_ms - at_ms <= SUSPECT_MS);
        heard && peer.doubt.is_none()
    }

    fn take(&mut self, now_ms: u64, event: Event, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => {}
            Event::Peers(nodes) => self.watch(now_ms, nodes),
            Event::Pinged(from, ping) => self.pinged(now_ms, from, ping, actions),
            Event::DiskProved => self.disk_proved_ms = now_ms,
            Event::Health(health) => self.health = health,
            Event::Linked(node) => {
                if let Some(peer) = self.peers.get_mut(&node) {
                    peer.link = Link::Open;
                }
            }
            Event::Cut(node) => {
                if let Some(peer) = self.peers.get_mut(&node)
                    && peer.link == Link::Open
                {
                    peer.link = Link::Mending(now_ms + RECONNECT_MS);
                    peer.cut_after = peer.last_sent;
                    actions.push(Action::Reconnect(node));
                }
            }
            Event::Refused(node) => {
                // A node that was never there is merely silent.
                if let Some(peer) = self.peers.get_mut(&node)
                    && matches!(peer.link, Link::Mending(_))
                {
                    peer.link = Link::Gone;
                }
            }
        }
    }

    fn watch(&mut self, now_ms: u64, nodes: BTreeSet<NodeId>) {
        self.peers.retain(|node, _| nodes.contains(node));
        for node in nodes.into_iter().filter(|node| *node != self.own) {
            self.peers.entry(node).or_insert_with(|| Peer {
                boot: Boot(0),
                heard: 0,
                health: Health::default(),
                trusts: BTreeSet::new(),
                heard_ms: None,
                silent_ms: now_ms,
                sent: VecDeque::new(),
                last_sent: 0,
                proved_ms: now_ms,
                proofs: 0,
                link: Link::Open,
                cut_after: 0,
                doubt: None,
                broken_ms: now_ms,
            });
        }
    }

    fn pinged(&mut self, now_ms: u64, from: NodeId, ping: Ping, actions: &mut Vec<Action>) {
        let own_boot = self.boot;
        let Some(peer) = self.peers.get_mut(&from) else { return };
        let is_new_run = ping.boot > peer.boot;
        if is_new_run {
            if peer.heard_ms.is_some() {
                actions.push(Action::Restarted(from, ping.boot));
            }
            (peer.boot, peer.heard) = (ping.boot, 0);
        }
        // Of an earlier run, or overtaken.
        if ping.boot < peer.boot || ping.number <= peer.heard {
            return;
        }
        peer.heard = ping.number;
        (peer.heard_ms, peer.silent_ms) = (Some(now_ms), now_ms);
        peer.health = ping.health;
        if peer.trusts != ping.trusted {
            peer.trusts = ping.trusted;
            actions.push(Action::Differs(from));
        }
        let echoed = ping.echo.filter(|echo| echo.boot == own_boot).map_or(0, |echo| echo.number);
        let got = peer.sent.partition_point(|(number, _)| *number <= echoed);
        if let Some((number, sent_ms)) = peer.sent.drain(..got).next_back() {
            peer.proved_ms = sent_ms.max(peer.proved_ms);
            peer.proofs = peer.proofs.saturating_add(1);
            // Whatever was told of its connections, and in which order: it got this over one.
            if number > peer.cut_after {
                peer.link = Link::Open;
            }
        }
    }

    fn ping_all(&mut self, now_ms: u64, actions: &mut Vec<Action>) {
        let age_ms = u32::try_from(now_ms - self.disk_proved_ms).unwrap_or(u32::MAX);
        let health = Health { disk_age_ms: age_ms, ..self.health };
        let trusted: BTreeSet<NodeId> =
            self.peers.iter().filter(|(_, peer)| peer.doubt.is_none()).map(|(id, _)| *id).collect();
        for (node, peer) in &mut self.peers {
            peer.last_sent += 1;
            if peer.sent.len() == SENT_MAX {
                peer.sent.pop_front();
            }
            peer.sent.push_back((peer.last_sent, now_ms));
            let echo = Echo { boot: peer.boot, number: peer.heard };
            let (number, echo) = (peer.last_sent, Some(echo).filter(|echo| echo.number > 0));
            let trusted = trusted.clone();
            let ping = Ping { boot: self.boot, number, echo, health, trusted };
            actions.push(Action::Ping(*node, ping));
        }
    }

    /// Whether anybody is suspected or trusted from now on who was not before.
    fn judge(&mut self, now_ms: u64, actions: &mut Vec<Action>) -> bool {
        let blind = now_ms < self.blind_until_ms;
        let mut changed = false;
        for (node, peer) in &mut self.peers {
            let found = peer.doubt_at(now_ms);
            match (peer.doubt, found) {
                (None, Some(doubt)) if !blind => {
                    (peer.doubt, peer.proofs, peer.broken_ms) = (Some(doubt), 0, now_ms);
                    changed = true;
                    actions.extend([Action::Suspect(*node, doubt), Action::BreakOff(*node)]);
                }
                (Some(_), None) if peer.proofs >= PROOFS => {
                    peer.doubt = None;
                    changed = true;
                    actions.push(Action::Trust(*node));
                }
                (Some(_), Some(_)) => {
                    peer.proofs = 0;
                    // One that was greeted may have become useless since.
                    if !blind && now_ms > peer.proved_ms.max(peer.broken_ms) + RENEW_MS {
                        peer.broken_ms = now_ms;
                        actions.push(Action::BreakOff(*node));
                    }
                }
                _ => {}
            }
        }
        changed
    }
}

impl Peer {
    fn doubt_at(&self, now_ms: u64) -> Option<Doubt> {
        match self.link {
            Link::Gone => return Some(Doubt::Gone),
            Link::Mending(until_ms) if now_ms > until_ms => return Some(Doubt::Gone),
            Link::Mending(_) | Link::Open => {}
        }
        if now_ms - self.silent_ms > SUSPECT_MS || now_ms - self.proved_ms > UNHEARD_MS {
            return Some(Doubt::Silent);
        }
        (u64::from(self.health.disk_age_ms) > STALL_MS).then_some(Doubt::Stalled)
    }
}

fn is_majority(count: usize, of: &BTreeSet<NodeId>) -> bool {
    count > of.len() / 2
}
