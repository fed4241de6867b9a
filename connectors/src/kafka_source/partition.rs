//! One partition: records into batches, one batch written at a time.

use super::{
    assignment::{Incarnation, Position},
    consumer::Consumer,
};
use crate::{
    Result,
    connector::{Progress, RunContext},
    dead_letter::PAYLOAD_BYTES_MAX,
    kafka::native::Record,
    pump::{Batch, BatchWriter, CompiledRoutes, Intake, Origin, Stored},
};
use oribi_decode::{Fault, Message};
use oribi_model::{ArrivalClock, RejectReason};
use rdkafka::{TopicPartitionList, consumer::Consumer as _, error::KafkaResult};
use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
};

/// Rows of a batch at most.
const BATCH_ROWS_MAX: usize = 32_768;
/// Bytes of records of a batch at most.
const BATCH_BYTES_MAX: usize = 8 << 20;
const NS_PER_MS: i64 = 1_000_000;

/// How long other partitions wait for the write of a full one.
const PATIENCE: Duration = Duration::from_millis(250);

/// What became of waiting for a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    Stored,
    /// It ended without storing all, so that nothing more may be read.
    Failed,
    /// It is still under way.
    InVain,
}

/// The write of a partition's batch.
enum Writing {
    Idle,
    /// The batch being written, and the position after it.
    Underway(JoinHandle<Option<Stored>>, Position),
    /// It ended without storing all. Nothing behind it may be stored by this reader: the tablets' marks would pass what
    /// it lacks, and leave that out for ever.
    BrokenOff,
}

/// A partition that this connector reads.
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    pub(super) incarnation: Incarnation,
    /// The incarnation as the tablets' marks and the catalog know it.
    pub(super) source: Arc<str>,
    /// All records below are stored.
    pub(super) done: Position,
    /// `done` as of the last time it was kept in the catalog.
    pub(super) kept: Position,
    /// After the last record taken.
    next: Position,
    intake: Intake,
    batch: Batch,
    arrival: ArrivalClock,
    message_bytes_max: usize,
    writing: Writing,
    /// When that began.
    began: Instant,
    /// Whether the broker is not asked for more records meanwhile.
    is_paused: bool,
}

/// Where a partition is, and since when.
pub(super) struct Assigned {
    pub(super) topic: Arc<str>,
    pub(super) number: i32,
    pub(super) incarnation: Incarnation,
    pub(super) at: Position,
}

impl Partition {
    pub(super) fn new(
        begin: Assigned,
        routes: CompiledRoutes,
        context: &RunContext,
        message_bytes_max: usize,
    ) -> Partition {
        let arrival = context.parts.arrival.clone();
        Partition {
            topic: begin.topic,
            number: begin.number,
            source: begin.incarnation.source().into(),
            incarnation: begin.incarnation,
            done: begin.at,
            kept: begin.at,
            next: begin.at,
            intake: Intake::new(
                routes,
                context.nodes.clone(),
                arrival.clone(),
                context.parts.ahead_ns_max,
            ),
            batch: Batch::new(1),
            arrival,
            message_bytes_max,
            writing: Writing::Idle,
            began: Instant::now(),
            is_paused: false,
        }
    }

    /// Fetches what a record cannot be read without.
    ///
    /// # Errors
    /// [`crate::Error::Broker`]: a schema registry that does not answer.
    pub(super) fn prepare(&mut self, record: Record<'_>, runtime: &Handle) -> Result<()> {
        let Some(payload) = record.payload() else { return Ok(()) };
        match self.intake.wanted(&Message::new(&self.topic, payload)) {
            Some(wanted) => runtime.block_on(wanted.fetch()),
            None => Ok(()),
        }
    }

    /// Takes in a record.
    pub(super) fn add(&mut self, record: Record<'_>, now_ns: i64, progress: &Progress) {
        let offset = record.offset();
        if u64::try_from(offset).is_ok_and(|offset| offset < self.next.offset) {
            // It came before the partition was paused.
            return;
        }
        let slot = self.next.row_slot(u64::try_from(offset).unwrap_or(0));
        self.next = Position {
            offset: u64::try_from(offset).unwrap_or(0) + 1,
            epoch: record.leader_epoch(),
            more_rows: self.next.more_rows,
        };
        progress.messages.fetch_add(1, Ordering::Relaxed);
        let Some(payload) = record.payload() else {
            progress.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        };
        progress.bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        // Also where no route reads them: a dead letter keeps them.
        let headers = record.headers();
        let time_ns = record.time_ms().and_then(|ms| ms.checked_mul(NS_PER_MS));
        let mut message = Message {
            topic: &self.topic,
            payload,
            key: record.key(),
            headers: &headers,
            time_ns: time_ns.map(|time| time.saturating_add(slot)),
            partition: Some(self.number),
        };
        let origin = Origin::Kafka { partition: self.number, offset };
        if payload.len() > self.message_bytes_max {
            message.payload = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
            let (bytes, limit) = (payload.len(), self.message_bytes_max);
            let detail = format!("a record of {bytes} bytes; at most {limit} are taken");
            let fault = Fault::new(RejectReason::Limit, detail);
            self.batch.add_dead(&message, bytes as u64, &origin, fault);
        } else {
            let rows = self.batch.rows();
            self.intake.add(&mut self.batch, &message, &origin, now_ns);
            self.next.more_rows += (self.batch.rows() - rows).saturating_sub(1) as u64;
        }
    }

    /// Whether records have to wait for the write under way.
    pub(super) fn is_full(&self) -> bool {
        self.batch.rows() >= BATCH_ROWS_MAX
            || self.batch.bytes() >= BATCH_BYTES_MAX
            || self.batch.holds_enough()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Waits for the write under way as long as other partitions can be kept waiting.
    pub(super) fn wait_a_while(&mut self, progress: &Progress, runtime: &Handle) -> Waited {
        let writing = match &mut self.writing {
            Writing::Idle => return Waited::Stored,
            Writing::BrokenOff => return Waited::Failed,
            Writing::Underway(writing, _) => writing,
        };
        let left = PATIENCE.saturating_sub(self.began.elapsed());
        let ended = runtime.block_on(async { tokio::time::timeout(left, writing).await });
        match ended {
            Err(_) => Waited::InVain,
            Ok(ended) => match self.ended(ended, progress) {
                true => Waited::Stored,
                false => Waited::Failed,
            },
        }
    }

    /// Has no more of its records come, but those that are asked for again later.
    ///
    /// # Errors
    /// What the client said.
    pub(super) fn pause(&mut self, consumer: &Consumer) -> KafkaResult<()> {
        self.is_paused = true;
        consumer.pause(&self.alone())
    }

    /// Has its records come again once there is room.
    ///
    /// # Errors
    /// What the client said.
    pub(super) fn go_on(&mut self, consumer: &Consumer) -> KafkaResult<()> {
        if !self.is_paused || self.is_full() {
            return Ok(());
        }
        self.is_paused = false;
        consumer.resume(&self.alone())
    }

    fn alone(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic, self.number);
        list
    }

    /// Whether a write is under way.
    pub(super) fn is_writing(&self) -> bool {
        matches!(self.writing, Writing::Underway(..))
    }

    /// Begins to write what was taken, if nothing is being written and all before it is stored.
    pub(super) fn write(&mut self, context: &RunContext, runtime: &Handle) {
        if !matches!(self.writing, Writing::Idle) || self.next == self.done {
            return;
        }
        let following = self.batch.following();
        let batch = std::mem::replace(&mut self.batch, following);
        if batch.messages() == 0 {
            // Nothing but tombstones.
            self.done = self.next;
            return;
        }
        let (parts, stop) = (context.parts.clone(), context.stop.clone());
        let (label, source) = (context.name.clone(), self.source.clone());
        let writing = runtime.spawn(async move {
            let (ingest, arrival) = (parts.ingest.as_ref(), &parts.arrival);
            let source = Some(&source);
            let writer = BatchWriter { label: &label, source, ingest, arrival, stop: &stop };
            writer.store(batch).await
        });
        self.writing = Writing::Underway(writing, self.next);
        self.began = Instant::now();
    }

    /// Looks whether the write under way has ended. `false`: it ended without storing all, so that
    /// nothing more may be read.
    pub(super) fn settle(&mut self, progress: &Progress, runtime: &Handle) -> bool {
        match &self.writing {
            Writing::Underway(writing, _) if !writing.is_finished() => true,
            _ => self.wait(progress, runtime),
        }
    }

    /// Waits until the write under way has ended; `false` as with [`Partition::settle`].
    pub(super) fn wait(&mut self, progress: &Progress, runtime: &Handle) -> bool {
        let writing = match &mut self.writing {
            Writing::Idle => return true,
            Writing::BrokenOff => return false,
            Writing::Underway(writing, _) => writing,
        };
        let ended = runtime.block_on(writing);
        self.ended(ended, progress)
    }

    /// Takes note of how a write has ended.
    fn ended(
        &mut self,
        ended: std::result::Result<Option<Stored>, JoinError>,
        progress: &Progress,
    ) -> bool {
        let was = std::mem::replace(&mut self.writing, Writing::BrokenOff);
        match (ended, was) {
            (Ok(Some(stored)), Writing::Underway(_, next)) => {
                progress.stored(stored);
                self.done = next;
                self.writing = Writing::Idle;
                true
            }
            (Err(wrong), _) => {
                tracing::error!(source = %self.source, %wrong, "a write ended abnormally");
                false
            }
            (Ok(_), _) => false,
        }
    }

    /// Writes all that was taken and waits for it; `false` as with [`Partition::settle`].
    pub(super) fn finish(
        &mut self,
        context: &RunContext,
        progress: &Progress,
        runtime: &Handle,
    ) -> bool {
        if !self.wait(progress, runtime) {
            return false;
        }
        self.write(context, runtime);
        self.wait(progress, runtime)
    }

    pub(super) fn now_ns(&self) -> i64 {
        self.arrival.now_ns()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{connector::State, sparkplug_store::EdgeNodes, testing::arrival};
    use oribi_decode::mapping::TopicStyle;

    fn partition() -> Partition {
        let routes = CompiledRoutes::new(&[], TopicStyle::Mqtt, None, "test").unwrap();
        let nodes = Arc::new(EdgeNodes::forgetful());
        let at = |offset| Position { offset, epoch: None, more_rows: 0 };
        Partition {
            topic: "t".into(),
            number: 0,
            incarnation: Incarnation::of("p".into(), &std::collections::BTreeMap::new()),
            source: "p".into(),
            done: at(3),
            kept: at(3),
            next: at(9),
            intake: Intake::new(routes, nodes, arrival(), i64::MAX / 2),
            batch: Batch::new(1),
            arrival: arrival(),
            message_bytes_max: 100,
            writing: Writing::Idle,
            began: Instant::now(),
            is_paused: false,
        }
    }

    #[test]
    fn nothing_follows_a_write_that_broke_off() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (progress, mut partition) = (Progress::new(State::Running), partition());
        let write = |partition: &mut Partition, outcome: Option<Stored>| {
            let next = Position { offset: partition.done.offset + 2, ..partition.done };
            partition.writing = Writing::Underway(runtime.spawn(async move { outcome }), next);
            partition.wait(&progress, runtime.handle())
        };
        assert!(write(&mut partition, Some(Stored::default())));
        assert_eq!(partition.done.offset, 5);
        assert!(!write(&mut partition, None));
        // As often as it is asked, before it is let go too.
        for _ in 0..2 {
            assert!(!partition.settle(&progress, runtime.handle()));
            assert!(!partition.wait(&progress, runtime.handle()));
            assert_eq!(partition.wait_a_while(&progress, runtime.handle()), Waited::Failed);
        }
        assert_eq!(partition.done.offset, 5, "what was not stored is not done");
    }
}
