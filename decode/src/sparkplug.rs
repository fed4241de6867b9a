//! Sparkplug B 3.0 (Eclipse Foundation, "Sparkplug Specification"): births of edge nodes and of the
//! devices behind them name their metrics, later messages refer to them by alias, deaths end them.

mod birth;
mod command;
mod node;
mod payload;
mod rows;
mod shared;
mod topic;
mod value;

use super::Fault;
use birth::{birth_seq, without_values};
use node::{Definitions, Node};
use oribi_model::RejectReason;
use payload::Payload;
use rows::Source;
use std::collections::HashMap;
use topic::{Kind, Topic};

pub use birth::LastBirth;
pub use command::{Command, rebirth_command};
pub use rows::EdgeRow;
pub use shared::{EdgeNews, SharedNodes};
pub use topic::EdgeNode;

/// Most edge nodes that are remembered.
pub const NODES_MAX: usize = 4096;
/// Most bytes that their definitions take, about.
pub const DEFINITION_BYTES_MAX: usize = 32 << 20;

/// The metric with the number of a node's session.
const BIRTH_SEQ: &str = "bdSeq";

/// What became of a message.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Its rows; those of metrics that can be read stand beside a fault.
    pub rows: Vec<EdgeRow>,
    /// Metrics that could not be named or kept: the message belongs to the dead letters.
    pub fault: Option<Fault>,
    /// A node that has to be asked for its births by [`rebirth_command`].
    pub rebirth: Option<EdgeNode>,
    /// Births and deaths of the node and its devices, in their order.
    pub births: Vec<LastBirth>,
    /// Why a message was left alone.
    pub ignored: Option<&'static str>,
}

impl Outcome {
    fn ignored(why: &'static str) -> Outcome {
        Outcome { ignored: Some(why), ..Outcome::default() }
    }
}

/// All edge nodes of a connection. Where there is no room, nodes that are dead or were not heard
/// for longest are forgotten, and asked for their births when they speak again.
#[derive(Debug)]
pub struct SparkplugNodes {
    nodes: HashMap<EdgeNode, Node>,
    bytes: usize,
    turn: u64,
    nodes_max: usize,
    bytes_max: usize,
}

impl Default for SparkplugNodes {
    fn default() -> SparkplugNodes {
        SparkplugNodes::with_bounds(NODES_MAX, DEFINITION_BYTES_MAX)
    }
}

impl SparkplugNodes {
    /// None yet, and never more than this.
    pub fn with_bounds(nodes_max: usize, bytes_max: usize) -> SparkplugNodes {
        SparkplugNodes { nodes: HashMap::new(), bytes: 0, turn: 0, nodes_max, bytes_max }
    }

    /// Number of nodes remembered.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Takes a message in; messages of a node come in the order in which it sent them. `now_ns`
    /// is ns since the Unix epoch.
    ///
    /// # Errors
    /// A topic or payload that is none of Sparkplug B; nothing of it is remembered.
    pub fn take(&mut self, topic: &str, payload: &[u8], now_ns: i64) -> Result<Outcome, Fault> {
        let Topic::Edge { edge, device, kind } = Topic::parse(topic)? else {
            return Ok(Outcome::ignored("commands and states of hosts hold no measurements"));
        };
        let outer = Payload::read(payload)?;
        let plain = outer.inflate()?;
        let payload = match &plain {
            None => outer,
            Some(plain) => outer.opened(plain)?,
        };
        match kind {
            Kind::Birth => self.birth(edge, device, &payload, now_ns),
            Kind::Data => self.data(edge, device, &payload, now_ns),
            Kind::Death => self.death(edge, device, &payload, now_ns),
        }
    }

    /// Takes in what [`Outcome::births`] gave before the process started anew. Births may have been
    /// missed since, so that the node is asked for them at its next message.
    ///
    /// # Errors
    /// What is no birth.
    pub fn restore(&mut self, birth: &LastBirth) -> Result<(), Fault> {
        let Some(written) = &birth.birth else { return Ok(()) };
        let payload = Payload::read(written)?;
        let definitions = Definitions::of_birth(&payload.metrics)?;
        self.change(&birth.edge, |node| match &birth.device {
            None => node.restore(definitions, birth_seq(&payload)),
            Some(device) => node.add_device(device, definitions),
        });
        self.make_room(&birth.edge)
    }

    fn birth(
        &mut self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let definitions = Definitions::of_birth(&payload.metrics)?;
        let source = Source { edge: &edge, device };
        let (rows, fault) = source.rows(payload, Some(&definitions), Some(true));
        let (gone, asks) = self.change(&edge, |node| match device {
            None => {
                let gone = node.be_born(definitions, birth_seq(payload));
                node.follows(payload.seq);
                (gone, false)
            }
            Some(device) => {
                node.add_device(device, definitions);
                (Vec::new(), node.asks_after(payload.seq, now_ns))
            }
        });
        self.make_room(&edge)?;
        let born = LastBirth::new(&edge, device, Some(without_values(payload)));
        let gone = gone.iter().map(|name| LastBirth::new(&edge, Some(name), None));
        let births = gone.chain([born]).collect();
        let rebirth = asks.then_some(edge);
        Ok(Outcome { rows, fault, rebirth, births, ignored: None })
    }

    fn data(
        &mut self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let follows = self.change(&edge, |node| node.follows(payload.seq));
        self.make_room(&edge)?;
        let node = self.nodes.get(&edge);
        let definitions = node.and_then(|node| node.definitions(device));
        let source = Source { edge: &edge, device };
        let (rows, fault) = source.rows(payload, definitions, None);
        let is_named = |metric| definitions.is_some_and(|known| known.resolve(metric).is_some());
        let is_known = definitions.is_some()
            && node.is_some_and(Node::is_born)
            && payload.metrics.iter().all(is_named);
        let asks = !(follows && is_known)
            && self.nodes.get_mut(&edge).is_some_and(|node| node.may_ask(now_ns));
        Ok(Outcome { rows, fault, rebirth: asks.then_some(edge), ..Outcome::default() })
    }

    fn death(
        &mut self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let source = Source { edge: &edge, device };
        if let Some(name) = device {
            let time = source.time(payload)?;
            let asks = self.change(&edge, |node| {
                node.remove_device(name);
                node.asks_after(payload.seq, now_ns)
            });
            self.make_room(&edge)?;
            let (rows, births) =
                (vec![source.offline(time)], vec![LastBirth::new(&edge, device, None)]);
            let rebirth = asks.then_some(edge);
            return Ok(Outcome { rows, rebirth, births, ..Outcome::default() });
        }
        let node = self.nodes.get(&edge).filter(|node| node.is_born());
        if node.is_some_and(|node| node.birth_seq != birth_seq(payload)) {
            return Ok(Outcome::ignored("the death belongs to an older session of the node"));
        }
        // The payload was written when the session began, so its time is not that of the death.
        let (mut rows, mut births) = (vec![source.offline(None)], Vec::new());
        if self.nodes.contains_key(&edge) {
            for name in self.change(&edge, Node::die) {
                rows.push(Source { edge: &edge, device: Some(&name) }.offline(None));
                births.push(LastBirth::new(&edge, Some(&name), None));
            }
            births.push(LastBirth::new(&edge, None, None));
        }
        Ok(Outcome { rows, births, ..Outcome::default() })
    }

    /// Changes a node, which is made if it is new.
    fn change<T>(&mut self, edge: &EdgeNode, change: impl FnOnce(&mut Node) -> T) -> T {
        self.turn += 1;
        let node = self.nodes.entry(edge.clone()).or_insert_with(|| {
            let node = Node::default();
            self.bytes += node.bytes() + edge.group.len() + edge.node.len();
            node
        });
        node.heard = self.turn;
        let before = node.bytes();
        let result = change(node);
        self.bytes = self.bytes + node.bytes() - before;
        result
    }

    /// Forgets nodes until the bounds hold, this one last.
    fn make_room(&mut self, keep: &EdgeNode) -> Result<(), Fault> {
        while self.nodes.len() > self.nodes_max || self.bytes > self.bytes_max {
            let others = self.nodes.iter().filter(|(edge, _)| *edge != keep);
            let oldest = others.min_by_key(|(_, node)| (node.is_born(), node.heard));
            let edge = oldest.map_or(keep, |(edge, _)| edge).clone();
            if let Some(node) = self.nodes.remove(&edge) {
                self.bytes -= node.bytes() + edge.group.len() + edge.node.len();
            }
            if edge == *keep {
                let detail = "the node defines more metrics than can be remembered";
                return Err(Fault::new(RejectReason::Limit, detail));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
