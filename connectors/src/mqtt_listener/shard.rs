//! Messages of many connections in one batch, so that one sync serves thousands of them.
//!
//! A connection decodes straight into the open batch of its shard. One task a shard writes batch
//! after batch, so that messages of one connection keep their order.

use super::{
    MqttListenerOptions,
    counters::Counters,
    holds::{Added, Holds, Leave},
    live::Waker,
};
use crate::{
    pump::{Batch, BatchWriter, CompiledRoutes, Held, Intake, Stored},
    sparkplug_store::EdgeNodes,
};
use oribi_ingest::Ingest;
use oribi_model::ArrivalClock;
use parking_lot::{Mutex, MutexGuard};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How dead letters and the log call the listener.
pub(super) const SOURCE: &str = "mqtt";

/// The batch that messages go into now; the batches before are written or being written.
pub(super) struct OpenBatch {
    pub(super) batch: Batch,
    /// Connections that want to know when the batch is stored, each at most once in a row.
    waiting: Vec<Arc<Waker>>,
    opened: Option<Instant>,
}

impl OpenBatch {
    fn new(batch: Batch) -> OpenBatch {
        OpenBatch { batch, waiting: Vec::new(), opened: None }
    }

    pub(super) fn number(&self) -> u64 {
        self.batch.number()
    }

    /// Has `waker` called once this batch is stored.
    pub(super) fn notify(&mut self, waker: &Arc<Waker>) {
        if !self.waiting.last().is_some_and(|last| Arc::ptr_eq(last, waker)) {
            self.waiting.push(waker.clone());
        }
    }
}

/// What the lock of a shard protects.
pub(super) struct ShardState {
    pub(super) open: OpenBatch,
    pub(super) intake: Intake,
}

/// A share of all connections and their batches.
pub(super) struct Shard {
    state: Mutex<ShardState>,
    /// The greatest batch number that is stored, but for what waits in `holds`.
    completed: AtomicU64,
    holds: Holds,
    ready: Notify,
    full: Notify,
    options: Arc<MqttListenerOptions>,
    arrival: ArrivalClock,
    counters: Arc<Counters>,
}

impl Shard {
    pub(super) fn new(
        routes: CompiledRoutes,
        options: Arc<MqttListenerOptions>,
        arrival: ArrivalClock,
        counters: Arc<Counters>,
        nodes: Arc<EdgeNodes>,
    ) -> Shard {
        let intake = Intake::new(routes, nodes, arrival.clone(), options.ahead_ns_max);
        Shard {
            state: Mutex::new(ShardState { open: OpenBatch::new(Batch::new(1)), intake }),
            completed: AtomicU64::new(0),
            holds: Holds::default(),
            ready: Notify::new(),
            full: Notify::new(),
            options,
            arrival,
            counters,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, ShardState> {
        self.state.lock()
    }

    /// What a connection of the client may do now; `waker` is called once it may do more.
    pub(super) fn leave(&self, client: &Arc<str>, waker: &Arc<Waker>) -> Leave {
        // Read first: whoever waits was noted before the batch was completed.
        let completed = self.completed.load(Ordering::Acquire);
        self.holds.leave(client, completed, waker)
    }

    /// Whether messages have to wait for the next batch.
    pub(super) fn is_full(&self, open: &OpenBatch) -> bool {
        open.batch.rows() >= self.options.batch_rows_max
            || open.batch.bytes() >= self.options.batch_bytes_max
            || open.batch.holds_enough()
    }

    /// Tells the writer that the batch has something in it.
    pub(super) fn announce(&self, open: &mut OpenBatch) {
        if open.opened.is_none() {
            open.opened = Some(Instant::now());
            self.ready.notify_one();
        }
        if self.is_full(open) {
            self.full.notify_one();
        }
    }

    /// Writes batch after batch until `stop`, then what is left.
    pub(super) async fn run(self: Arc<Self>, ingest: Arc<dyn Ingest>, stop: CancellationToken) {
        let linger = Duration::from_millis(self.options.linger_ms);
        let holders = TaskTracker::new();
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
            let open = {
                let mut state = self.lock();
                let next = OpenBatch::new(state.open.batch.following());
                std::mem::replace(&mut state.open, next)
            };
            let done = open.opened.is_none();
            if !done {
                self.write(open, &ingest, &stop, &holders).await;
            } else {
                self.complete(&open);
            }
            if done && stop.is_cancelled() {
                holders.close();
                holders.wait().await;
                return;
            }
        }
    }

    /// Nothing of the batch is acked where the node stops before it is stored.
    async fn write(
        self: &Arc<Self>,
        mut open: OpenBatch,
        ingest: &Arc<dyn Ingest>,
        stop: &CancellationToken,
        holders: &TaskTracker,
    ) {
        let emptied = Batch::new(open.number());
        let batch = std::mem::replace(&mut open.batch, emptied);
        // There is room for others while this batch is being written.
        open.waiting.iter().for_each(|waker| waker.wake.notify_one());
        let messages = batch.messages();
        let writer = self.writer(ingest.as_ref(), stop);
        let waits = (!self.holds.is_empty()).then_some(|client: &Arc<str>| self.holds.has(client));
        let Some((stored, held)) = writer.store_present(batch, waits).await else { return };
        let waiting: usize = held.iter().map(Held::messages).sum();
        self.count(stored, messages.saturating_sub(waiting), open.opened);
        for held in held {
            let (client, messages) = (held.client.clone(), held.messages());
            let waiting = &self.counters.waiting;
            waiting.fetch_add(messages as u64, Ordering::Relaxed);
            match self.holds.add(held, open.opened) {
                Added::Queued => {}
                Added::First => {
                    let (shard, ingest, stop) = (self.clone(), ingest.clone(), stop.clone());
                    holders.spawn(async move { shard.hold(&client, ingest.as_ref(), &stop).await });
                }
                Added::Full(held) => {
                    waiting.fetch_sub(messages as u64, Ordering::Relaxed);
                    let Some(stored) = writer.give_up(*held).await else { return };
                    self.count(stored, messages, open.opened);
                }
            }
        }
        self.complete(&open);
    }

    /// Writes what waits of one client, batch by batch, until nothing does.
    async fn hold(&self, client: &Arc<str>, ingest: &dyn Ingest, stop: &CancellationToken) {
        let mut stored_bytes = 0;
        while let Some(waiting) = self.holds.next(client, stored_bytes) {
            stored_bytes = waiting.held.bytes();
            let messages = waiting.held.messages();
            let writer = self.writer(ingest, stop);
            let Some(stored) = writer.store_held(waiting.held).await else { return };
            self.counters.waiting.fetch_sub(messages as u64, Ordering::Relaxed);
            self.count(stored, messages, waiting.since);
        }
    }

    fn writer<'a>(
        &'a self,
        ingest: &'a dyn Ingest,
        stop: &'a CancellationToken,
    ) -> BatchWriter<'a> {
        BatchWriter { label: SOURCE, source: None, ingest, arrival: &self.arrival, stop }
    }

    fn count(&self, stored: Stored, messages: usize, since: Option<Instant>) {
        self.counters.rows.fetch_add(stored.rows, Ordering::Relaxed);
        self.counters.dead_letters.fetch_add(stored.dead_letters, Ordering::Relaxed);
        let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
        self.counters.acked(messages as u64, waited);
    }

    fn complete(&self, open: &OpenBatch) {
        self.completed.store(open.number(), Ordering::Release);
        open.waiting.iter().for_each(|waker| waker.wake.notify_one());
    }
}
