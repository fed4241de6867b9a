//! Stores a batch: its rows, and its dead letters.

use super::{
    batch::Batch,
    held::{self, Held, rows_of_users},
    write::{Until, write_points},
};
use crate::decode::Fault;
use oribi_ingest::{Ingest, Receipt};
use oribi_model::{ArrivalClock, Cursor, Points};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) rows: u64,
    pub(crate) dead_letters: u64,
}

/// Who sends batches.
pub(crate) struct Sender<'a> {
    /// How dead letters and the log call it.
    pub(crate) label: &'a str,
    /// The source as the tablets' marks know it, if it can be read again.
    pub(crate) source: Option<&'a Arc<str>>,
    pub(crate) ingest: &'a dyn Ingest,
    pub(crate) arrival: &'a ArrivalClock,
    pub(crate) stop: &'a CancellationToken,
}

impl Sender<'_> {
    /// Writes until every message of the batch is stored as rows or as a dead letter. `None` where
    /// the node stops first.
    ///
    /// Rows that have to wait are waited for before the letters and before any later batch, so that
    /// no mark of a tablet and no place of a source passes them.
    pub(crate) async fn store(&self, mut batch: Batch) -> Option<Stored> {
        let births = batch.births.rows();
        let (mut points, faults) = (batch.take_points(), batch.take_faults());
        if let Some(source) = self.source {
            points.iter_mut().for_each(|points| {
                let offsets = batch.offsets_of_rows(&points.origins);
                points.cursor = Some(Cursor { source: source.clone(), offsets });
            });
        }
        if !faults.is_empty() {
            points.push(self.bury(&batch, &faults, self.source.cloned()));
        }
        let receipt = self.write(points, Until::All).await?;
        let mut refused = batch.refused(&receipt.rejected);
        refused.retain(|(at, _)| faults.iter().all(|(known, _)| known != at));
        let rows = receipt.rows.saturating_sub((faults.len() + births) as u64);
        let dead_letters = (faults.len() + refused.len()) as u64;
        if !refused.is_empty() {
            // These come later than letters of higher offsets, so their marks are apart.
            let source = self.source.map(|source| format!("{source}/refused").into());
            let letters = vec![self.bury(&batch, &refused, source)];
            self.write(letters, Until::All).await.map(drop)?;
        }
        Some(Stored { rows, dead_letters })
    }

    /// As [`Sender::store`], but nothing is waited for that has to be made: what lacks a table or a
    /// time range is given back by client, and so is all of the clients that `waits` names. For
    /// sources without places.
    pub(crate) async fn store_present(
        &self,
        mut batch: Batch,
        waits: Option<impl Fn(&Arc<str>) -> bool>,
    ) -> Option<(Stored, Vec<Held>)> {
        let (points, faults) = (batch.take_points(), batch.take_faults());
        let (points, mut waiting) = match waits {
            Some(waits) => held::split(&batch, points, &waits),
            None => (points, Vec::new()),
        };
        let rows = rows_of_users(&points);
        let (letters, receipt) =
            tokio::join!(self.bury_all(&batch, &faults), self.write(points, Until::Present));
        let (Receipt { rejected, deferred, .. }, ()) = (receipt?, letters?);
        let refused = batch.refused(&rejected);
        self.bury_all(&batch, &refused).await?;
        let rows = rows.saturating_sub(rows_of_users(&deferred) + rejected.len() as u64);
        let dead_letters = (faults.len() + refused.len()) as u64;
        waiting.extend(deferred);
        Some((Stored { rows, dead_letters }, held::by_client(&batch, waiting)))
    }

    /// Keeps messages of a source without places as dead letters.
    pub(super) async fn bury_all(&self, batch: &Batch, faults: &[(usize, Fault)]) -> Option<()> {
        if !faults.is_empty() {
            let letters = vec![self.bury(batch, faults, None)];
            self.write(letters, Until::All).await.map(drop)?;
        }
        Some(())
    }

    fn bury(&self, batch: &Batch, faults: &[(usize, Fault)], source: Option<Arc<str>>) -> Points {
        let mut letters = batch.bury(self.label, faults, self.arrival);
        letters.cursor = source.map(|source| {
            let offsets = faults.iter().map(|(at, _)| batch.offset_of(*at)).collect();
            Cursor { source, offsets }
        });
        letters
    }

    pub(super) async fn write(&self, points: Vec<Points>, until: Until) -> Option<Receipt> {
        write_points(self.ingest, points, self.label, until, self.stop).await
    }
}
