//! What the devices count: rows sent and acked, and how long acks took.

use parking_lot::Mutex;
use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

const LATENCIES_MAX: usize = 8_192;
/// Latencies tell of so long.
const LATENCY_SPAN: Duration = Duration::from_secs(10);

/// Counts of all devices; they only grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: AtomicU64,
    acked: AtomicU64,
    refused: AtomicU64,
    live: AtomicUsize,
    publishing: AtomicUsize,
    latencies: Mutex<VecDeque<(Instant, Duration)>>,
    pauses: Mutex<Pauses>,
    changed: Notify,
}

/// How long no device had an ack.
#[derive(Debug, Default)]
struct Pauses {
    last: Option<Instant>,
    longest: Duration,
}

impl Pauses {
    fn note(&mut self, now: Instant) {
        let last = self.last.replace(now).unwrap_or(now);
        self.longest = self.longest.max(now.duration_since(last));
    }
}

/// Counts as of one moment, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    /// Given to the connection.
    pub(super) sent: u64,
    /// Of which the PUBACK came.
    pub(super) acked: u64,
    /// Of which the PUBACK said no.
    pub(super) refused: u64,
}

/// Ack latencies of the last seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Latency {
    /// Median.
    pub(super) p50: Duration,
    /// 99th percentile.
    pub(super) p99: Duration,
}

impl Tally {
    /// One more device publishes.
    pub(super) fn begins(&self) {
        self.publishing.fetch_add(1, Ordering::Relaxed);
    }

    /// One device publishes nothing more.
    pub(super) fn ends(&self) {
        self.publishing.fetch_sub(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Rows go out.
    pub(super) fn sent(&self, rows: u64) {
        self.sent.fetch_add(rows, Ordering::Relaxed);
    }

    /// Rows are safe, `took` after they went out.
    pub(super) fn acked(&self, rows: u64, took: Duration) {
        self.acked.fetch_add(rows, Ordering::Relaxed);
        let now = Instant::now();
        self.pauses.lock().note(now);
        let mut latencies = self.latencies.lock();
        if latencies.len() == LATENCIES_MAX {
            latencies.pop_front();
        }
        latencies.push_back((now, took));
        drop(latencies);
        self.changed.notify_waiters();
    }

    /// Rows were refused.
    pub(super) fn refused(&self, rows: u64) {
        self.refused.fetch_add(rows, Ordering::Relaxed);
        self.changed.notify_waiters();
    }

    /// One more device has sent its history.
    pub(super) fn is_live(&self) {
        self.live.fetch_add(1, Ordering::Relaxed);
    }

    /// Devices that have sent their history.
    pub(super) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    /// The counts now.
    pub(super) fn counts(&self) -> Counts {
        let now = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts { sent: now(&self.sent), acked: now(&self.acked), refused: now(&self.refused) }
    }

    /// The longest time between one ack and the next of any device.
    pub(super) fn longest_pause(&self) -> Duration {
        self.pauses.lock().longest
    }

    /// Ack latencies of the last seconds; `None` without acks.
    pub(super) fn latency(&self) -> Option<Latency> {
        let now = Instant::now();
        let mut recent: Vec<Duration> = {
            let mut latencies = self.latencies.lock();
            while latencies.front().is_some_and(|(at, _)| now.duration_since(*at) > LATENCY_SPAN) {
                latencies.pop_front();
            }
            latencies.iter().map(|(_, took)| *took).collect()
        };
        recent.sort_unstable();
        let last = recent.len().checked_sub(1)?;
        Some(Latency { p50: recent[last / 2], p99: recent[last * 99 / 100] })
    }

    /// Waits until no device publishes any more and every row that was sent is answered.
    pub(super) async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let has_ended = self.publishing.load(Ordering::Acquire) == 0;
            let counts = self.counts();
            if has_ended && counts.acked + counts.refused >= counts.sent {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_settled_once_every_row_is_answered() {
        let tally = std::sync::Arc::new(Tally::default());
        tally.begins();
        tally.sent(2);
        tally.acked(2, Duration::from_millis(1));
        let mut waiting = tokio::spawn({
            let tally = tally.clone();
            async move { tally.settled().await }
        });
        let early = tokio::time::timeout(Duration::from_millis(20), &mut waiting).await;
        assert!(early.is_err(), "the device may send more");
        tally.sent(1);
        tally.ends();
        tally.refused(1);
        waiting.await.unwrap();
        assert_eq!(tally.counts(), Counts { sent: 3, acked: 2, refused: 1 });
    }

    #[test]
    fn the_longest_pause_lies_between_two_acks() {
        let (mut pauses, start) = (Pauses::default(), Instant::now());
        for ms in [5, 9, 29, 30] {
            pauses.note(start + Duration::from_millis(ms));
        }
        assert_eq!(pauses.longest, Duration::from_millis(20));
    }

    #[test]
    fn latencies_are_ranked_and_bounded() {
        let tally = Tally::default();
        assert_eq!(tally.latency(), None);
        for ms in (1..=100).rev() {
            tally.acked(1, Duration::from_millis(ms));
        }
        let latency = tally.latency().unwrap();
        assert_eq!(latency.p50, Duration::from_millis(50));
        assert_eq!(latency.p99, Duration::from_millis(99));
        for _ in 0..2 * LATENCIES_MAX {
            tally.acked(1, Duration::ZERO);
        }
        assert_eq!(tally.latencies.lock().len(), LATENCIES_MAX);
    }
}
