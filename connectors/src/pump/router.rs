//! Decodes messages into a batch. What a topic means is looked up once.

use super::batch::{Batch, Origin};
use crate::{
    Error, Result,
    births::EdgeNodes,
    decode::{
        Fault,
        confluent::{Frame, SchemaRegistry},
        line_protocol::Heads,
        sparkplug::EdgeNode,
    },
    mapping::{self, Context, Decoder, Message, Place, Route, Routes, SchemaSource},
};
use hashbrown::HashTable;
use oribi_model::{ArrivalClock, RejectReason};
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Topics whose meaning is remembered.
const TOPICS_MAX: usize = 65_536;
/// Most levels of a topic.
const LEVELS_MAX: usize = 128;

struct Remembered {
    topic: Box<str>,
    route: std::result::Result<Arc<Route>, Fault>,
    /// The batch for which `place` holds.
    number: u64,
    place: Place,
}

/// Routes, and what they make of the topics seen so far.
pub(crate) struct Router {
    routes: Arc<Routes>,
    topics: Vec<Remembered>,
    /// Places in `topics`.
    places: HashTable<usize>,
    /// The place of the topic that came last, which is often the next one too.
    last: usize,
    heads: Heads,
    /// The batch that `heads` have begun.
    heads_number: u64,
    arrival: ArrivalClock,
    ahead_ns_max: i64,
    nodes: Arc<EdgeNodes>,
    rebirths: Vec<EdgeNode>,
}

/// A schema that has to be fetched before a message can be read.
pub(crate) struct Wanted {
    registry: Arc<SchemaRegistry>,
    id: u32,
}

impl Wanted {
    /// Fetches it; that there is none is remembered, and is the message's trouble.
    ///
    /// # Errors
    /// [`Error::Broker`]: the registry does not answer.
    pub(crate) async fn fetch(self) -> Result<()> {
        match self.registry.fetch(self.id).await {
            Err(wrong) if wrong.is_retryable() => Err(Error::Broker {
                action: "read",
                target: format!("schema {}", self.id),
                reason: wrong.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl Router {
    pub(crate) fn new(routes: Arc<Routes>, arrival: ArrivalClock, ahead_ns_max: i64) -> Router {
        Router {
            routes,
            topics: Vec::new(),
            places: HashTable::new(),
            last: 0,
            heads: Heads::small(),
            heads_number: 0,
            arrival,
            ahead_ns_max,
            nodes: Arc::new(EdgeNodes::forgetful()),
            rebirths: Vec::new(),
        }
    }

    /// With what is already known of Sparkplug's edge nodes.
    pub(crate) fn with_nodes(self, nodes: Arc<EdgeNodes>) -> Router {
        Router { nodes, ..self }
    }

    /// What has to be fetched before [`Router::add`] can read the message.
    pub(crate) fn wanted(&mut self, message: &Message<'_>) -> Option<Wanted> {
        if !self.routes.has_registry() {
            return None;
        }
        let at = self.place_of(message.topic);
        let route = self.topics[at].route.as_ref().ok()?;
        let Some(SchemaSource::Registry(registry)) = &route.picks.schema else { return None };
        let id = Frame::split(message.payload).ok()?.id;
        (!registry.knows(id)).then(|| Wanted { registry: registry.clone(), id })
    }

    /// Sparkplug's edge nodes that have to be asked for their births.
    pub(crate) fn take_rebirths(&mut self) -> Vec<EdgeNode> {
        std::mem::take(&mut self.rebirths)
    }

    /// Decodes a message into the batch; what cannot be decoded is marked there.
    #[inline]
    pub(crate) fn add(
        &mut self,
        batch: &mut Batch,
        message: &Message<'_>,
        origin: &Origin<'_>,
        now_ns: i64,
    ) {
        let first_row = batch.row;
        let decoded = self.decode(batch, message, now_ns);
        batch.keep(message, message.payload.len() as u64, origin, first_row);
        if let Err(fault) = decoded {
            batch.fail(fault);
        }
    }

    #[inline]
    fn decode(
        &mut self,
        batch: &mut Batch,
        message: &Message<'_>,
        now_ns: i64,
    ) -> std::result::Result<(), Fault> {
        let at = self.place_of(message.topic);
        let context = Context { arrival: &self.arrival, now_ns, ahead_ns_max: self.ahead_ns_max };
        let remembered = &mut self.topics[at];
        let route = remembered.route.as_ref().map_err(Clone::clone)?;
        let (tables, row) = (&mut batch.tables, &mut batch.row);
        if let Some(preset) = route.picks.preset {
            return mapping::read_preset(preset, message, route, tables, &context, row);
        }
        if route.picks.decoder == Decoder::SparkplugB {
            let first_row = *row;
            let nodes = &mut self.nodes.lock();
            let said = mapping::read_sparkplug(nodes, message, route, tables, &context, row);
            if let Some(source) = self.nodes.source() {
                batch.births.push(source, &said.births, now_ns, first_row);
            }
            self.rebirths.extend(said.rebirth);
            return said.read;
        }
        if mapping::is_lines(message.payload, route) {
            let heads = &mut self.heads;
            if self.heads_number != batch.number {
                heads.begin_batch();
                self.heads_number = batch.number;
            }
            return mapping::read_lines(message, route, tables, heads, &context, row);
        }
        if remembered.number != batch.number {
            let table = tables.table_in(&route.db, &route.table)?;
            let mut series = 0;
            if route.has_one_series(message) {
                let tags = route.tags_of(message);
                let tags: Vec<_> = tags.iter().map(|(k, v)| (&**k, &**v)).collect();
                series = tables.at(table).series(&tags)?;
            }
            remembered.place = Place { table, series };
            remembered.number = batch.number;
        }
        mapping::read_rows(message, route, remembered.place, tables, &context, row)
    }

    /// The topic's place in `topics`, where it is put if it is new.
    #[inline]
    fn place_of(&mut self, topic: &str) -> usize {
        if self.topics.get(self.last).is_none_or(|known| *known.topic != *topic) {
            let hash = xxh3_64(topic.as_bytes());
            let found = self.places.find(hash, |at| *self.topics[*at].topic == *topic);
            self.last = match found {
                Some(at) => *at,
                None => self.look_up(topic, hash),
            };
        }
        self.last
    }

    fn look_up(&mut self, topic: &str, hash: u64) -> usize {
        if self.topics.len() >= TOPICS_MAX {
            self.topics.clear();
            self.places.clear();
        }
        let route = check_topic(topic).map(|()| Arc::new(self.routes.route(topic)));
        let place = Place { table: 0, series: 0 };
        let at = self.topics.len();
        self.topics.push(Remembered { topic: topic.into(), route, number: 0, place });
        let topics = &self.topics;
        self.places.insert_unique(hash, at, |at| xxh3_64(topics[*at].topic.as_bytes()));
        at
    }
}

fn check_topic(topic: &str) -> std::result::Result<(), Fault> {
    if memchr::memchr_iter(b'/', topic.as_bytes()).count() >= LEVELS_MAX {
        let detail = format!("a topic of more than {LEVELS_MAX} levels");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}
