//! From published messages to stored rows and acks.

use super::{
    client::{Ack, Acks, Publish},
    relay::MARK,
    spec::{MqttSource, Retained},
};
use crate::{
    Result,
    connector::{Common, Progress, RunContext},
    dead_letter::PAYLOAD_BYTES_MAX,
    pump::{Batch, BatchWriter, Intake, Origin, Wanted},
};
use oribi_decode::{Fault, Message, mapping::TopicStyle, sparkplug::EdgeNode};
use oribi_ingest::Ingest;
use oribi_model::{ArrivalClock, RejectReason};
use parking_lot::Mutex;
use std::sync::{Arc, atomic::Ordering};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 32_768;
/// Bytes of messages of a batch at most.
const BATCH_BYTES_MAX: usize = 8 << 20;

/// Messages that wait to be written, and their acks.
pub(super) struct Inbox {
    state: Mutex<Waiting>,
    ready: Notify,
    taken: Notify,
    closed: CancellationToken,
    name: Arc<str>,
    client_id: Arc<str>,
    retained: Retained,
    message_bytes_max: usize,
    arrival: ArrivalClock,
    progress: Arc<Progress>,
}

struct Waiting {
    batch: Batch,
    acks: Vec<Ack>,
    intake: Intake,
}

/// What became of a message that was offered.
enum Offer {
    Taken(Vec<EdgeNode>),
    /// The open batch has no room before the writer takes it.
    Full,
    Wants(Wanted),
}

impl Inbox {
    pub(super) fn new(spec: &MqttSource, common: &Common, context: &RunContext) -> Result<Inbox> {
        let routes = common.compile(&spec.routes, TopicStyle::Mqtt, "connector")?;
        let arrival = context.parts.arrival.clone();
        let (nodes, ahead_ns_max) = (context.nodes.clone(), context.parts.ahead_ns_max);
        let intake = Intake::new(routes, nodes, arrival.clone(), ahead_ns_max);
        Ok(Inbox {
            state: Mutex::new(Waiting { batch: Batch::new(1), acks: Vec::new(), intake }),
            ready: Notify::new(),
            taken: Notify::new(),
            closed: CancellationToken::new(),
            name: context.name.clone(),
            client_id: spec.client_id(common).into(),
            retained: spec.retained(),
            message_bytes_max: spec.message_bytes_max(),
            arrival,
            progress: context.progress.clone(),
        })
    }

    /// Takes in a message, once the open batch has room and what the message cannot be read without
    /// is there. Gives Sparkplug's edge nodes that have to be asked for their births.
    ///
    /// # Errors
    /// [`crate::Error::Broker`]: a schema registry that does not answer.
    pub(super) async fn add(&self, publish: &Publish) -> Result<Vec<EdgeNode>> {
        loop {
            match self.offer(publish) {
                Offer::Taken(rebirths) => return Ok(rebirths),
                Offer::Full => self.taken.notified().await,
                Offer::Wants(wanted) => wanted.fetch().await?,
            }
        }
    }

    fn offer(&self, publish: &Publish) -> Offer {
        let mut state = self.state.lock();
        let Waiting { batch, acks, intake } = &mut *state;
        let is_full = batch.rows() >= BATCH_ROWS_MAX
            || batch.bytes() >= BATCH_BYTES_MAX
            || batch.holds_enough();
        if is_full {
            return Offer::Full;
        }
        let message = Message::new(&publish.topic, &publish.payload);
        if !publish.topic.starts_with(MARK)
            && let Some(wanted) = intake.wanted(&message)
        {
            return Offer::Wants(wanted);
        }
        let is_first = batch.messages() == 0 && acks.is_empty();
        let progress = &self.progress;
        progress.messages.fetch_add(1, Ordering::Relaxed);
        progress.bytes.fetch_add(publish.payload.len() as u64, Ordering::Relaxed);
        let origin = Origin::Mqtt { client_id: &self.client_id, packet_id: publish.ack.packet_id };
        let payload_bytes = publish.payload.len();
        if publish.retain && self.retained == Retained::Skip {
            progress.skipped.fetch_add(1, Ordering::Relaxed);
        } else if let Some(topic) = publish.topic.strip_prefix(MARK) {
            let head = &publish.payload[..payload_bytes.min(PAYLOAD_BYTES_MAX)];
            let fault = Fault::syntax("the topic is not UTF-8; what is no text in it was replaced");
            batch.add_dead(&Message::new(topic, head), payload_bytes as u64, &origin, fault);
        } else if payload_bytes > self.message_bytes_max {
            let head = &publish.payload[..payload_bytes.min(PAYLOAD_BYTES_MAX)];
            let message = Message::new(&publish.topic, head);
            let limit = self.message_bytes_max;
            let detail = format!("a message of {payload_bytes} bytes; at most {limit} are taken");
            let fault = Fault::new(RejectReason::Limit, detail);
            batch.add_dead(&message, payload_bytes as u64, &origin, fault);
        } else {
            intake.add(batch, &message, &origin, self.arrival.now_ns());
        }
        if publish.ack.qos > 0 {
            acks.push(publish.ack);
            progress.in_flight.fetch_add(1, Ordering::Relaxed);
        }
        let rebirths = intake.take_rebirths();
        drop(state);
        // The writer takes all there is at once.
        if is_first {
            self.ready.notify_one();
        }
        Offer::Taken(rebirths)
    }

    /// Nothing more comes; what is there is written.
    pub(super) fn close(&self) {
        self.closed.cancel();
    }

    /// Writes batch after batch, and acks what is stored, until closed and empty.
    pub(super) async fn write(
        self: Arc<Self>,
        ingest: Arc<dyn Ingest>,
        sender: Acks,
        stop: CancellationToken,
    ) {
        loop {
            tokio::select! {
                () = self.ready.notified() => {}
                () = self.closed.cancelled() => {}
            }
            let (batch, acks) = {
                let mut state = self.state.lock();
                let next = state.batch.following();
                let acks = Vec::with_capacity(state.acks.len());
                (
                    std::mem::replace(&mut state.batch, next),
                    std::mem::replace(&mut state.acks, acks),
                )
            };
            self.taken.notify_one();
            if batch.messages() == 0 && acks.is_empty() && self.closed.is_cancelled() {
                break;
            }
            let count = acks.len() as u64;
            let is_stored = self.store(batch, ingest.as_ref(), &stop).await;
            self.progress.in_flight.fetch_sub(count, Ordering::Relaxed);
            if !is_stored {
                break;
            }
            for ack in acks {
                sender.send(ack);
            }
        }
    }

    /// `false` where the node stops first.
    async fn store(&self, batch: Batch, ingest: &dyn Ingest, stop: &CancellationToken) -> bool {
        let (label, arrival) = (&*self.name, &self.arrival);
        let writer = BatchWriter { label, source: None, ingest, arrival, stop };
        let Some(stored) = writer.store(batch).await else { return false };
        self.progress.stored(stored);
        true
    }
}
