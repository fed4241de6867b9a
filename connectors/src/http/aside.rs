//! Decoding of large bodies aside from the threads that serve everybody.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body of this size is decoded aside; a smaller one takes less time than going there.
const ASIDE_BYTES_MIN: usize = 64 << 10;
/// Rows of a body of this size keep their turn until they are written: what they hold is many
/// times what waits for a sync.
const HELD_BYTES_MIN: usize = 1 << 20;

/// Turns to decode large bodies, as many as there are cores.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Aside {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Aside(Arc::new(Semaphore::new(cores)))
    }

    /// What `decode` makes of a body of so many bytes, with the turn to keep until that is written.
    ///
    /// # Panics
    /// Where `decode` does.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        body_bytes: usize,
        decode: impl FnOnce() -> T + Send + 'static,
    ) -> (T, Turn) {
        if body_bytes < ASIDE_BYTES_MIN {
            return (decode(), Turn(None));
        }
        let turn = self.0.clone().acquire_owned().await.ok();
        let decoded = tokio::task::spawn_blocking(decode).await;
        let decoded = decoded.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        (decoded, Turn(turn.filter(|_| body_bytes >= HELD_BYTES_MIN)))
    }
}

/// Lets the next large body be decoded once it is dropped.
#[derive(Debug)]
#[must_use = "the next body is decoded once this is dropped"]
pub(super) struct Turn(
    #[expect(dead_code, reason = "it is held, not read")] Option<OwnedSemaphorePermit>,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_are_decoded_on_other_threads_and_small_ones_here() {
        let (aside, here) = (Aside::new(), std::thread::current().id());
        let thread = || std::thread::current().id();
        assert_eq!(aside.run(ASIDE_BYTES_MIN - 1, thread).await.0, here);
        assert_ne!(aside.run(ASIDE_BYTES_MIN, thread).await.0, here);
    }

    #[tokio::test]
    async fn as_many_large_bodies_as_cores_are_held_until_they_are_written() {
        let aside = Aside::new();
        let turns = aside.0.available_permits();
        let (_, short) = aside.run(HELD_BYTES_MIN - 1, || ()).await;
        assert_eq!(aside.0.available_permits(), turns);
        let (_, long) = aside.run(HELD_BYTES_MIN, || ()).await;
        assert_eq!(aside.0.available_permits(), turns - 1);
        drop((short, long));
        assert_eq!(aside.0.available_permits(), turns);
    }
}
