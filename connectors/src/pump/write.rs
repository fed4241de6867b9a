//! Writes points until they are stored.

use oribi_ingest::{Ingest, Receipt};
use oribi_model::{Points, RejectReason, Rejection};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// How long to wait before another try, after the pauses before.
fn pause_after(pause: Option<Duration>) -> Duration {
    pause.map_or(PAUSE_MIN, |pause| (pause * 2).min(PAUSE_MAX))
}

/// Writes until every row is stored or refused; `source` says for the log whose rows they are.
/// `None` when `stop` comes first: it is unknown then what was stored.
pub(super) async fn write_points(
    ingest: &dyn Ingest,
    points: Vec<Points>,
    source: &str,
    stop: &CancellationToken,
) -> Option<Receipt> {
    if points.iter().all(|points| points.rows() == 0) {
        return Some(Receipt::default());
    }
    let mut pause = None;
    loop {
        match ingest.write(points.clone()).await {
            Ok(receipt) => return Some(receipt),
            Err(wrong) if !wrong.is_retryable() => return Some(refuse_all(&points, &wrong)),
            Err(wrong) => {
                tracing::warn!(%wrong, source, "a batch of messages waits for the write path");
            }
        }
        if stop.is_cancelled() {
            return None;
        }
        let next = pause_after(pause);
        tokio::time::sleep(next).await;
        pause = Some(next);
    }
}

fn refuse_all(points: &[Points], wrong: &oribi_ingest::Error) -> Receipt {
    let origins = points.iter().flat_map(|points| points.origins.iter());
    let rejected = origins.map(|origin| Rejection {
        origin: *origin,
        reason: RejectReason::Name,
        detail: wrong.to_string(),
    });
    let mut rejected: Vec<Rejection> = rejected.collect();
    rejected.sort_by_key(|rejection| rejection.origin);
    Receipt { rows: 0, rejected }
}
