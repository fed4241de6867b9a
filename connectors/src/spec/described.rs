//! A connector and how it is doing, as answers show it.

use super::ConnectorSpec;
use crate::connector::{PartitionLag, Progress, State};
use serde::Serialize;
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

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
