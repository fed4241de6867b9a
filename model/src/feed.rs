//! The seam between those who pass committed rows on and the tablets that hold them.

use crate::{ReadPath, Result, RowBatch, TableId, TabletId};

/// Rows of a tablet, in pieces.
pub type BatchIter = Box<dyn Iterator<Item = Result<RowBatch>> + Send>;

/// What a tablet has committed since some place.
pub struct Committed {
    /// The rows, in the order in which they were committed, or, where the log has let them go, in
    /// the order of a scan and together with others that are older.
    pub rows: BatchIter,
    /// Where to go on once all rows are done.
    pub next: u64,
}

/// Committed rows, tablet by tablet. A place in a tablet is a log index: all entries below it are
/// done.
pub trait Feed: ReadPath {
    /// The tablets of a table that may hold rows.
    fn tablets(&self, table: TableId) -> Vec<TabletId>;

    /// What a tablet has committed from `place` on, or the first part of it, which takes about
    /// `bytes_max` of memory at once. `None`: nothing is there yet, or the tablet was dropped.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`].
    fn committed(
        &self,
        tablet: TabletId,
        place: u64,
        bytes_max: usize,
    ) -> Result<Option<Committed>>;
}
