//! Stores what was held back, once there are tables and time ranges for it.

use super::{
    held::{Held, rows_of_users},
    store::Stored,
    write::{BatchWriter, Until, wait_for_room},
};
use oribi_decode::Fault;
use oribi_model::RejectReason;

impl BatchWriter<'_> {
    /// Writes what is held until all of it is stored, as rows or as dead letters, while tables and
    /// ranges are made for it. `None` where the node stops first.
    pub(crate) async fn store_held(&self, mut held: Held) -> Option<Stored> {
        let mut stored = Stored::default();
        let mut rejected = Vec::new();
        loop {
            let rows = rows_of_users(&held.points);
            let receipt = self.write(std::mem::take(&mut held.points), Until::Allowed).await?;
            let put_off = rows_of_users(&receipt.deferred);
            stored.rows += rows.saturating_sub(put_off + receipt.rejected.len() as u64);
            rejected.extend(receipt.rejected);
            if receipt.deferred.is_empty() {
                break;
            }
            held.points = receipt.deferred;
            if !wait_for_room(self.stop).await {
                return None;
            }
        }
        rejected.sort_by_key(|rejection| rejection.origin);
        let refused = held.messages.refused(&rejected);
        stored.dead_letters = refused.len() as u64;
        self.bury_all(&held.messages, &refused).await?;
        Some(stored)
    }

    /// Keeps messages as dead letters for whose rows there is no room to wait. `None` where the
    /// node stops first.
    pub(crate) async fn give_up(&self, held: Held) -> Option<Stored> {
        let detail = "more rows wait for new tables and time ranges than may";
        let fault = Fault::new(RejectReason::Limit, detail);
        let faults = held.messages.all_faults(&fault);
        self.bury_all(&held.messages, &faults).await?;
        Some(Stored { rows: 0, dead_letters: faults.len() as u64 })
    }
}
