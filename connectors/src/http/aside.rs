//! Decoding of large bodies aside from the threads that serve everybody.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A body of this size is decoded aside; a smaller one takes less time than going there.
const ASIDE_BYTES_MIN: usize = 64 << 10;
/// While rows of a body of this size are written, no other is decoded in its place: what they hold is many
/// times what waits for a sync.
const HELD_BYTES_MIN: usize = 1 << 20;

/// Large bodies that are decoded or written at once, for each core: enough that decoding goes on while
/// others wait for a sync, and few, so that what has been decoded does not wait to be refused.
const TURNS_OF_CORE: usize = 4;

/// Turns of large bodies. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Aside {
    /// To be decoded, and to be written then.
    turns: Arc<Semaphore>,
    /// To be decoded now, as many as there are cores.
    decoding: Arc<Semaphore>,
}

impl Aside {
    pub(super) fn new() -> Aside {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let turns = Arc::new(Semaphore::new(TURNS_OF_CORE * cores));
        Aside { turns, decoding: Arc::new(Semaphore::new(cores)) }
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
            return (decode(), Turn([None, None]));
        }
        let turn = self.turns.clone().acquire_owned().await.ok();
        let decoding = self.decoding.clone().acquire_owned().await.ok();
        let decoded = tokio::task::spawn_blocking(decode).await;
        let decoded = decoded.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()));
        (decoded, Turn([turn, decoding.filter(|_| body_bytes >= HELD_BYTES_MIN)]))
    }
}

/// Lets the next large body be decoded once it is dropped.
#[derive(Debug)]
#[must_use = "the next body is decoded once this is dropped"]
pub(super) struct Turn(
    #[expect(dead_code, reason = "it is held, not read")] [Option<OwnedSemaphorePermit>; 2],
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
        let left = || (aside.turns.available_permits(), aside.decoding.available_permits());
        let (turns, cores) = left();
        let (_, short) = aside.run(HELD_BYTES_MIN - 1, || ()).await;
        assert_eq!(left(), (turns - 1, cores));
        let (_, long) = aside.run(HELD_BYTES_MIN, || ()).await;
        assert_eq!(left(), (turns - 2, cores - 1));
        drop((short, long));
        assert_eq!(left(), (turns, cores));
    }

    #[tokio::test]
    async fn a_body_is_not_decoded_before_there_is_a_turn_to_write_it() {
        let aside = Aside::new();
        let turns = aside.turns.available_permits();
        let written =
            futures::future::join_all((0..turns).map(|_| aside.run(ASIDE_BYTES_MIN, || ())));
        let mut written = written.await;
        let mut next = std::pin::pin!(aside.run(ASIDE_BYTES_MIN, || "decoded"));
        assert!(futures::poll!(&mut next).is_pending());
        assert_eq!(aside.decoding.available_permits() * TURNS_OF_CORE, turns);
        written.pop();
        assert_eq!(next.await.0, "decoded");
    }
}
