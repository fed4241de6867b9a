//! Background work: flushes, compactions, the tick of the clock, replicas that rest,
//! files of dropped tablets, what the catalog has given to this node.
//!
//! Each is one task that runs until the node stops. A panic in one is reported as a trouble, and
//! the task begins anew.

mod compact;
mod drop;
mod flush;
mod follow;
mod rest;
mod scrub;
mod tick;

pub(super) use crate::tasks::blocking;
pub(super) use flush::{flush, purge};

use super::{Node, soundings};
use crate::tasks::panic_text;
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Pause before a task that broke off begins anew.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// How many times as long as a look at all tablets took nothing is looked at: of ten thousand that sleep a node is to
/// notice little.
const REST_FACTOR: u32 = 2_000;

/// How long looks at all tablets took, without what was done or waited for between them.
#[derive(Debug, Default)]
pub(super) struct Looks {
    took: Duration,
}

impl Looks {
    /// Takes one.
    pub(super) fn look<T>(&mut self, look: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let seen = look();
        self.took += began.elapsed();
        seen
    }

    /// The pause after them: `least`, and up to so many times as much after those that took long.
    fn pause(&self, (least, times_max): (Duration, u32)) -> Duration {
        (self.took * REST_FACTOR).clamp(least, least * times_max)
    }
}

/// Starts the background tasks of a node on the present runtime.
pub(super) fn start(node: &Arc<Node>) {
    let tasks = [
        tokio::spawn(supervise(node.clone(), "flusher", flush::run)),
        tokio::spawn(supervise(node.clone(), "compactor", compact::run)),
        tokio::spawn(supervise(node.clone(), "ticker", tick::run)),
        tokio::spawn(supervise(node.clone(), "remover", drop::run)),
        tokio::spawn(supervise(node.clone(), "rester", rest::run)),
        tokio::spawn(supervise(node.clone(), "follower", follow::run)),
        tokio::spawn(supervise(node.clone(), "sounder", soundings::run)),
        tokio::spawn(supervise(node.clone(), "scrubber", scrub::run)),
    ];
    node.tasks.lock().extend(tasks);
}

/// Runs a task until it ends by itself, however often it panics.
async fn supervise<W, F>(node: Arc<Node>, name: &'static str, work: W)
where
    W: Fn(Arc<Node>) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    loop {
        let Err(error) = tokio::spawn(work(node.clone())).await else { return };
        if !error.is_panic() || node.is_stopping() {
            return;
        }
        let message =
            format!("it broke off and was begun anew: {}", panic_text(error.into_panic()));
        node.troubles.set(&format!("background work, {name}"), message);
        if !node.until(&tokio::sync::Notify::new(), RESTART_PAUSE).await {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_take_long_come_seldom_and_never_stop() {
        let second = Duration::from_secs(1);
        let after = |took_us| Looks { took: Duration::from_micros(took_us) }.pause((second, 5));
        assert_eq!(after(0), second);
        assert_eq!(after(1_000), 2 * second);
        assert_eq!(after(1_000_000), 5 * second);
    }
}
