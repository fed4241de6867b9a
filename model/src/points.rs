//! Rows as a decoder saw them: tables, tags and fields by name, types as written.
//!
//! A decoder fills a [`PointsBuilder`]; the write path checks the [`Points`] against the schema
//! and turns them into [`crate::RowBatch`]es.

mod builder;
mod cells;
mod series_index;

pub use builder::{FieldRef, PointsBuilder};

use crate::{ColumnValues, Cursor, Name, Value};

/// Why a row was not stored, in a form that programs can count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectReason {
    /// The text is not what its format allows.
    Syntax,
    /// A field has another type than the column.
    TypeConflict,
    /// A field is named like a tag, or a tag like a field.
    KindConflict,
    /// A name that the rules refuse.
    Name,
    /// A time that is no time, lies too far ahead, or beyond the table's retention.
    Time,
    /// A number that cannot be kept exactly or at all.
    Number,
    /// A limit of size or count.
    Limit,
    /// A payload that contradicts its topic.
    TopicConflict,
}

impl RejectReason {
    /// The reason as a stable code.
    pub fn as_str(self) -> &'static str {
        match self {
            RejectReason::Syntax => "syntax",
            RejectReason::TypeConflict => "type_conflict",
            RejectReason::KindConflict => "kind_conflict",
            RejectReason::Name => "name",
            RejectReason::Time => "time",
            RejectReason::Number => "number",
            RejectReason::Limit => "limit",
            RejectReason::TopicConflict => "topic_conflict",
        }
    }
}

/// One row that was not stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Which row: the number its decoder gave it (line, array element or message).
    pub origin: u32,
    /// The kind of reason.
    pub reason: RejectReason,
    /// What was wrong and what was expected, for a person.
    pub detail: String,
}

/// The values of one tag over the distinct series of a batch; empty means absent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagColumn {
    /// The tag's name.
    pub name: String,
    bytes: Vec<u8>,
    /// End of each series' value in `bytes`.
    ends: Vec<u32>,
}

impl TagColumn {
    /// The value for series `at`; empty where the series lacks the tag.
    pub fn value(&self, at: usize) -> &[u8] {
        let Some(end) = self.ends.get(at) else { return &[] };
        let start = if at == 0 { 0 } else { self.ends[at - 1] };
        &self.bytes[start as usize..*end as usize]
    }

    fn set(&mut self, series: usize, value: &str) {
        self.ends.resize(series, self.bytes.len() as u32);
        self.bytes.extend_from_slice(value.as_bytes());
        self.ends.push(u32::try_from(self.bytes.len()).expect("a batch's tags fit into 4 GiB"));
    }
}

/// The values of one field over the rows of a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldColumn {
    /// The field's name.
    pub name: String,
    /// The cells that have the type of the first one seen; the others are null here.
    pub values: ColumnValues,
    /// Cells of other types as (row, value), by ascending row: the write path, which knows the
    /// column's type, decides which of them stand.
    pub odd: Vec<(u32, Value)>,
}

/// Rows of one table as decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// The database.
    pub db: Name,
    /// The table.
    pub table: Name,
    /// Tag values of the distinct series.
    pub tags: Vec<TagColumn>,
    /// Number of distinct series.
    pub series_count: usize,
    /// For each row its series, below `series_count`.
    pub row_series: Vec<u32>,
    /// For each row its event time, ns since the Unix epoch.
    pub times: Vec<i64>,
    /// For each row the number its decoder gave it.
    pub origins: Vec<u32>,
    /// Fields in the order in which they appeared.
    pub fields: Vec<FieldColumn>,
    /// Where the rows came from, if the source can be read again.
    pub cursor: Option<Cursor>,
}

impl Points {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.times.len()
    }
}
