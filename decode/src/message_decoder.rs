//! Messages of a source to rows. What a topic means is looked up once.

use crate::{
    Fault,
    confluent::Framed,
    line_protocol::Heads,
    mapping::{self, BatchSlot, Decoder, Message, Reading, Route, Routes, SchemaSource},
    points::{KnownSeries, TagNames},
    sparkplug::{EdgeNews, SparkplugNodes},
    tables::Tables,
    topics::Topics,
};
use oribi_model::{ArrivalClock, Name, RejectReason};
use std::sync::Arc;

/// Longest topic, bytes: it becomes a tag of every row, and is remembered.
pub const TOPIC_BYTES_MAX: usize = 4 * 1024;
/// Most levels of a topic.
const LEVELS_MAX: usize = 128;

/// The rows of the messages of one batch.
#[derive(Debug)]
pub struct OpenRows {
    /// Number of the batch, from 1: another one for each batch of one [`MessageDecoder`].
    pub number: u64,
    /// The rows by table.
    pub tables: Tables,
    /// The origin of the next row.
    pub next_origin: u32,
}

impl OpenRows {
    /// No rows yet; their origins begin with 1.
    pub fn new(number: u64) -> OpenRows {
        OpenRows { number, tables: Tables::new(), next_origin: 1 }
    }
}

/// Routes, and what they make of the topics seen so far.
pub struct MessageDecoder {
    routes: Arc<Routes>,
    topics: Topics,
    /// Those of the topic that was met last for the first time, which the next ones often share.
    tag_names: Option<TagNames>,
    heads: Heads,
    /// The batch that `heads` have begun.
    heads_number: u64,
    arrival: ArrivalClock,
    ahead_ns_max: i64,
    nodes: Arc<SparkplugNodes>,
    news: Option<EdgeNews>,
}

impl MessageDecoder {
    /// A decoder of a source whose edge nodes of Sparkplug are `nodes`. Events may lie
    /// `ahead_ns_max` ahead of now, ns.
    pub fn new(
        routes: Arc<Routes>,
        nodes: Arc<SparkplugNodes>,
        arrival: ArrivalClock,
        ahead_ns_max: i64,
    ) -> MessageDecoder {
        MessageDecoder {
            routes,
            topics: Topics::default(),
            tag_names: None,
            heads: Heads::small(),
            heads_number: 0,
            arrival,
            ahead_ns_max,
            nodes,
            news: None,
        }
    }

    /// The id of the schema that has to be at hand before [`MessageDecoder::decode`] can read the
    /// message, if it is not.
    pub fn wanted(&mut self, message: &Message<'_>) -> Option<u32> {
        if !self.routes.has_registry() {
            return None;
        }
        let routes = &self.routes;
        let remembered = self.topics.get(message.topic, || route_of(routes, message.topic));
        let route = remembered.route.as_ref().ok()?;
        let Some(SchemaSource::Registry(schemas)) = &route.picks.schema else { return None };
        let id = Framed::split(message.payload).ok()?.id;
        (!schemas.knows(id)).then_some(id)
    }

    /// What the message decoded last said of Sparkplug's edge nodes, if it said something.
    #[inline]
    pub fn take_news(&mut self) -> Option<EdgeNews> {
        self.news.take()
    }

    /// The database and table that a topic leads to by its route; `None` for the table where the
    /// payload says it, and for all of a topic that leads nowhere.
    pub fn target(&mut self, topic: &str) -> Option<(&Name, Option<&str>)> {
        let routes = &self.routes;
        let remembered = self.topics.get(topic, || route_of(routes, topic));
        let route = remembered.route.as_ref().ok()?;
        let by_payload = route.picks.preset.is_some() || route.picks.decoder == Decoder::SparkplugB;
        Some((&route.db, (!by_payload).then_some(route.table.as_str())))
    }

    /// Adds the rows of a message. `now_ns` is ns since the Unix epoch.
    ///
    /// # Errors
    /// What cannot be decoded; rows that can stand beside it.
    pub fn decode(
        &mut self,
        rows: &mut OpenRows,
        message: &Message<'_>,
        now_ns: i64,
    ) -> Result<(), Fault> {
        let routes = &self.routes;
        let remembered = self.topics.get(message.topic, || route_of(routes, message.topic));
        let reading = Reading { arrival: &self.arrival, now_ns, ahead_ns_max: self.ahead_ns_max };
        let route = remembered.route.as_ref().map_err(Clone::clone)?;
        let (tables, origin) = (&mut rows.tables, &mut rows.next_origin);
        if let Some(preset) = route.picks.preset {
            return mapping::read_preset(preset, message, route, tables, &reading, origin);
        }
        if route.picks.decoder == Decoder::SparkplugB {
            let nodes = &self.nodes;
            let (read, news) =
                mapping::read_sparkplug(nodes, message, route, tables, &reading, origin);
            self.news = news;
            return read;
        }
        if mapping::is_lines(message.payload, route) {
            let heads = &mut self.heads;
            if self.heads_number != rows.number {
                heads.begin_batch();
                self.heads_number = rows.number;
            }
            return mapping::read_lines(message, route, tables, heads, &reading, origin);
        }
        if remembered.number != rows.number {
            let table = tables.table_in(&route.db, &route.table)?;
            let mut series = 0;
            if route.has_one_series(message) {
                let builder = tables.at(table);
                series = match &remembered.series {
                    Some(known) => builder.known_series(known)?,
                    None => {
                        let tags = route.tags_of(message);
                        let tags: Vec<(&str, &str)> =
                            tags.iter().map(|(name, value)| (&**name, &**value)).collect();
                        let series = builder.checked_series(&tags)?;
                        // They are the topic's own.
                        let known = KnownSeries::new(&tags, self.tag_names.as_ref());
                        self.tag_names = Some(known.names().clone());
                        remembered.series = Some(known);
                        series
                    }
                };
            }
            remembered.slot = BatchSlot { table, series };
            remembered.number = rows.number;
        }
        mapping::read_rows(message, route, remembered.slot, tables, &reading, origin)
    }
}

fn route_of(routes: &Routes, topic: &str) -> Result<Arc<Route>, Fault> {
    check_topic(topic).map(|()| Arc::new(routes.route(topic)))
}

fn check_topic(topic: &str) -> Result<(), Fault> {
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
