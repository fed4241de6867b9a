//! What lies on the disk is read through now and then, slowly, so that damage is found while other
//! replicas can mend it.

use super::blocking;
use crate::node::{Node, hosting::Hosted};
use oribi_model::TabletId;
use std::{sync::Arc, thread, time::Duration};
use tokio::{sync::Notify, time::Instant};

/// Between two looks whether a round is due.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest sleep of a thread that reads, so that it sees that the node stops.
const SLEEP_MAX: Duration = Duration::from_millis(200);

pub(super) async fn run(node: Arc<Node>) {
    let never = Notify::new();
    let pause = Duration::from_secs(node.options.scrub_pause_s);
    // A node that starts has other things to do.
    let mut last = Instant::now();
    while node.until(&never, PAUSE).await {
        if node.options.scrub_bytes_per_s_max == 0 || last.elapsed() < pause {
            continue;
        }
        let mut tablets: Vec<TabletId> = node.hosting.all().iter().map(|one| one.id()).collect();
        tablets.sort_unstable();
        for tablet in tablets {
            if node.is_stopping() {
                return;
            }
            if let Some(hosted) = node.hosting.get(tablet) {
                scrub(&node, hosted).await;
            }
        }
        last = Instant::now();
    }
}

async fn scrub(node: &Arc<Node>, hosted: Arc<Hosted>) {
    let (tablet, reader) = (hosted.id().0, node.clone());
    let mut pace = Pace::begin(node.options.scrub_bytes_per_s_max);
    let read = blocking(move || {
        Ok(hosted.tablet.scrub(|bytes| pace.wait(bytes) && !reader.is_stopping())?)
    });
    match read.await {
        Ok(()) | Err(crate::Error::Store(oribi_store::Error::Dropped(_))) => {}
        Err(error) => tracing::error!(tablet, %error, "a tablet was read through"),
    }
}

/// Bytes over time.
struct Pace {
    began: Instant,
    read: u64,
    bytes_per_s_max: u64,
}

impl Pace {
    fn begin(bytes_per_s_max: u64) -> Pace {
        Pace { began: Instant::now(), read: 0, bytes_per_s_max }
    }

    /// Notes that so many bytes were read, and waits where that was too quick. Always goes on.
    fn wait(&mut self, bytes: usize) -> bool {
        self.read += bytes as u64;
        let ahead = self.due().saturating_sub(self.began.elapsed());
        if !ahead.is_zero() {
            thread::sleep(ahead.min(SLEEP_MAX));
        }
        true
    }

    /// When as much as was read may have been read, since the beginning.
    fn due(&self) -> Duration {
        let nanos = u128::from(self.read) * 1_000_000_000 / u128::from(self.bytes_per_s_max.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_bytes_take_so_long() {
        let mut pace = Pace::begin(1_000);
        assert_eq!(pace.due(), Duration::ZERO);
        pace.read = 2_500;
        assert_eq!(pace.due(), Duration::from_millis(2_500));
    }
}
