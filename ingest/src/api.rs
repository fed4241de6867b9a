//! What connectors see of the write path.

use crate::Result;
use futures::future::BoxFuture;
use oribi_model::{Name, Points, Rejection, Table};
use std::sync::Arc;

/// What became of a write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Receipt {
    /// Rows stored: synced in the log and visible to every later query.
    pub rows: u64,
    /// Rows refused, by ascending origin.
    pub rejected: Vec<Rejection>,
}

/// The one entry for rows, and the little of the catalog that front doors need.
pub trait Ingest: Send + Sync + 'static {
    /// Stores rows of any number of tables. Origins are unique over all of `points`. Resolves
    /// once every row is either synced in the log and applied, or refused in the receipt.
    ///
    /// # Errors
    /// The write as a whole was not acknowledged; parts of it may have been stored, so that the
    /// caller writes the same rows again (which changes nothing for rows with a time).
    fn write(&self, points: Vec<Points>) -> BoxFuture<'_, Result<Receipt>>;

    /// The rows that [`Ingest::write`] would refuse now. Nothing is changed.
    fn refused(&self, points: &[Points]) -> Vec<Rejection>;

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
