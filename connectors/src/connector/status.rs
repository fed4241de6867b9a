//! How a connector is doing.

use super::spec::ConnectorSpec;
use crate::pump::Stored;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Seconds over which rates are taken.
const RATE_WINDOW: Duration = Duration::from_secs(10);

/// What a connector does now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It connects.
    Starting,
    /// It is connected.
    Running,
    /// It failed and waits before the next try.
    Retrying,
    /// Somebody paused it.
    Paused,
    /// It cannot run as it is configured, and is not tried again.
    Failed,
}

/// What happens to a connector, counted by those who run it.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) messages: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) dead_letters: AtomicU64,
    pub(crate) skipped: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) gaps: AtomicU64,
    partitions: Mutex<Option<Vec<PartitionLag>>>,
    /// When something was stored or confirmed last.
    succeeded: Mutex<Option<SystemTime>>,
    restarts: AtomicU64,
    state: Mutex<(State, Option<(String, SystemTime)>)>,
    /// Messages as of some moments of late, the oldest first.
    samples: Mutex<Vec<(Instant, u64)>>,
}

impl Progress {
    pub(crate) fn new(state: State) -> Progress {
        Progress {
            messages: AtomicU64::new(0),
            rows: AtomicU64::new(0),
            dead_letters: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            partitions: Mutex::default(),
            succeeded: Mutex::default(),
            restarts: AtomicU64::new(0),
            state: Mutex::new((state, None)),
            samples: Mutex::default(),
        }
    }

    pub(crate) fn enter(&self, state: State) {
        self.state.lock().0 = state;
    }

    pub(crate) fn set_lags(&self, partitions: Vec<PartitionLag>) {
        *self.partitions.lock() = Some(partitions);
    }

    /// Notes that something was stored, or confirmed by a broker.
    pub(crate) fn succeeded(&self) {
        *self.succeeded.lock() = Some(SystemTime::now());
    }

    pub(crate) fn stored(&self, stored: Stored) {
        self.succeeded();
        self.rows.fetch_add(stored.rows, Ordering::Relaxed);
        self.dead_letters.fetch_add(stored.dead_letters, Ordering::Relaxed);
    }

    /// Notes what went wrong.
    pub(crate) fn failed(&self, reason: &str) {
        self.state.lock().1 = Some((reason.to_owned(), SystemTime::now()));
    }

    /// Notes an error of librdkafka. That all brokers are down says little: its reason comes before
    /// or behind it.
    pub(crate) fn kafka_failed(&self, error: &KafkaError, reason: &str) {
        let text = match reason {
            "" => error.to_string(),
            reason => format!("{error}: {reason}"),
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.failed_somehow(&text),
            _ => self.failed(&text),
        }
    }

    /// Notes something that says little, unless something better was noted of late.
    fn failed_somehow(&self, reason: &str) {
        const LATELY: Duration = Duration::from_secs(60);
        let noted = self.state.lock().1.as_ref().map(|(_, at)| *at);
        let is_late = |at: SystemTime| at.elapsed().is_ok_and(|age| age < LATELY);
        if !noted.is_some_and(is_late) {
            self.failed(reason);
        }
    }

    pub(crate) fn restarted(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    fn messages_per_s(&self) -> f64 {
        let (now, messages) = (Instant::now(), self.messages.load(Ordering::Relaxed));
        let mut samples = self.samples.lock();
        samples.push((now, messages));
        let old =
            samples.iter().take_while(|(at, _)| now.duration_since(*at) > RATE_WINDOW).count();
        samples.drain(..old.saturating_sub(1));
        let (first, before) = samples[0];
        let span = now.duration_since(first).as_secs_f64();
        if span > 0.0 { (messages - before) as f64 / span } else { 0.0 }
    }
}

/// How far a partition has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartitionLag {
    /// Its topic.
    pub topic: String,
    /// Its number.
    pub partition: i32,
    /// The first offset that is not stored.
    pub offset: u64,
    /// Records that the broker has and the connector has not.
    pub lag: u64,
}

/// A connector as configured, secrets left out.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// All of it.
    Spec(Box<ConnectorSpec>),
    /// What can be told of one that cannot be read.
    Unreadable {
        /// Its name.
        name: String,
        /// What it calls its kind.
        kind: String,
        /// Its URL.
        url: String,
    },
}

/// A connector and its status, as answers show it.
#[derive(Debug, Clone, Serialize)]
pub struct Described {
    /// As configured.
    #[serde(flatten)]
    pub shown: Shown,
    /// Where it was made: `file` or `http`.
    pub origin: &'static str,
    /// What it does now.
    pub state: State,
    /// Messages taken in or passed on since the start.
    pub messages: u64,
    /// Rows stored, or passed on.
    pub rows: u64,
    /// Messages that became dead letters.
    pub dead_letters: u64,
    /// Messages passed over on purpose: retained ones, tombstones.
    pub skipped: u64,
    /// Bytes of messages.
    pub bytes: u64,
    /// Messages in a second, of late.
    pub messages_per_s: f64,
    /// Messages that wait to be stored or acked.
    pub in_flight: u64,
    /// Records that the broker has and the connector has not; null where that is not known.
    pub lag: Option<u64>,
    /// The same for each partition.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionLag>,
    /// Records that were gone from the broker before they were read.
    pub gaps: u64,
    /// How often it was started again after it had failed.
    pub restarts: u64,
    /// When something was stored, or confirmed by a broker, last; ms since the Unix epoch.
    pub last_success_ms: Option<u64>,
    /// What went wrong last.
    pub last_error: Option<String>,
    /// When, ms since the Unix epoch.
    pub last_error_ms: Option<u64>,
}

impl Described {
    /// As configured, where that can be read.
    pub fn spec(&self) -> Option<&ConnectorSpec> {
        match &self.shown {
            Shown::Spec(spec) => Some(spec),
            Shown::Unreadable { .. } => None,
        }
    }

    pub(crate) fn new(shown: Shown, origin: &'static str, progress: &Progress) -> Described {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (state, error) = progress.state.lock().clone();
        let partitions = progress.partitions.lock().clone().filter(|all| !all.is_empty());
        let succeeded = *progress.succeeded.lock();
        let ms = |at: &SystemTime| at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Described {
            shown,
            origin,
            state,
            messages: load(&progress.messages),
            rows: load(&progress.rows),
            dead_letters: load(&progress.dead_letters),
            skipped: load(&progress.skipped),
            bytes: load(&progress.bytes),
            messages_per_s: progress.messages_per_s(),
            in_flight: load(&progress.in_flight),
            lag: partitions.as_ref().map(|all| all.iter().map(|one| one.lag).sum()),
            partitions: partitions.unwrap_or_default(),
            last_success_ms: succeeded.as_ref().map(|at| ms(at) as u64),
            gaps: load(&progress.gaps),
            restarts: load(&progress.restarts),
            last_error_ms: error.as_ref().map(|(_, at)| ms(at) as u64),
            last_error: error.map(|(reason, _)| reason),
        }
    }
}
