//! Decodes messages into a batch. What a topic means is looked up once.

use super::{
    batch::{Batch, Origin, TOPIC_BYTES_MAX},
    topics::Topics,
};
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
use oribi_model::{ArrivalClock, RejectReason};
use std::sync::Arc;

/// Most levels of a topic.
const LEVELS_MAX: usize = 128;

/// Routes, and what they make of the topics seen so far.
pub(crate) struct Router {
    routes: Arc<Routes>,
    topics: Topics,
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
            topics: Topics::default(),
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
        let routes = &self.routes;
        let remembered = self.topics.get(message.topic, || route_of(routes, message.topic));
        let route = remembered.route.as_ref().ok()?;
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
        let routes = &self.routes;
        let remembered = self.topics.get(message.topic, || route_of(routes, message.topic));
        let context = Context { arrival: &self.arrival, now_ns, ahead_ns_max: self.ahead_ns_max };
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
}

fn route_of(routes: &Routes, topic: &str) -> std::result::Result<Arc<Route>, Fault> {
    check_topic(topic).map(|()| Arc::new(routes.route(topic)))
}

fn check_topic(topic: &str) -> std::result::Result<(), Fault> {
    if topic.len() > TOPIC_BYTES_MAX {
        let detail = format!("a topic of more than {TOPIC_BYTES_MAX} bytes");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    if memchr::memchr_iter(b'/', topic.as_bytes()).count() >= LEVELS_MAX {
        let detail = format!("a topic of more than {LEVELS_MAX} levels");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}
