//! The times that this node gives to rows without one, kept from run to run: its clock may go back
//! while it is down, and a time that is given twice makes one row of two.

use super::{Node, maintain::blocking};
use crate::Result;
use oribi_model::ArrivalClock;
use oribi_store::small_file::{self, Kind};
use std::sync::{
    OnceLock,
    atomic::{AtomicI64, Ordering},
};

const NAME: &str = "ARRIVAL";
const KIND: Kind = Kind { magic: *b"ORIBIARR", version: 1 };
/// Times that may have been given after the last one that was noted, ns.
const SINCE_NOTED_NS: i64 = 2_000_000_000;

/// Who gives the times, and up to which they are noted down.
#[derive(Default)]
pub(super) struct Arrivals {
    clock: OnceLock<ArrivalClock>,
    noted_ns: AtomicI64,
}

impl Node {
    /// Has `arrival` give no time that an earlier run has given, and notes down from now on up to
    /// where it has come, about once a second. Said once. Blocks for a short file.
    pub fn keep_arrivals(&self, arrival: &ArrivalClock) {
        match self.noted_arrival() {
            // The clock has gone back, or it would be later by now.
            Ok(Some(noted_ns)) if noted_ns > arrival.now_ns() => {
                tracing::warn!("the clock is behind the times that were given before");
                arrival.begin_after(noted_ns.saturating_add(SINCE_NOTED_NS));
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot read which times were given before"),
        }
        if self.arrivals.clock.set(arrival.clone()).is_err() {
            tracing::error!("the times that are given are kept already");
        }
    }

    fn noted_arrival(&self) -> Result<Option<i64>> {
        let (disk, path) = (&*self.hosting.disk, self.hosting.dir.path());
        let body = small_file::read(disk, path, NAME, KIND)?;
        Ok(body.and_then(|body| serde_json::from_slice(&body).ok()))
    }

    /// Notes down up to where the times have come, if they have.
    pub(super) async fn note_arrivals(&self) {
        let last_ns = self.arrivals.clock.get().and_then(ArrivalClock::last_ns);
        let Some(last_ns) = last_ns else { return };
        if self.arrivals.noted_ns.swap(last_ns, Ordering::Relaxed) == last_ns {
            return;
        }
        let (disk, path) = (self.hosting.disk.clone(), self.hosting.dir.path().to_owned());
        let body = last_ns.to_string().into_bytes();
        let noting = move || Ok(small_file::replace(&*disk, &path, NAME, KIND, &body)?);
        if let Err(error) = blocking(noting).await {
            // The next look tries again.
            self.arrivals.noted_ns.store(0, Ordering::Relaxed);
            tracing::warn!(%error, "cannot note down which times were given");
        }
    }
}
