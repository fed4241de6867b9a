//! Messages of many connections in one batch, so that one sync serves thousands of them.
//!
//! A connection decodes straight into the open batch of its shard. One task a shard writes batch
//! after batch, so that messages of one connection keep their order.

use super::{
    MqttListenerOptions,
    counters::Counters,
    payload::{self, Context, Place},
    topics::{Route, TopicMap},
};
use crate::{
    dead_letter::{DeadLetter, DeadLetters},
    decode::{Fault, table::Tables},
};
use oribi_ingest::{Ingest, Receipt};
use oribi_model::{ArrivalClock, Name, Points, Rejection, name::DEFAULT_DB};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

/// Topics whose meaning is remembered.
const ROUTES_MAX: usize = 65_536;
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(2);

/// Wakes one connection: acks are due, there is room, or it has to end.
#[derive(Debug, Default)]
pub(super) struct Waker {
    pub(super) wake: Notify,
}

/// One message as a connection hands it over.
pub(super) struct Message<'a> {
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) client_id: &'a Arc<str>,
    pub(super) packet_id: u16,
}

struct Kept {
    topic: (usize, usize),
    payload: (usize, usize),
    client_id: Arc<str>,
    packet_id: u16,
    first_origin: u32,
}

/// The batch that messages go into now.
pub(super) struct OpenBatch {
    /// Number of this batch; the batches before are written or being written.
    pub(super) number: u64,
    tables: Tables,
    dead: DeadLetters,
    raw: Vec<u8>,
    kept: Vec<Kept>,
    /// Connections that want to know when the batch is stored, each at most once in a row.
    waiting: Vec<Arc<Waker>>,
    origin: u32,
    messages: u64,
    opened: Option<Instant>,
}

impl OpenBatch {
    fn new(number: u64) -> OpenBatch {
        let db = Name::new(DEFAULT_DB).expect("the default database has a legal name");
        OpenBatch {
            number,
            tables: Tables::new(db),
            dead: DeadLetters::new(),
            raw: Vec::new(),
            kept: Vec::new(),
            waiting: Vec::new(),
            origin: 1,
            messages: 0,
            opened: None,
        }
    }

    /// Has `waker` called once this batch is stored.
    pub(super) fn notify(&mut self, waker: &Arc<Waker>) {
        if !self.waiting.last().is_some_and(|last| Arc::ptr_eq(last, waker)) {
            self.waiting.push(waker.clone());
        }
    }

    fn bury(&mut self, letter: &DeadLetter<'_>, arrival: &ArrivalClock) {
        let origin = self.origin;
        self.origin += 1;
        self.dead.push(letter, arrival, origin);
    }
}

struct Remembered {
    route: Result<Arc<Route>, Fault>,
    /// The batch for which `place` holds.
    number: u64,
    place: Place,
}

/// What the lock of a shard protects.
pub(super) struct ShardState {
    pub(super) batch: OpenBatch,
    routes: HashMap<Box<str>, Remembered, Xxh3DefaultBuilder>,
}

/// A share of all connections and their batches.
pub(super) struct Shard {
    state: Mutex<ShardState>,
    /// The greatest batch number that is stored.
    completed: AtomicU64,
    ready: Notify,
    full: Notify,
    topics: TopicMap,
    options: Arc<MqttListenerOptions>,
    arrival: ArrivalClock,
    counters: Arc<Counters>,
}

impl Shard {
    pub(super) fn new(
        topics: TopicMap,
        options: Arc<MqttListenerOptions>,
        arrival: ArrivalClock,
        counters: Arc<Counters>,
    ) -> Shard {
        let state = ShardState { batch: OpenBatch::new(1), routes: HashMap::default() };
        Shard {
            state: Mutex::new(state),
            completed: AtomicU64::new(0),
            ready: Notify::new(),
            full: Notify::new(),
            topics,
            options,
            arrival,
            counters,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock()
    }

    pub(super) fn completed(&self) -> u64 {
        self.completed.load(Ordering::Acquire)
    }

    /// Whether messages have to wait for the next batch.
    pub(super) fn is_full(&self, batch: &OpenBatch) -> bool {
        batch.origin as usize > self.options.batch_rows_max
            || batch.raw.len() + batch.dead.bytes() >= self.options.batch_bytes_max
    }

    /// Tells the writer that the batch has something in it.
    pub(super) fn announce(&self, batch: &mut OpenBatch) {
        if batch.opened.is_none() {
            batch.opened = Some(Instant::now());
            self.ready.notify_one();
        }
        if self.is_full(batch) {
            self.full.notify_one();
        }
    }

    /// Decodes a message into the batch; what cannot be decoded goes there as a dead letter.
    #[inline]
    pub(super) fn add(&self, state: &mut ShardState, message: &Message<'_>, now_ns: i64) {
        let batch = &mut state.batch;
        batch.messages += 1;
        let context =
            Context { arrival: &self.arrival, now_ns, ahead_ns_max: self.options.ahead_ns_max };
        let first_origin = batch.origin;
        let decoded = self.decode(batch, &mut state.routes, message, &context);
        if let Err(fault) = decoded {
            self.add_dead(batch, message, message.payload.len() as u64, &fault);
        }
        let topic = (batch.raw.len(), batch.raw.len() + message.topic.len());
        batch.raw.extend_from_slice(message.topic.as_bytes());
        batch.raw.extend_from_slice(message.payload);
        batch.kept.push(Kept {
            topic,
            payload: (topic.1, batch.raw.len()),
            client_id: message.client_id.clone(),
            packet_id: message.packet_id,
            first_origin,
        });
    }

    /// Puts a message into the batch as a dead letter.
    pub(super) fn add_dead(
        &self,
        batch: &mut OpenBatch,
        message: &Message<'_>,
        payload_bytes: u64,
        fault: &Fault,
    ) {
        self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
        let letter = DeadLetter {
            source: "mqtt",
            reason: fault.reason,
            detail: &fault.detail,
            topic: message.topic,
            payload: message.payload,
            payload_bytes,
            client_id: message.client_id,
            packet_id: message.packet_id,
        };
        batch.bury(&letter, &self.arrival);
    }

    #[inline]
    fn decode(
        &self,
        batch: &mut OpenBatch,
        routes: &mut HashMap<Box<str>, Remembered, Xxh3DefaultBuilder>,
        message: &Message<'_>,
        context: &Context<'_>,
    ) -> Result<(), Fault> {
        if !routes.contains_key(message.topic) {
            if routes.len() >= ROUTES_MAX {
                routes.clear();
            }
            let place = Place { table: 0, series: 0 };
            let route = check_topic(message.topic).map(|()| self.topics.route(message.topic));
            let remembered = Remembered { route: route.map(Arc::new), number: 0, place };
            routes.insert(message.topic.into(), remembered);
        }
        let remembered = routes.get_mut(message.topic).expect("the route was put there");
        let route = remembered.route.as_ref().map_err(Clone::clone)?;
        if payload::is_lines(message.payload, route, context.arrival) {
            let (tables, origin) = (&mut batch.tables, &mut batch.origin);
            return payload::read_lines(message.payload, tables, context, origin);
        }
        if remembered.number != batch.number {
            let table = batch.tables.table(&route.table)?;
            let tags: Vec<_> = route.tags.iter().map(|(k, v)| (&**k, &**v)).collect();
            let series = batch.tables.at(table).series(&tags)?;
            remembered.place = Place { table, series };
            remembered.number = batch.number;
        }
        let (tables, origin) = (&mut batch.tables, &mut batch.origin);
        payload::read_rows(message.payload, route, remembered.place, tables, context, origin)
    }

    /// Writes batch after batch until `stop`, then what is left.
    pub(super) async fn run(self: Arc<Self>, ingest: Arc<dyn Ingest>, stop: CancellationToken) {
        let linger = Duration::from_millis(self.options.linger_ms);
        loop {
            tokio::select! {
                () = self.ready.notified() => {}
                () = stop.cancelled() => {}
            }
            if !linger.is_zero() && !stop.is_cancelled() {
                tokio::select! {
                    () = tokio::time::sleep(linger) => {}
                    () = self.full.notified() => {}
                    () = stop.cancelled() => {}
                }
            }
            let batch = {
                let mut state = self.lock();
                let next = OpenBatch::new(state.batch.number + 1);
                std::mem::replace(&mut state.batch, next)
            };
            let done = batch.opened.is_none();
            if !done {
                self.write(batch, ingest.as_ref(), &stop).await;
            } else {
                self.complete(&batch);
            }
            if done && stop.is_cancelled() {
                return;
            }
        }
    }

    async fn write(&self, mut batch: OpenBatch, ingest: &dyn Ingest, stop: &CancellationToken) {
        let tables = std::mem::replace(&mut batch.tables, OpenBatch::new(0).tables);
        let dead = std::mem::take(&mut batch.dead);
        let mut points = tables.finish();
        if !dead.is_empty() {
            points.push(dead.finish());
        }
        // There is room for others while this batch is being written.
        batch.waiting.iter().for_each(|waker| waker.wake.notify_one());
        let Some(receipt) = self.write_points(ingest, points, stop).await else { return };
        self.counters.rows.fetch_add(receipt.rows, Ordering::Relaxed);
        if !receipt.rejected.is_empty() {
            let letters = self.bury_rejected(&batch, &receipt.rejected);
            if self.write_points(ingest, vec![letters], stop).await.is_none() {
                return;
            }
        }
        let waited = batch.opened.map_or(Duration::ZERO, |opened| opened.elapsed());
        self.counters.acked(batch.messages, waited);
        self.complete(&batch);
    }

    fn complete(&self, batch: &OpenBatch) {
        self.completed.store(batch.number, Ordering::Release);
        batch.waiting.iter().for_each(|waker| waker.wake.notify_one());
    }

    /// Writes until it is stored. `None` when the node stops first: nothing is acked then.
    async fn write_points(
        &self,
        ingest: &dyn Ingest,
        points: Vec<Points>,
        stop: &CancellationToken,
    ) -> Option<Receipt> {
        let mut pause = Duration::from_millis(20);
        if points.is_empty() {
            return Some(Receipt::default());
        }
        loop {
            match ingest.write(points.clone()).await {
                Ok(receipt) => return Some(receipt),
                Err(wrong) if !wrong.is_retryable() => {
                    return Some(self.refuse_all(&points, &wrong));
                }
                Err(wrong) => {
                    tracing::warn!(%wrong, "a batch of mqtt messages waits for the write path");
                    if stop.is_cancelled() {
                        return None;
                    }
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_PAUSE_MAX);
        }
    }

    fn refuse_all(&self, points: &[Points], wrong: &oribi_ingest::Error) -> Receipt {
        let origins = points.iter().flat_map(|points| points.origins.iter());
        let rejected = origins.map(|origin| Rejection {
            origin: *origin,
            reason: oribi_model::RejectReason::Name,
            detail: wrong.to_string(),
        });
        Receipt { rows: 0, rejected: rejected.collect() }
    }

    /// Dead letters of the messages whose rows the write path refused, one a message.
    fn bury_rejected(&self, batch: &OpenBatch, rejected: &[Rejection]) -> Points {
        let mut dead = DeadLetters::new();
        let mut last = None;
        for rejection in rejected {
            let after = batch.kept.partition_point(|kept| kept.first_origin <= rejection.origin);
            let Some(at) = after.checked_sub(1).filter(|at| last != Some(*at)) else { continue };
            last = Some(at);
            let kept = &batch.kept[at];
            let topic = &batch.raw[kept.topic.0..kept.topic.1];
            let payload = &batch.raw[kept.payload.0..kept.payload.1];
            self.counters.dead_letters.fetch_add(1, Ordering::Relaxed);
            let letter = DeadLetter {
                source: "mqtt",
                reason: rejection.reason,
                detail: &rejection.detail,
                topic: std::str::from_utf8(topic).unwrap_or_default(),
                payload,
                payload_bytes: payload.len() as u64,
                client_id: &kept.client_id,
                packet_id: kept.packet_id,
            };
            let origin = dead.len() as u32 + 1;
            dead.push(&letter, &self.arrival, origin);
        }
        dead.finish()
    }
}

fn check_topic(topic: &str) -> Result<(), Fault> {
    const LEVELS_MAX: usize = 128;
    if memchr::memchr_iter(b'/', topic.as_bytes()).count() >= LEVELS_MAX {
        let detail = format!("a topic of more than {LEVELS_MAX} levels");
        return Err(Fault::new(oribi_model::RejectReason::Limit, detail));
    }
    Ok(())
}
