//! How much memory the process holds, of how much it may.

use super::{allocated_bytes, page::Page};
use oribi_model::Pressure;
use oribi_query::QueryEngine;
use prometheus_client::encoding::EncodeLabelSet;
use std::{fmt, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartLabels {
    key: String,
}

/// The bound and its parts, and who is told how near it is.
#[derive(Clone)]
pub(crate) struct Memory {
    /// The bound of the process, bytes.
    pub(crate) bytes_max: u64,
    /// Its parts, each with its key, bytes.
    pub(crate) parts: Vec<(String, u64)>,
    /// Told, and told by writes that wait.
    pub(crate) pressure: Pressure,
}

impl Memory {
    /// Looks again and again, until `stop`.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        let mut was_full = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return,
            }
            let Some(held_bytes) = allocated_bytes() else { return };
            self.pressure.look(held_bytes, self.bytes_max);
            let is_full = self.pressure.is_full();
            if is_full && !was_full {
                let bytes_max = self.bytes_max;
                tracing::warn!(held_bytes, bytes_max, "writes wait: memory_bytes_max is reached");
            }
            was_full = is_full;
        }
    }

    pub(super) fn encode(&self, engine: &QueryEngine, page: &mut Page<'_>) -> fmt::Result {
        page.gauge("oribi_memory_max_bytes", "Memory that the process may hold", self.bytes_max)?;
        let held = allocated_bytes().unwrap_or(0);
        page.gauge("oribi_memory_bytes", "Memory held that is not of a file", held)?;
        let parts = self.parts.iter().map(|(key, bytes)| (PartLabels { key: key.clone() }, *bytes));
        page.gauges("oribi_memory_part_max_bytes", "Parts of it, by the key of each", parts)?;
        let held = engine.held_bytes() as u64;
        page.gauge("oribi_query_held_bytes", "Memory that questions account for", held)?;
        let waiting = self.pressure.waiting_writes() as u64;
        page.gauge("oribi_waiting_writes", "Writes that wait for room", waiting)?;
        let is_high = u64::from(self.pressure.is_high());
        page.gauge("oribi_overloaded", "1 while questions give way to writes", is_high)
    }
}
