//! Stores a batch: its rows, and its dead letters.

use super::{
    batch::Batch,
    held::{self, Held, rows_of_users},
    write::{BatchWriter, Until},
};
use oribi_decode::Fault;
use oribi_ingest::Receipt;
use oribi_model::{Cursor, Points};
use std::sync::Arc;

/// What became of a batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) rows: u64,
    pub(crate) dead_letters: u64,
}

impl BatchWriter<'_> {
    /// Writes until every message of the batch is stored as rows or as a dead letter. `None` where
    /// the node stops first.
    ///
    /// Rows that have to wait are waited for before the letters and before any later batch, so that
    /// no mark of a tablet and no place of a source passes them.
    pub(crate) async fn store(&self, mut batch: Batch) -> Option<Stored> {
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
        let dead_letters = (faults.len() + refused.len()) as u64;
        if !refused.is_empty() {
            // These come later than letters of higher offsets, so their marks are apart.
            let source = self.source.map(|source| format!("{source}/refused").into());
            let letters = vec![self.bury(&batch, &refused, source)];
            self.write(letters, Until::All).await.map(drop)?;
        }
        Some(Stored { rows: receipt.new_rows, dead_letters })
    }

    /// As [`BatchWriter::store`], but nothing is waited for that has to be made: what lacks a table or a
    /// time range is given back by client, and so is all of the clients that `waits` names. For
    /// sources without cursors.
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

    /// Keeps messages of a source without cursors as dead letters.
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        pump::{CompiledRoutes, Intake, Origin},
        sparkplug_store::EdgeNodes,
        testing::{Memory, arrival},
    };
    use oribi_decode::{Message, mapping::TopicStyle};
    use tokio_util::sync::CancellationToken;

    /// A batch of Kafka records with one row each, from offset 1 on, to these tables.
    fn batch(tables: &[&str]) -> Batch {
        let routes = CompiledRoutes::new(&[], TopicStyle::Mqtt, None, "test").unwrap();
        let nodes = Arc::new(EdgeNodes::forgetful());
        let mut intake = Intake::new(routes, nodes, arrival(), i64::MAX / 2);
        let mut batch = Batch::new(1);
        for (offset, table) in (1..).zip(tables) {
            let topic = format!("{table}/x");
            let origin = Origin::Kafka { partition: 0, offset };
            intake.add(&mut batch, &Message::new(&topic, b"{\"v\":1}"), &origin, 1);
        }
        batch
    }

    #[tokio::test]
    async fn nothing_of_a_source_passes_rows_that_were_put_off() {
        let memory = Memory::open();
        let storing = tokio::spawn({
            let (memory, arrival) = (memory.clone(), arrival());
            async move {
                let (source, stop): (Arc<str>, _) = ("k/t/0".into(), CancellationToken::new());
                let (label, source, ingest) = ("k", Some(&source), memory.as_ref());
                let writer = BatchWriter { label, source, ingest, arrival: &arrival, stop: &stop };
                writer.store(batch(&["a", "new", "refused", "a", "newer"])).await
            }
        });
        while memory.rows("a") == 0 {
            tokio::task::yield_now().await;
        }
        // The batch is not done, and no letter of a later row is written before the rows that wait.
        assert!(!storing.is_finished());
        assert_eq!((memory.rows("new"), memory.rows("_dead_letters")), (0, 0));
        *memory.room.lock() = 2;
        let stored = storing.await.unwrap();
        assert_eq!(stored, Some(Stored { rows: 4, dead_letters: 1 }));
        let written = memory.written.lock();
        let places = written.iter().map(|points| {
            let cursor = points.cursor.as_ref().unwrap();
            (points.table.to_string(), cursor.source.to_string(), cursor.offsets.clone())
        });
        let place = |table: &str, source: &str, offsets: &[u64]| {
            (table.to_owned(), source.to_owned(), offsets.to_vec())
        };
        let expected = [
            place("a", "k/t/0", &[1, 4]),
            place("new", "k/t/0", &[2]),
            place("newer", "k/t/0", &[5]),
            place("_dead_letters", "k/t/0/refused", &[3]),
        ];
        assert_eq!(places.collect::<Vec<_>>(), expected);
    }

    #[tokio::test]
    async fn many_bad_messages_are_one_write() {
        let routes = CompiledRoutes::new(&[], TopicStyle::Mqtt, None, "test").unwrap();
        let nodes = Arc::new(EdgeNodes::forgetful());
        let mut intake = Intake::new(routes, nodes, arrival(), i64::MAX / 2);
        let (client, stop): (Arc<str>, _) = ("c".into(), CancellationToken::new());
        for number in 1..=2 {
            let mut batch = Batch::new(number);
            for packet_id in 0..1_000 {
                let origin = Origin::Mqtt { client_id: &client, packet_id };
                intake.add(&mut batch, &Message::new("a/b", b"{broken"), &origin, 1);
            }
            let memory = Memory::gated(1);
            let (ingest, arrival) = (memory.as_ref(), &arrival());
            let writer = BatchWriter { label: "m", source: None, ingest, arrival, stop: &stop };
            let stored = match number {
                1 => writer.store(batch).await.unwrap(),
                _ => {
                    let waits = None::<fn(&Arc<str>) -> bool>;
                    writer.store_present(batch, waits).await.unwrap().0
                }
            };
            assert_eq!(stored, Stored { rows: 0, dead_letters: 1_000 });
            assert_eq!(memory.rows("_dead_letters"), 1_000);
        }
    }
}
