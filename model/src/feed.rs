//! The seam between those who pass committed rows and windows on and those who have them.

use crate::{ReadPath, Result, RowBatch, TableId, TabletId, TimeRange, Value};

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

    /// Whether what a tablet has committed is here, so that asking costs no other node.
    fn is_near(&self, tablet: TabletId) -> bool;

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

/// What is asked of the windows of a table, in the words of a window question.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WindowQuestion {
    /// The database.
    pub db: String,
    /// The table.
    pub table: String,
    /// Columns of the answer, such as `mean(temperature)`.
    pub select: String,
    /// Length of a window, such as `1m`.
    pub window: String,
    /// Zone of calendar windows; UTC when absent.
    pub timezone: Option<String>,
    /// Tags that make groups, comma-separated.
    pub group_by: Option<String>,
}

/// A member of a [`WindowQuestion`] that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrongMember {
    /// Its name.
    pub member: String,
    /// What was wrong and what was expected.
    pub reason: String,
}

/// One group in one window.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowRow {
    /// First ns of the window, since the Unix epoch.
    pub start: i64,
    /// The tags of the group that are not null.
    pub tags: Vec<(String, String)>,
    /// The columns asked for that are not null.
    pub fields: Vec<(String, Value)>,
}

/// Windows of tables. Errors are texts for a person.
pub trait WindowFeed: Send + Sync + 'static {
    /// Checks what can be checked of a question before its table exists: windows and grammar, not
    /// whether columns are there.
    ///
    /// # Errors
    /// The first member that cannot be.
    fn check(&self, question: &WindowQuestion) -> std::result::Result<(), WrongMember>;

    /// The window that holds `time`, ns since the Unix epoch.
    ///
    /// # Errors
    /// A window or zone that cannot be.
    fn window_at(
        &self,
        question: &WindowQuestion,
        time: i64,
    ) -> std::result::Result<TimeRange, String>;

    /// All groups of the windows of `range`, which begins and ends with a window, by time and
    /// group. Blocks; called on a thread of a tokio runtime that may block.
    ///
    /// # Errors
    /// A question that cannot be answered, or whose answer is too large.
    fn windows(
        &self,
        question: &WindowQuestion,
        range: TimeRange,
    ) -> std::result::Result<Vec<WindowRow>, String>;
}
