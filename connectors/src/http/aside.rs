//! Decoding of large bodies aside from the threads that serve everybody.

use std::sync::Arc;
use tokio::sync::Semaphore;

/// A body of this size is decoded aside; a smaller one takes less time than going there.
const ASIDE_BYTES_MIN: usize = 64 << 10;

/// Threads on which large bodies are decoded, as many at once as there are cores.
#[derive(Debug, Clone)]
pub(super) struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Aside {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Aside(Arc::new(Semaphore::new(cores)))
    }

    /// What `decode` makes of a body of so many bytes.
    ///
    /// # Panics
    /// Where `decode` does.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        body_bytes: usize,
        decode: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if body_bytes < ASIDE_BYTES_MIN {
            return decode();
        }
        let turn = self.0.acquire().await;
        let decoded = tokio::task::spawn_blocking(decode).await;
        drop(turn);
        decoded.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_bodies_are_decoded_on_other_threads_and_small_ones_here() {
        let (aside, here) = (Aside::new(), std::thread::current().id());
        let thread = || std::thread::current().id();
        assert_eq!(aside.run(ASIDE_BYTES_MIN - 1, thread).await, here);
        assert_ne!(aside.run(ASIDE_BYTES_MIN, thread).await, here);
    }
}
