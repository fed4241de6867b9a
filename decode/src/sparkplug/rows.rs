//! From metrics to rows: those with one time make one row.

use super::{
    BIRTH_SEQ,
    node::Definitions,
    payload::{Metric, Payload},
    topic::EdgeNode,
    value,
};
use crate::{Fault, document::Document, excerpt};
use std::collections::{HashMap, HashSet};

/// The field that says whether a node or device is alive.
const ONLINE: &str = "online";

/// A row of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct EdgeRow {
    /// `group`, `node` and, for a device, `device`.
    pub tags: Vec<(&'static str, String)>,
    /// Ns since the Unix epoch; none: when the message came in.
    pub time: Option<i64>,
    /// Metrics under their names as written, and `online` after births and deaths.
    pub fields: Vec<(String, Document)>,
}

/// Who sent a message.
pub(super) struct Source<'a> {
    pub(super) edge: &'a EdgeNode,
    pub(super) device: Option<&'a str>,
}

impl Source<'_> {
    /// The rows of the metrics that can be read, and what is wrong with the others.
    pub(super) fn rows(
        &self,
        payload: &Payload<'_>,
        definitions: Option<&Definitions>,
        online: Option<bool>,
    ) -> (Vec<EdgeRow>, Option<Fault>) {
        let mut faults = Faults::default();
        let time = self.time(payload).unwrap_or_else(|fault| {
            faults.add("the message", fault);
            None
        });
        let mut rows = RowsByTime::default();
        if let Some(online) = online {
            rows.put(time, ONLINE, Document::Bool(online));
        }
        let unknown = Definitions::default();
        for metric in &payload.metrics {
            let Some((name, datatype)) = definitions.unwrap_or(&unknown).resolve(metric) else {
                faults.add(&self.shown(metric), Fault::syntax("no birth has named it"));
                continue;
            };
            if name == BIRTH_SEQ && self.device.is_none() {
                continue;
            }
            match field(metric, datatype, time) {
                Ok(Some((time, value))) => rows.put(time, name, value),
                Ok(None) => {}
                Err(fault) => faults.add(&format!("{:?}", excerpt(name, 64)), fault),
            }
        }
        let rows = rows.rows.into_iter().map(|row| self.row(row.time, row.fields)).collect();
        (rows, faults.into_fault())
    }

    /// The time of the message, if it says one.
    pub(super) fn time(&self, payload: &Payload<'_>) -> Result<Option<i64>, Fault> {
        payload.timestamp_ms.map(value::time_ns).transpose()
    }

    /// The row of a death.
    pub(super) fn offline(&self, time: Option<i64>) -> EdgeRow {
        self.row(time, vec![(ONLINE.to_owned(), Document::Bool(false))])
    }

    fn row(&self, time: Option<i64>, fields: Vec<(String, Document)>) -> EdgeRow {
        let mut tags = vec![("group", self.edge.group.clone()), ("node", self.edge.node.clone())];
        tags.extend(self.device.map(|device| ("device", device.to_owned())));
        EdgeRow { tags, time, fields }
    }

    fn shown(&self, metric: &Metric<'_>) -> String {
        match metric.alias {
            Some(alias) => format!("alias {alias}"),
            None => "a metric without name and alias".into(),
        }
    }
}

/// A metric's own time or else the message's, and its value; `None` where it has none.
fn field(
    metric: &Metric<'_>,
    datatype: Option<u32>,
    time: Option<i64>,
) -> Result<Option<(Option<i64>, Document)>, Fault> {
    let Some(raw) = metric.raw else { return Ok(None) };
    let own = metric.timestamp_ms.map(value::time_ns).transpose()?;
    let value = value::read(raw, datatype)?;
    Ok(value.map(|value| (own.or(time), value)))
}

#[derive(Default)]
struct RowsByTime<'a> {
    rows: Vec<OpenRow<'a>>,
    /// The last row of each time.
    by_time: HashMap<Option<i64>, usize>,
}

#[derive(Default)]
struct OpenRow<'a> {
    time: Option<i64>,
    fields: Vec<(String, Document)>,
    names: HashSet<&'a str>,
}

impl<'a> RowsByTime<'a> {
    /// A second value of one name and time goes into a row of its own, which then counts.
    fn put(&mut self, time: Option<i64>, name: &'a str, value: Document) {
        let known = self.by_time.get(&time).copied();
        let at = match known.filter(|at| !self.rows[*at].names.contains(name)) {
            Some(at) => at,
            None => {
                self.rows.push(OpenRow { time, ..OpenRow::default() });
                self.by_time.insert(time, self.rows.len() - 1);
                self.rows.len() - 1
            }
        };
        self.rows[at].names.insert(name);
        self.rows[at].fields.push((name.to_owned(), value));
    }
}

/// What is wrong with metrics: the first thing and how many more.
#[derive(Default)]
struct Faults {
    first: Option<Fault>,
    more: usize,
}

impl Faults {
    fn add(&mut self, what: &str, fault: Fault) {
        match self.first {
            Some(_) => self.more += 1,
            None => {
                self.first = Some(Fault::new(fault.reason, format!("{what}: {}", fault.detail)));
            }
        }
    }

    fn into_fault(self) -> Option<Fault> {
        let Faults { first, more } = self;
        first.map(|mut fault| {
            if more > 0 {
                fault.detail = format!("{} (and {more} more like it)", fault.detail).into();
            }
            fault
        })
    }
}
