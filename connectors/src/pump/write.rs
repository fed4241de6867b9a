//! Writes points until they are stored.

use oribi_ingest::{Ingest, Receipt};
use oribi_model::{ArrivalClock, Points, RejectReason, Rejection};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Between two looks whether there is room for rows that were put off.
const DEFERRED_PAUSE: Duration = Duration::from_millis(250);

/// Pauses between tries that fail, each longer than the one before.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Duration>);

impl Pause {
    /// Waits; `false` when `stop` comes first.
    pub(super) async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let next = self.0.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX));
        self.0 = Some(next);
        sleep(next, stop).await
    }
}

/// Waits as long as rows that were put off should; `false` when `stop` comes first.
pub(super) async fn wait_for_room(stop: &CancellationToken) -> bool {
    sleep(DEFERRED_PAUSE, stop).await
}

async fn sleep(pause: Duration, stop: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = stop.cancelled() => false,
    }
}

/// Which rows a write waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Those that have a table and a time range.
    Present,
    /// All for which tables and ranges may be made now.
    Allowed,
    /// All.
    All,
}

/// Writes the batches of a source.
pub(crate) struct BatchWriter<'a> {
    /// How dead letters and the log call it.
    pub(crate) label: &'a str,
    /// The source as the tablets' marks know it, if it can be read again.
    pub(crate) source: Option<&'a Arc<str>>,
    pub(crate) ingest: &'a dyn Ingest,
    pub(crate) arrival: &'a ArrivalClock,
    pub(crate) stop: &'a CancellationToken,
}

impl BatchWriter<'_> {
    /// Writes until the rows in question are stored or refused. `None` when the writer's `stop` comes
    /// first: it is unknown then what was stored.
    pub(super) async fn write(&self, mut points: Vec<Points>, until: Until) -> Option<Receipt> {
        let BatchWriter { label, ingest, stop, .. } = *self;
        let mut done = Receipt::default();
        if points.iter().all(|points| points.rows() == 0) {
            return Some(done);
        }
        let mut pause = Pause::default();
        loop {
            let written = match until {
                Until::Present => ingest.write_present(points.clone()).await,
                Until::Allowed | Until::All => ingest.write(points.clone()).await,
            };
            match written {
                Ok(receipt) => done.add(receipt),
                Err(wrong) if !wrong.is_retryable() => {
                    tracing::debug!(%wrong, source = label, "a batch of messages was refused, and goes aside");
                    done.add(refuse_all(&points, &wrong));
                    return Some(done);
                }
                Err(wrong) => {
                    tracing::warn!(%wrong, source = label, "a batch of messages waits for the write path");
                    if stop.is_cancelled() || !pause.wait(stop).await {
                        return None;
                    }
                    continue;
                }
            }
            if until != Until::All || done.deferred.is_empty() {
                return Some(done);
            }
            points = std::mem::take(&mut done.deferred);
            if !wait_for_room(stop).await {
                return None;
            }
        }
    }
}

fn refuse_all(points: &[Points], wrong: &oribi_ingest::Error) -> Receipt {
    let origins = points.iter().flat_map(|points| points.origins.iter());
    let detail: Arc<str> = wrong.to_string().into();
    let rejected = origins.map(|origin| Rejection {
        origin: *origin,
        reason: RejectReason::Name,
        detail: detail.clone(),
    });
    let mut rejected: Vec<Rejection> = rejected.collect();
    rejected.sort_by_key(|rejection| rejection.origin);
    Receipt { rejected, ..Receipt::default() }
}
