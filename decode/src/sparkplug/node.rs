//! What is remembered of one edge node: the metrics that its births defined.

use super::payload::Metric;
use crate::{Fault, excerpt};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Bytes that a definition takes beside its name, about.
const DEFINITION_BYTES: usize = 96;

/// How long a node is not asked again for its births, ns.
const REBIRTH_PAUSE_NS: i64 = 10_000_000_000;

/// What a birth said of its metrics.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    by_alias: HashMap<u64, (Arc<str>, Option<u32>)>,
    /// Data types, also of metrics with an alias, whose names a data message may give instead.
    by_name: HashMap<Arc<str>, Option<u32>>,
    bytes: usize,
}

impl Definitions {
    pub(super) fn of_birth(metrics: &[Metric<'_>]) -> Result<Definitions, Fault> {
        let mut definitions = Definitions { bytes: DEFINITION_BYTES, ..Definitions::default() };
        for metric in metrics {
            let Some(name) = metric.name.filter(|name| !name.is_empty()) else {
                return Err(Fault::syntax("a birth has a metric without a name"));
            };
            definitions.bytes += DEFINITION_BYTES + name.len();
            let shared: Arc<str> = Arc::from(name);
            definitions.by_name.insert(Arc::clone(&shared), metric.datatype);
            let Some(alias) = metric.alias else { continue };
            if definitions.by_alias.insert(alias, (shared, metric.datatype)).is_some() {
                let name = excerpt(name, 64);
                let detail = format!("the birth gives alias {alias} twice, to {name:?} too");
                return Err(Fault::syntax(detail));
            }
        }
        Ok(definitions)
    }

    /// Name and data type of a metric.
    pub(super) fn resolve<'d>(&'d self, metric: &Metric<'d>) -> Option<(&'d str, Option<u32>)> {
        let by_alias = metric.alias.and_then(|alias| self.by_alias.get(&alias));
        if let Some((name, datatype)) = by_alias {
            return Some((name, metric.datatype.or(*datatype)));
        }
        let name = metric.name.filter(|name| !name.is_empty())?;
        let known = || self.by_name.get(name).copied().flatten();
        Some((name, metric.datatype.or_else(known)))
    }
}

/// An edge node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// None: not born, or dead.
    own: Option<Definitions>,
    devices: BTreeMap<String, Definitions>,
    /// The number of its session, by which its death is told from an older one.
    pub(super) birth_seq: Option<u64>,
    next_seq: Option<u8>,
    /// Births may have been missed.
    is_doubtful: bool,
    asked_ns: Option<i64>,
    /// Bytes that its definitions take, about.
    bytes: usize,
}

fn device_bytes(name: &str, definitions: &Definitions) -> usize {
    DEFINITION_BYTES + name.len() + definitions.bytes
}

impl Node {
    pub(super) fn is_born(&self) -> bool {
        self.own.is_some()
    }

    pub(super) fn bytes(&self) -> usize {
        DEFINITION_BYTES + self.bytes
    }

    pub(super) fn definitions(&self, device: Option<&str>) -> Option<&Definitions> {
        match device {
            Some(device) => self.devices.get(device),
            None => self.own.as_ref(),
        }
    }

    /// A birth of the node; gives the devices known till now, which have theirs to come.
    pub(super) fn be_born(&mut self, own: Definitions, birth_seq: Option<u64>) -> Vec<String> {
        let bytes = own.bytes;
        let born = Node { own: Some(own), birth_seq, bytes, ..Node::default() };
        std::mem::replace(self, born).devices.into_keys().collect()
    }

    /// A birth of a time before; devices are restored beside it.
    pub(super) fn restore(&mut self, own: Definitions, birth_seq: Option<u64>) {
        self.bytes += own.bytes;
        (self.own, self.birth_seq, self.is_doubtful) = (Some(own), birth_seq, true);
    }

    pub(super) fn add_device(&mut self, device: &str, definitions: Definitions) {
        self.remove_device(device);
        self.bytes += device_bytes(device, &definitions);
        self.devices.insert(device.to_owned(), definitions);
    }

    pub(super) fn remove_device(&mut self, device: &str) {
        if let Some(definitions) = self.devices.remove(device) {
            self.bytes -= device_bytes(device, &definitions);
        }
    }

    /// The node's end; gives the devices that end with it.
    pub(super) fn die(&mut self) -> Vec<String> {
        let dead = std::mem::take(self);
        *self = Node { asked_ns: dead.asked_ns, ..Node::default() };
        dead.devices.into_keys().collect()
    }

    /// Whether no message is missing before this one.
    pub(super) fn follows(&mut self, seq: Option<u64>) -> bool {
        let is_sure = !std::mem::take(&mut self.is_doubtful);
        let Some(seq) = seq.and_then(|seq| u8::try_from(seq).ok()) else { return is_sure };
        let expected = self.next_seq.replace(seq.wrapping_add(1));
        is_sure && expected.is_none_or(|expected| expected == seq)
    }

    /// Takes note of a message's number; whether the node is to be asked for its births, because
    /// messages are missing or it has none.
    pub(super) fn asks_after(&mut self, seq: Option<u64>, now_ns: i64) -> bool {
        let follows = self.follows(seq);
        (!follows || !self.is_born()) && self.may_ask(now_ns)
    }

    /// Whether it may be asked for its births now.
    pub(super) fn may_ask(&mut self, now_ns: i64) -> bool {
        let is_recent = |asked: i64| (0..REBIRTH_PAUSE_NS).contains(&now_ns.saturating_sub(asked));
        if self.asked_ns.is_some_and(is_recent) {
            return false;
        }
        self.asked_ns = Some(now_ns);
        true
    }
}
