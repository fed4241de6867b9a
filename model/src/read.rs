//! The seam between those who ask for rows and the tablets that hold them.

use crate::{Block, ColumnId, ColumnType, Result, SeriesKey, Table, TableId, TabletId, TimeRange};
use std::{fmt, sync::Arc};

/// A condition on series, asked once for each series that a scan meets.
#[derive(Clone, Default)]
pub enum SeriesFilter {
    /// Every series.
    #[default]
    All,
    /// The series for which the function says yes.
    Where(Arc<dyn Fn(&SeriesKey) -> bool + Send + Sync>),
}

impl SeriesFilter {
    /// Whether rows of `series` are wanted.
    pub fn wants(&self, series: &SeriesKey) -> bool {
        match self {
            SeriesFilter::All => true,
            SeriesFilter::Where(wants) => wants(series),
        }
    }
}

impl fmt::Debug for SeriesFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SeriesFilter::All => "All",
            SeriesFilter::Where(_) => "Where(..)",
        })
    }
}

/// A field to read, as the reader's schema knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnRead {
    /// Which field.
    pub id: ColumnId,
    /// Its type now; older rows may hold integers where it is float by now.
    pub column_type: ColumnType,
}

/// Which rows of each series a scan yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RowsWanted {
    /// All.
    #[default]
    All,
    /// The last one within the range, whole. Of earlier ones any may be missing, or lack cells.
    Last,
}

/// Which rows and columns a scan yields.
#[derive(Debug, Clone)]
pub struct ScanSpec {
    /// Fields in the order wanted; none asks for times alone.
    pub columns: Vec<ColumnRead>,
    /// Event times wanted.
    pub time: TimeRange,
    /// Series wanted.
    pub series: SeriesFilter,
    /// Rows wanted of each.
    pub rows: RowsWanted,
}

/// Blocks of one part of one tablet: series in ascending order of key, rows of a series in
/// ascending order of time. It ends at the first error.
pub type BlockIter = Box<dyn Iterator<Item = Result<Block>> + Send>;

/// The rows of one tablet, cut into parts that may be read in parallel.
pub struct TabletScan {
    /// Which tablet.
    pub tablet: TabletId,
    /// The tablet's own bounds in time; tablets of one table and bucket never overlap.
    pub range: TimeRange,
    /// Parts with disjoint series, in ascending order of series.
    pub parts: Vec<BlockIter>,
}

/// How much a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableStats {
    /// Rows stored; a key written several times may count several times until compaction.
    pub rows: u64,
    /// Bytes of its segments on disk.
    pub bytes: u64,
    /// Range of event times stored; `None` without rows.
    pub time: Option<TimeRange>,
}

/// What the read path needs of the node it runs on.
pub trait ReadPath: Send + Sync + 'static {
    /// The table of this name as of now.
    fn table(&self, db: &str, table: &str) -> Option<Arc<Table>>;

    /// All tables, by database and name.
    fn tables(&self) -> Vec<Arc<Table>>;

    /// How much a table holds.
    fn stats(&self, table: TableId) -> TableStats;

    /// Opens a scan of a table as it stands now: every row acked before the call is in it, and
    /// later writes, flushes and compactions do not change it. Tablets come by ascending start;
    /// each is cut into at most `parts_max` parts.
    ///
    /// # Errors
    /// [`crate::Error::Unreadable`] where a tablet cannot be opened.
    fn scan(&self, table: TableId, spec: &ScanSpec, parts_max: usize) -> Result<Vec<TabletScan>>;
}
