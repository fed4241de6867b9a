//! What connectors see of the write path.

use crate::Result;
use futures::future::BoxFuture;
use oribi_model::{Name, Points, Rejection, Table};
use std::sync::Arc;

/// What became of a write: each of its rows is stored, refused or put off.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "rows that were put off are stored nowhere"]
pub struct Receipt {
    /// Rows stored: synced in the log and visible to every later query.
    pub rows: u64,
    /// Rows among these that are of users' tables and that those had not had from the same record of
    /// their source before.
    pub new_rows: u64,
    /// Rows refused, by ascending origin.
    pub rejected: Vec<Rejection>,
    /// Rows for which there is no table or no time range yet, in the order of their tables in the
    /// write. Whoever wrote them writes them again.
    pub deferred: Vec<Points>,
}

impl Receipt {
    /// Rows that were put off.
    pub fn rows_deferred(&self) -> usize {
        self.deferred.iter().map(Points::rows).sum()
    }

    /// Adds what became of other rows of the same caller.
    pub fn add(&mut self, other: Receipt) {
        self.rows += other.rows;
        self.new_rows += other.new_rows;
        self.rejected.extend(other.rejected);
        self.rejected.sort_by_key(|rejection| rejection.origin);
        self.deferred.extend(other.deferred);
    }
}

/// The one entry for rows, and the little of the catalog that front doors need.
pub trait Ingest: Send + Sync + 'static {
    /// Stores rows of any number of tables, and makes the tables and time ranges that they lack.
    /// Origins are unique over all of `points`. Resolves once every row is synced in the log and
    /// applied, or refused, or put off because too many tables or ranges are new.
    ///
    /// # Errors
    /// The write as a whole was not acknowledged; parts of it may have been stored, so that the
    /// caller writes the same rows again (which changes nothing for rows with a time).
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>>;

    /// As [`Ingest::write`], but all rows without a table or a time range are put off: this waits
    /// for none to be made, so that rows of many senders can go in one write.
    ///
    /// # Errors
    /// As [`Ingest::write`].
    fn write_present(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>>;

    /// The rows that [`Ingest::write`] would refuse now. Nothing is changed.
    fn refused(&self, points: &[Points]) -> Vec<Rejection>;

    /// Whether who writes may write to this table, or to any of the database where none is named,
    /// be there one or not.
    ///
    /// # Errors
    /// [`crate::Error::Forbidden`].
    fn check_write(&self, _db: &str, _table: Option<&str>) -> Result<()> {
        Ok(())
    }

    /// A table as of now.
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>>;

    /// The databases by name.
    fn databases(&self) -> Vec<Name>;

    /// Makes a database where it does not exist.
    ///
    /// # Errors
    /// As [`Ingest::write`].
    fn create_database(&self, db: Name) -> BoxFuture<'_, Result<()>>;

    /// Drops a database with all its tables; one that does not exist is fine.
    ///
    /// # Errors
    /// As [`Ingest::write`].
    fn drop_database(&self, db: Name) -> BoxFuture<'_, Result<()>>;
}
