//! Rows that are written and deleted.

use super::{CATALOG_GROUP, Node, hosting::group_of, route::Errand};
use crate::{Error, Result, command::Command, replica::Missed};
use oribi_model::{RowBatch, TableId, TabletId, TagPredicate, TimeRange};
use std::time::Duration;

impl Node {
    /// Commits rows of one tablet. Resolves once they are synced and visible. Gives the number of
    /// rows that the tablet had not had from the same record of their source before.
    ///
    /// # Errors
    /// [`Error::NoTablet`] where it was dropped, [`Error::Damaged`] where it is set aside.
    /// [`Error::outcome`] tells whether the rows may have been stored all the same.
    pub async fn write(&self, tablet: TabletId, batch: RowBatch) -> Result<u64> {
        let command = Errand::Commit(Command::rows(batch));
        Ok(self.run_one(group_of(tablet), command).await?.new_rows)
    }

    /// As [`Node::write`], of several tablets at once: what became of each, in their order. Those
    /// that another node leads go there together.
    pub async fn write_many(&self, parts: Vec<(TabletId, RowBatch)>) -> Vec<Result<u64>> {
        let errand = |(tablet, batch)| (group_of(tablet), Errand::Commit(Command::rows(batch)));
        let done = self.run(parts.into_iter().map(errand).collect()).await;
        done.into_iter().map(|done| Ok(done?.new_rows)).collect()
    }

    /// Rows that a tablet's marks will not leave out: a source has one write under way at a time.
    pub(super) fn new_rows(&self, tablet: TabletId, batch: &RowBatch) -> u64 {
        let Some(cursor) = &batch.cursor else { return batch.rows() as u64 };
        let next =
            self.hosting.get(tablet).map_or(0, |hosted| hosted.tablet.next_of(&cursor.source));
        (cursor.offsets.len() - cursor.offsets.partition_point(|offset| *offset < next)) as u64
    }

    pub(super) async fn commit(&self, tablet: TabletId, command: Command) -> Result<()> {
        self.run_one(group_of(tablet), Errand::Commit(command)).await.map(drop)
    }

    /// Waits for a write, but not for long where the log cannot be written; what becomes of the
    /// write is not known then.
    pub(super) async fn unless_stalled<T>(
        &self,
        write: impl Future<Output = Result<T, Missed>>,
    ) -> Result<T, Missed> {
        const PATIENCE: Duration = Duration::from_secs(3);
        let mut write = std::pin::pin!(write);
        loop {
            if let Ok(outcome) = tokio::time::timeout(PATIENCE, &mut write).await {
                return outcome;
            }
            if let Some(reason) = self.stalled() {
                return Err(Error::Unknown { group: CATALOG_GROUP.0, reason }.into());
            }
        }
    }

    /// Waits until the memtables have room.
    pub async fn room(&self) {
        loop {
            let freed = self.room.notified();
            if self.hosting.memtables.have_room() || self.check().is_err() {
                return;
            }
            self.hosting.memtables.flush_due.notify_one();
            freed.await;
        }
    }

    /// Notes whether the process holds all the memory that it may: while it does, memtables are flushed however
    /// small they are, as nothing else may come that would have them flushed.
    pub fn memory_is_short(&self, is_short: bool) {
        self.hosting.memtables.memory_is_short(is_short);
    }

    pub(super) fn memtable_bytes(&self) -> usize {
        self.hosting.memtables.held_bytes()
    }

    /// Removes the matching rows of a table as of now.
    ///
    /// # Errors
    /// As [`Node::write`]; some tablets may have done it.
    pub async fn delete(&self, table: TableId, time: TimeRange, tags: TagPredicate) -> Result<()> {
        self.check()?;
        let catalog = self.catalog();
        for tablet in catalog.tablets_of(table) {
            if tablet.range.overlaps(time) {
                let rested = self.hosting.get(tablet.id).filter(|one| !one.replica.is_running());
                match self.commit(tablet.id, Command::delete(time, tags.clone())).await {
                    // It went with all its rows.
                    Err(Error::NoTablet(_)) => {}
                    outcome => outcome?,
                }
                if let Some(hosted) = rested.filter(|one| one.replica.usage().is_some()) {
                    hosted.replica.rest().await;
                }
            }
        }
        Ok(())
    }
}
