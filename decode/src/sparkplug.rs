//! Sparkplug B 3.0 (Eclipse Foundation, "Sparkplug Specification"): births of edge nodes and of the
//! devices behind them name their metrics, later messages refer to them by alias, deaths end them.

mod birth;
mod command;
mod index;
mod node;
mod payload;
mod rows;
mod topic;
mod value;

use super::Fault;
use birth::{birth_seq, without_values};
use index::Index;
use node::Definitions;
use payload::Payload;
use rows::Source;
use topic::{Kind, Topic};

pub use birth::LastBirth;
pub use command::{Command, rebirth_command};
pub use rows::EdgeRow;
pub use topic::EdgeNode;

/// Most bytes that nodes and their definitions take, about.
pub const NODES_BYTES_MAX: usize = 32 << 20;

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

/// What a message said of edge nodes beside its rows.
#[derive(Debug, Default)]
pub struct EdgeNews {
    /// The node that has to be asked for its births.
    pub rebirth: Option<EdgeNode>,
    /// Births and deaths, in their order.
    pub births: Vec<LastBirth>,
}

/// All edge nodes of a source, which several threads may hear: each node has a lock of its own. Where
/// there is no room, nodes that are dead or were not heard for longest are forgotten, and asked for
/// their births when they speak again.
#[derive(Debug)]
pub struct SparkplugNodes {
    index: Index,
}

impl Default for SparkplugNodes {
    fn default() -> SparkplugNodes {
        SparkplugNodes::bounded(NODES_BYTES_MAX)
    }
}

impl SparkplugNodes {
    /// None yet, and never more than so many bytes of them, about.
    pub fn bounded(bytes_max: usize) -> SparkplugNodes {
        SparkplugNodes { index: Index::new(bytes_max) }
    }

    /// Number of nodes remembered.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes a message in; messages of a node come in the order in which it sent them. `now_ns`
    /// is ns since the Unix epoch.
    ///
    /// # Errors
    /// A topic or payload that is none of Sparkplug B; nothing of it is remembered.
    pub fn take(&self, topic: &str, payload: &[u8], now_ns: i64) -> Result<Outcome, Fault> {
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
    pub fn restore(&self, birth: &LastBirth) -> Result<(), Fault> {
        let Some(written) = &birth.birth else { return Ok(()) };
        let payload = Payload::read(written)?;
        let definitions = Definitions::of_birth(&payload.metrics)?;
        self.index.change(&birth.edge, |node| match &birth.device {
            None => node.restore(definitions, birth_seq(&payload)),
            Some(device) => node.add_device(device, definitions),
        })
    }

    fn birth(
        &self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let definitions = Definitions::of_birth(&payload.metrics)?;
        let source = Source { edge: &edge, device };
        let (rows, fault) = source.rows(payload, Some(&definitions), Some(true));
        let (gone, asks) = self.index.change(&edge, |node| match device {
            None => {
                let gone = node.be_born(definitions, birth_seq(payload));
                node.follows(payload.seq);
                (gone, false)
            }
            Some(device) => {
                node.add_device(device, definitions);
                (Vec::new(), node.asks_after(payload.seq, now_ns))
            }
        })?;
        let born = LastBirth::new(&edge, device, Some(without_values(payload)));
        let gone = gone.iter().map(|name| LastBirth::new(&edge, Some(name), None));
        let births = gone.chain([born]).collect();
        let rebirth = asks.then_some(edge);
        Ok(Outcome { rows, fault, rebirth, births, ignored: None })
    }

    fn data(
        &self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let (rows, fault, asks) = self.index.change(&edge, |node| {
            let follows = node.follows(payload.seq);
            let definitions = node.definitions(device);
            let (rows, fault) = Source { edge: &edge, device }.rows(payload, definitions, None);
            let is_named =
                |metric| definitions.is_some_and(|known| known.resolve(metric).is_some());
            let is_known =
                definitions.is_some() && node.is_born() && payload.metrics.iter().all(is_named);
            (rows, fault, !(follows && is_known) && node.may_ask(now_ns))
        })?;
        Ok(Outcome { rows, fault, rebirth: asks.then_some(edge), ..Outcome::default() })
    }

    fn death(
        &self,
        edge: EdgeNode,
        device: Option<&str>,
        payload: &Payload<'_>,
        now_ns: i64,
    ) -> Result<Outcome, Fault> {
        let source = Source { edge: &edge, device };
        if let Some(name) = device {
            let time = source.time(payload)?;
            let asks = self.index.change(&edge, |node| {
                node.remove_device(name);
                node.asks_after(payload.seq, now_ns)
            })?;
            let (rows, births) =
                (vec![source.offline(time)], vec![LastBirth::new(&edge, device, None)]);
            let rebirth = asks.then_some(edge);
            return Ok(Outcome { rows, rebirth, births, ..Outcome::default() });
        }
        let died = self.index.change_known(&edge, |node| {
            let is_older = node.is_born() && node.birth_seq != birth_seq(payload);
            (!is_older).then(|| node.die())
        });
        // The payload was written when the session began, so its time is not that of the death.
        let (mut rows, mut births) = (vec![source.offline(None)], Vec::new());
        match died {
            Some(None) => {
                return Ok(Outcome::ignored("the death belongs to an older session of the node"));
            }
            Some(Some(devices)) => {
                for name in devices {
                    rows.push(Source { edge: &edge, device: Some(&name) }.offline(None));
                    births.push(LastBirth::new(&edge, Some(&name), None));
                }
                births.push(LastBirth::new(&edge, None, None));
            }
            None => {}
        }
        Ok(Outcome { rows, births, ..Outcome::default() })
    }
}

#[cfg(test)]
mod tests;
