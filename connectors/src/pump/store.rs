//! Stores a batch: its rows, and its dead letters.

use super::{batch::Batch, write::write_points};
use crate::decode::Fault;
use oribi_ingest::Ingest;
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
    pub(crate) async fn store(&self, mut batch: Batch) -> Option<Stored> {
        let (mut points, mut faults) = (batch.take_points(), batch.take_faults());
        let decoded = faults.len();
        match self.source {
            // One write for all; rows and dead letters are of different tables.
            None if !faults.is_empty() => points.push(self.bury(&batch, &faults)),
            None => {}
            Some(source) => points.iter_mut().for_each(|points| {
                let offsets = batch.offsets_of_rows(&points.origins);
                points.cursor = Some(Cursor { source: source.clone(), offsets });
            }),
        }
        let receipt = self.write(points).await?;
        let refused = batch.refused(&receipt.rejected);
        let dead_letters = (decoded + refused.len()) as u64;
        let rows = match self.source {
            None => receipt.rows.saturating_sub(decoded as u64),
            Some(_) => receipt.rows,
        };
        // Marks ask for the offsets of a source in order, so all its letters go in one write.
        let letters = match self.source {
            None => refused,
            Some(_) => {
                faults.extend(refused);
                faults.sort_by_key(|(at, _)| *at);
                faults.dedup_by_key(|(at, _)| *at);
                faults
            }
        };
        if !letters.is_empty() {
            self.write(vec![self.bury(&batch, &letters)]).await?;
        }
        Some(Stored { rows, dead_letters })
    }

    fn bury(&self, batch: &Batch, faults: &[(usize, Fault)]) -> Points {
        let mut letters = batch.bury(self.label, faults, self.arrival);
        if let Some(source) = self.source {
            let offsets = faults.iter().map(|(at, _)| batch.offset_of(*at)).collect();
            letters.cursor = Some(Cursor { source: source.clone(), offsets });
        }
        letters
    }

    async fn write(&self, points: Vec<Points>) -> Option<oribi_ingest::Receipt> {
        write_points(self.ingest, points, self.label, self.stop).await
    }
}
