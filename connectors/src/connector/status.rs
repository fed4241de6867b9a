//! How a connector is doing.

use crate::pump::Stored;
use parking_lot::Mutex;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime},
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
    /// Another node runs it.
    Elsewhere,
    /// It cannot run as it is configured, and is not tried again.
    Failed,
    /// Its secrets were sealed with a key that is not here: it has to be made anew.
    Sealed,
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
    pub(crate) partitions: Mutex<Option<Vec<PartitionLag>>>,
    /// When something was stored or confirmed last.
    pub(crate) succeeded: Mutex<Option<SystemTime>>,
    pub(crate) restarts: AtomicU64,
    pub(crate) state: Mutex<(State, Option<(String, SystemTime)>)>,
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
    /// or behind it. An error that polling gives has come with its reason before.
    pub(crate) fn kafka_failed(&self, error: &KafkaError, reason: &str) {
        let text = match reason {
            "" => error.to_string(),
            reason => format!("{error}: {reason}"),
        };
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => self.failed_somehow(&text),
            Some(code) if reason.is_empty() && self.says(&code.to_string()) => {}
            _ => self.failed(&text),
        }
    }

    fn says(&self, words: &str) -> bool {
        self.state.lock().1.as_ref().is_some_and(|(noted, _)| noted.contains(words))
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

    pub(crate) fn messages_per_s(&self) -> f64 {
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
