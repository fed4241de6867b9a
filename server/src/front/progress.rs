//! How a connection is getting on, and when it has to go.

use super::Bounds;
use futures::task::AtomicWaker;
use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    task::Waker,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// What is known of one connection. Times are ms since `opened`, plus one; 0 is "not now".
#[derive(Debug)]
pub(super) struct Progress {
    opened: Instant,
    /// When a head began to arrive that is not complete.
    head_since: AtomicU64,
    /// When the last request ended.
    idle_since: AtomicU64,
    /// When the client stopped taking bytes of an answer.
    stuck_since: AtomicU64,
    requests: AtomicUsize,
    /// The request is answered even if the client closes its side.
    anyway: AtomicBool,
    /// The client has closed its side meanwhile.
    met_end: AtomicBool,
    /// Who is told of that when the request has ended.
    reader: AtomicWaker,
    /// HTTP/2, where bytes without a request are no head but pings and the like.
    multiplexed: AtomicBool,
    close: CancellationToken,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// Headers did not come in time.
    Head,
    /// Nothing was asked for long.
    Idle,
    /// The answer is not read.
    Stuck,
}

impl Progress {
    /// A connection just accepted, which owes its first head.
    pub(super) fn new() -> Progress {
        Progress {
            opened: Instant::now(),
            head_since: AtomicU64::new(1),
            idle_since: AtomicU64::new(1),
            stuck_since: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            anyway: AtomicBool::new(false),
            met_end: AtomicBool::new(false),
            reader: AtomicWaker::new(),
            multiplexed: AtomicBool::new(false),
            close: CancellationToken::new(),
        }
    }

    /// Bytes came from the client.
    pub(super) fn has_read(&self) {
        let between = self.requests.load(Ordering::Relaxed) == 0;
        if between && !self.multiplexed.load(Ordering::Relaxed) {
            let now = self.now_ms();
            let _ = self.head_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// The client took bytes.
    pub(super) fn has_written(&self) {
        self.stuck_since.store(0, Ordering::Relaxed);
    }

    /// The client took no bytes now.
    pub(super) fn cannot_write(&self) {
        let now = self.now_ms();
        let _ = self.stuck_since.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
    }

    /// The connection speaks HTTP/2.
    pub(super) fn is_multiplexed(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
    }

    /// A request's head is complete.
    pub(super) fn request_begins(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
    }

    /// The request that began is answered even if the client closes its side.
    pub(super) fn answers_anyway(&self) {
        self.anyway.store(true, Ordering::Relaxed);
    }

    /// The client sends no more. Whether this is kept from the request in progress, after which
    /// `reader` is woken.
    pub(super) fn meets_end(&self, reader: &Waker) -> bool {
        let multiplexed = self.multiplexed.load(Ordering::Relaxed);
        let kept = self.anyway.load(Ordering::Relaxed) && !multiplexed;
        self.met_end.store(kept, Ordering::Relaxed);
        if kept {
            self.reader.register(reader);
        }
        kept
    }

    /// Whether the client has closed its side while its request was in progress.
    pub(super) fn has_met_end(&self) -> bool {
        self.met_end.load(Ordering::Relaxed)
    }

    /// A request is answered, or given up.
    pub(super) fn request_ends(&self) {
        self.anyway.store(false, Ordering::Relaxed);
        self.idle_since.store(self.now_ms(), Ordering::Relaxed);
        self.requests.fetch_sub(1, Ordering::Relaxed);
        self.reader.wake();
    }

    /// Asks the connection's task to end.
    pub(super) fn close(&self) {
        self.close.cancel();
    }

    /// Resolves once [`Progress::close`] was called.
    pub(super) async fn closed(&self) {
        self.close.cancelled().await;
    }

    /// Why the connection has to go now; `None` also where it was told so before.
    pub(super) fn overdue(&self, bounds: &Bounds) -> Option<Overdue> {
        if self.close.is_cancelled() {
            return None;
        }
        let now = self.now_ms();
        let longer = |since: &AtomicU64, ms_max: u64| {
            let since = since.load(Ordering::Relaxed);
            since != 0 && now.saturating_sub(since) > ms_max
        };
        if longer(&self.stuck_since, bounds.write_ms_max) {
            return Some(Overdue::Stuck);
        }
        if self.requests.load(Ordering::Relaxed) > 0 {
            return None;
        }
        if longer(&self.head_since, bounds.header_ms_max) {
            return Some(Overdue::Head);
        }
        longer(&self.idle_since, bounds.keep_alive_ms_max).then_some(Overdue::Idle)
    }

    /// How long nothing was asked, ms; `None` while a request is in progress or the connection is
    /// closing.
    pub(super) fn idle_ms(&self) -> Option<u64> {
        if self.requests.load(Ordering::Relaxed) > 0 || self.close.is_cancelled() {
            return None;
        }
        Some(self.now_ms().saturating_sub(self.idle_since.load(Ordering::Relaxed)))
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.opened.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::HttpOptions;

    /// Every bound is over at once.
    fn bounds() -> Bounds {
        let bounds = Bounds::of(&HttpOptions::default());
        Bounds { header_ms_max: 0, keep_alive_ms_max: 0, write_ms_max: 0, ..bounds }
    }

    fn later(progress: &Progress) {
        let now = progress.now_ms();
        while progress.now_ms() == now {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn a_head_is_owed_until_it_is_complete() {
        let progress = Progress::new();
        later(&progress);
        assert_eq!(progress.overdue(&bounds()), Some(Overdue::Head));
        progress.request_begins();
        assert_eq!((progress.overdue(&bounds()), progress.idle_ms()), (None, None));
        progress.request_ends();
        later(&progress);
        assert_eq!(progress.overdue(&bounds()), Some(Overdue::Idle));
        progress.has_read();
        later(&progress);
        assert_eq!(progress.overdue(&bounds()), Some(Overdue::Head));
    }

    #[test]
    fn pings_are_no_head_and_an_answer_must_be_read() {
        let progress = Progress::new();
        progress.is_multiplexed();
        progress.request_begins();
        progress.cannot_write();
        later(&progress);
        assert_eq!(progress.overdue(&bounds()), Some(Overdue::Stuck));
        progress.has_written();
        assert_eq!(progress.overdue(&bounds()), None);
        progress.request_ends();
        progress.has_read();
        later(&progress);
        assert_eq!(progress.overdue(&bounds()), Some(Overdue::Idle));
    }
}
