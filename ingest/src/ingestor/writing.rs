//! Rows of one table on their way into tablets.

use super::{
    Fitted, Grown, Ingestor,
    making::{Covered, Missing},
    translate,
};
use crate::{
    Error,
    part::Part,
    split::{self, Several, Split},
};
use oribi_cluster::{WriteOutcome, beside_others};
use oribi_model::{Points, RowBatch};

/// How often a write starts over because its table or tablets changed under it.
const TRIES_MAX: usize = 16;

/// What became of the rows of a batch.
#[derive(Default)]
struct Written {
    /// How many are stored.
    stored: u64,
    new_rows: u64,
    /// Which are not written, since they have no tablet.
    put_off: Vec<u32>,
    /// Which are surely not stored, since their table or tablet is gone: it may have come anew.
    again: Vec<u32>,
    failed: Vec<(Vec<u32>, WriteOutcome, Error)>,
}

impl Written {
    /// Notes what became of these rows.
    fn note(&mut self, rows: Vec<u32>, outcome: oribi_cluster::Result<u64>) {
        match outcome {
            Ok(new_rows) => {
                self.stored += rows.len() as u64;
                self.new_rows += new_rows;
            }
            Err(oribi_cluster::Error::NoTablet(_)) => self.again.extend(rows),
            Err(error) => self.failed.push((rows, error.outcome(), translate(error))),
        }
    }
}

impl Ingestor {
    /// Writes rows of one table. Only those of which nothing is stored are tried again.
    pub(super) async fn write_table(&self, mut points: Points, missing: Missing<'_>) -> Part {
        let mut part = Part::default();
        for _ in 0..TRIES_MAX {
            if points.rows() == 0 {
                return part;
            }
            let table = match self.grown_table(&points, missing).await {
                Ok(Grown::Ready(table)) => table,
                Ok(Grown::Changed) => continue,
                Ok(Grown::Deferred) => {
                    part.receipt.deferred.push(points);
                    return part;
                }
                Err(error) => {
                    part.fail(points.origins, WriteOutcome::NotStored, error);
                    return part;
                }
            };
            let fit = || self.fit(&points, &table);
            let Fitted { batch, kept, rejected } = beside_others(points.rows(), fit);
            part.receipt.rejected.extend(rejected);
            if batch.rows() == 0 {
                return part;
            }
            let written = self.write_batch(batch, missing).await;
            let of_points = |row: u32| kept.as_ref().map_or(row, |kept| kept[row as usize]);
            let again = settle(&mut part, &points, written, of_points);
            if again.is_empty() {
                return part;
            }
            points = points.take(again);
        }
        let error = Error::Busy { reason: "the table keeps changing", retry_after_s: 1 };
        part.fail(points.origins, WriteOutcome::NotStored, error);
        part
    }

    /// Commits those rows of a batch that have a tablet, after making some where that is wanted.
    async fn write_batch(&self, mut batch: RowBatch, missing: Missing<'_>) -> Written {
        let mut written = Written::default();
        // Which rows of the whole batch those are that are left.
        let mut left: Option<Vec<u32>> = None;
        loop {
            let count = batch.rows();
            let split = || split::split(batch, &self.node.catalog());
            let of_whole = |row: u32| left.as_ref().map_or(row, |rows| rows[row as usize]);
            let Several { whole, parts, rows, uncovered } = match beside_others(count, split) {
                Split::One(tablet, batch) => {
                    let outcome = self.node.write(tablet, batch).await;
                    written.note((0..count as u32).map(of_whole).collect(), outcome);
                    return written;
                }
                Split::Several(several) => several,
            };
            let outcomes = self.node.write_many(parts).await;
            for (rows, outcome) in rows.into_iter().zip(outcomes) {
                written.note(rows.into_iter().map(of_whole).collect(), outcome);
            }
            if uncovered.is_empty() {
                return written;
            }
            let rest: Vec<u32> = uncovered.iter().map(|row| of_whole(*row)).collect();
            let Missing::Make(making) = missing else {
                written.put_off = rest;
                return written;
            };
            batch = whole.take(uncovered);
            match self.cover(batch.table, &batch.times, making).await {
                Ok(Covered::Some) => left = Some(rest),
                Ok(Covered::Nothing) => {
                    written.put_off = rest;
                    return written;
                }
                Ok(Covered::TableGone) => {
                    written.again.extend(rest);
                    return written;
                }
                Err(error) => {
                    written.failed.push((rest, WriteOutcome::NotStored, error));
                    return written;
                }
            }
        }
    }
}

/// Adds what became of the rows of a batch; gives the rows of `points` to be tried again,
/// ascending.
fn settle(
    part: &mut Part,
    points: &Points,
    written: Written,
    of_points: impl Fn(u32) -> u32,
) -> Vec<u32> {
    part.receipt.rows += written.stored;
    if !points.table.is_system() {
        part.receipt.new_rows += written.new_rows;
    }
    let places = |rows: Vec<u32>| -> Vec<u32> { rows.into_iter().map(&of_points).collect() };
    if !written.put_off.is_empty() {
        part.receipt.deferred.push(points.take(places(written.put_off)));
    }
    for (rows, outcome, error) in written.failed {
        let origins = places(rows).into_iter().map(|row| points.origins[row as usize]);
        part.fail(origins, outcome, error);
    }
    let mut again = places(written.again);
    again.sort_unstable();
    again
}
