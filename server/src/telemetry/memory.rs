//! How much memory the process holds, of how much it may.

use super::{allocated_bytes, page::Page, process::give_back_freed};
use oribi_cluster::Node;
use oribi_model::Pressure;
use oribi_query::QueryEngine;
use prometheus_client::encoding::EncodeLabelSet;
use std::{fmt, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Between two looks, and while less than [`AT_EASE_PART`] of the bound is held.
const LOOK: Duration = Duration::from_millis(50);
const LOOK_AT_EASE: Duration = Duration::from_millis(200);
/// Three quarters more are not filled in that time.
const AT_EASE_PART: u64 = 4;
/// Looks in a row at which none is left, from which on memtables give some up.
const LOOKS_FULL: u32 = 10;
/// From this part of the bound on memory that was freed is given back before it is counted: where there is
/// plenty, it is quicker to keep it for what comes next.
const KEPT_PART: u64 = 2;

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
    /// Looks again and again, until `stop`, and has `node` give up memory where none is left.
    pub(crate) async fn watch(self, node: Arc<Node>, stop: CancellationToken) {
        let (mut was_full, mut looks_full, mut pause) = (false, 0, LOOK);
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            let Some(held_bytes) = self.held_bytes().await else { return };
            let is_at_ease = held_bytes < self.bytes_max / AT_EASE_PART;
            pause = if is_at_ease { LOOK_AT_EASE } else { LOOK };
            self.pressure.look(held_bytes, self.bytes_max);
            let is_full = self.pressure.is_full();
            looks_full = if is_full { looks_full + 1 } else { 0 };
            node.memory_is_short(looks_full >= LOOKS_FULL);
            if is_full && !was_full {
                let bytes_max = self.bytes_max;
                tracing::warn!(held_bytes, bytes_max, "writes wait: memory_bytes_max is reached");
            }
            was_full = is_full;
        }
    }

    /// What is held, without what was freed where that is needed.
    async fn held_bytes(&self) -> Option<u64> {
        let held_bytes = allocated_bytes()?;
        if held_bytes < self.bytes_max / KEPT_PART {
            return Some(held_bytes);
        }
        tokio::task::spawn_blocking(give_back_freed).await.ok()?;
        allocated_bytes()
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
