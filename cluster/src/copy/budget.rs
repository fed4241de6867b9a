//! What copies may take of a node: how many at once, and how many bytes a second.

use crate::tasks;
use parking_lot::Mutex;
use std::time::Duration;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::Instant,
};

/// Bounds of the copies that a node makes of other nodes' replicas, and of what it keeps for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOptions {
    /// Copies under way at once.
    pub copies_max: usize,
    /// Bytes a second of all copies together.
    pub bytes_per_s_max: u64,
    /// Bytes of entries of one group that the log keeps, although they are flushed, for members
    /// that lack them.
    pub kept_bytes_max: u64,
}

impl Default for CopyOptions {
    fn default() -> CopyOptions {
        CopyOptions { copies_max: 2, bytes_per_s_max: 64 << 20, kept_bytes_max: 16 << 20 }
    }
}

/// The copies that a node makes.
#[derive(Debug)]
pub(crate) struct Copies {
    options: CopyOptions,
    slots: Semaphore,
    /// When the next byte may come.
    next: Mutex<Option<Instant>>,
}

impl Default for Copies {
    fn default() -> Copies {
        Copies::new(CopyOptions::default())
    }
}

impl Copies {
    pub(crate) fn new(options: CopyOptions) -> Copies {
        let slots = Semaphore::new(options.copies_max);
        Copies { options, slots, next: Mutex::default() }
    }

    pub(crate) fn options(&self) -> &CopyOptions {
        &self.options
    }

    /// A place for one more copy; `None` where there are enough.
    pub(crate) fn begin(&self) -> Option<SemaphorePermit<'_>> {
        self.slots.try_acquire().ok()
    }

    /// Waits until so many more bytes may be asked for.
    pub(crate) async fn pace(&self, bytes: u64) {
        tasks::sleep_until(self.due(tasks::now(), bytes)).await;
    }

    /// When so many more bytes may be asked for, and notes that they are.
    fn due(&self, now: Instant, bytes: u64) -> Instant {
        let nanos = bytes.saturating_mul(1_000_000_000) / self.options.bytes_per_s_max.max(1);
        let mut next = self.next.lock();
        let at = next.map_or(now, |next| next.max(now));
        *next = Some(at + Duration::from_nanos(nanos));
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_no_faster_than_they_may() {
        let options =
            CopyOptions { copies_max: 2, bytes_per_s_max: 1_000, ..CopyOptions::default() };
        let copies = Copies::new(options);
        let now = Instant::now();
        for half_s in 0..5 {
            let due = copies.due(now, 500).duration_since(now);
            assert_eq!(due, Duration::from_millis(500 * half_s));
        }
        let later = now + Duration::from_secs(9);
        assert_eq!(copies.due(later, 500), later);
        let (one, other) = (copies.begin(), copies.begin());
        assert!(one.is_some() && other.is_some() && copies.begin().is_none());
        drop(one);
        assert!(copies.begin().is_some());
    }
}
