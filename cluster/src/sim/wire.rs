//! The network of a simulation: connections that carry bytes in order, until they break.
//!
//! A way from one node to another may be slow, or shut: then what is sent waits, as it does where
//! the system sends it again and again, and arrives late or with the connection never.

use super::timeline::Random;
use oribi_model::NodeId;
use std::collections::{BTreeMap, BTreeSet};

/// A connection that was asked for; never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire(pub(super) u64);

/// How the network is at present.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weather {
    /// What a piece takes, µs.
    pub(super) delay_us: (u64, u64),
    /// One piece in so many takes far longer, as one does that is sent again.
    pub(super) slow_one_in: u64,
}

impl Weather {
    pub(super) const CALM: Weather = Weather { delay_us: (50, 2_000), slow_one_in: u64::MAX };
    pub(super) const ROUGH: Weather = Weather { delay_us: (50, 60_000), slow_one_in: 20 };
}

const SLOW_US: (u64, u64) = (200_000, 400_000);

/// One direction of a connection.
#[derive(Debug, Default)]
struct Way {
    /// When the last piece arrives, so that none overtakes another, µs.
    last_us: u64,
    /// What waits for the way to open.
    held: Vec<Vec<u8>>,
}

/// Between which nodes, in the order of the call, and what is on its way.
#[derive(Debug)]
struct Standing {
    from: NodeId,
    to: NodeId,
    there: Way,
    back: Way,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Wires {
    pub(super) weather: Weather,
    shut: BTreeSet<(NodeId, NodeId)>,
    standing: BTreeMap<Wire, Standing>,
    count: u64,
}

impl Wires {
    pub(super) fn new() -> Wires {
        let (shut, standing) = (BTreeSet::new(), BTreeMap::new());
        Wires { weather: Weather::CALM, shut, standing, count: 0 }
    }

    /// A new connection; it stands at once, and what is sent takes its time.
    pub(super) fn open(&mut self, from: NodeId, to: NodeId) -> Wire {
        self.count += 1;
        let (there, back) = (Way::default(), Way::default());
        self.standing.insert(Wire(self.count), Standing { from, to, there, back });
        Wire(self.count)
    }

    /// Breaks a connection that stands; gives when everything that is on its way to a node has
    /// arrived, for both of its nodes.
    pub(super) fn close(&mut self, wire: Wire) -> Option<[(NodeId, u64); 2]> {
        let known = self.standing.remove(&wire)?;
        Some([(known.to, known.there.last_us), (known.from, known.back.last_us)])
    }

    /// The other end of a connection that stands.
    pub(super) fn other(&self, wire: Wire, of: NodeId) -> Option<NodeId> {
        let known = self.standing.get(&wire)?;
        Some(if known.from == of { known.to } else { known.from })
    }

    pub(super) fn of(&self, node: NodeId) -> Vec<Wire> {
        let has = |known: &Standing| known.from == node || known.to == node;
        self.standing.iter().filter(|(_, known)| has(known)).map(|(wire, _)| *wire).collect()
    }

    pub(super) fn between(&self, one: NodeId, other: NodeId) -> Vec<Wire> {
        let has = |wire: &Wire| self.other(*wire, one) == Some(other);
        self.of(one).into_iter().filter(has).collect()
    }

    pub(super) fn is_shut(&self, from: NodeId, to: NodeId) -> bool {
        self.shut.contains(&(from, to))
    }

    pub(super) fn shut(&mut self, from: NodeId, to: NodeId) {
        self.shut.insert((from, to));
    }

    /// Opens all ways; gives when what waited arrives: connection, sender, bytes.
    pub(super) fn open_all(
        &mut self,
        now_us: u64,
        random: &mut Random,
    ) -> Vec<(u64, Wire, NodeId, Vec<u8>)> {
        self.shut.clear();
        let mut arriving = Vec::new();
        for (wire, known) in &mut self.standing {
            for (sender, way) in [(known.from, &mut known.there), (known.to, &mut known.back)] {
                for bytes in std::mem::take(&mut way.held) {
                    let at_us = way.arrival(now_us, self.weather, random);
                    arriving.push((at_us, *wire, sender, bytes));
                }
            }
        }
        arriving
    }

    /// Sends bytes; gives when they arrive, `None` where the way is shut or the connection broken.
    pub(super) fn send(
        &mut self,
        (wire, sender): (Wire, NodeId),
        bytes: Vec<u8>,
        now_us: u64,
        random: &mut Random,
    ) -> Option<(u64, Vec<u8>)> {
        let known = self.standing.get_mut(&wire)?;
        let (to, way) = match sender == known.from {
            true => (known.to, &mut known.there),
            false => (known.from, &mut known.back),
        };
        if self.shut.contains(&(sender, to)) || !way.held.is_empty() {
            way.held.push(bytes);
            return None;
        }
        Some((way.arrival(now_us, self.weather, random), bytes))
    }
}

impl Way {
    fn arrival(&mut self, now_us: u64, weather: Weather, random: &mut Random) -> u64 {
        let slow = random.one_in(weather.slow_one_in);
        let delay_us = random.within(if slow { SLOW_US } else { weather.delay_us });
        // What is sent later arrives later, with room for a piece of it before.
        self.last_us = (self.last_us + 2).max(now_us + delay_us);
        self.last_us
    }
}
