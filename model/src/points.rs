//! Rows as a decoder saw them: tables, tags and fields by name, types as written.
//!
//! The write path checks the [`Points`] of a decoder against the schema and turns them into
//! [`crate::RowBatch`]es.

mod take;

use crate::{ColumnValues, Cursor, Name, SeriesKeys, Value};
use std::sync::Arc;

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
    /// A table that who sent the row may not write to.
    Forbidden,
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
            RejectReason::Forbidden => "forbidden",
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
    /// What was wrong and what was expected, for a person; rows by the thousand share one.
    pub detail: Arc<str>,
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

impl FieldColumn {
    /// Bytes of memory held.
    pub fn bytes_held(&self) -> usize {
        let text = |value: &Value| if let Value::Text(text) = value { text.capacity() } else { 0 };
        let odd = self.odd.iter().map(|(_, value)| text(value)).sum::<usize>();
        size_of::<FieldColumn>()
            + self.name.capacity()
            + self.values.bytes()
            + self.odd.capacity() * size_of::<(u32, Value)>()
            + odd
    }
}

/// Rows of one table as decoded.
#[derive(Debug, Clone, PartialEq)]
pub struct Points {
    /// The database.
    pub db: Name,
    /// The table.
    pub table: Name,
    /// The names of all tags, each once.
    pub tags: Vec<String>,
    /// The distinct series; the ids in their keys are places in `tags`.
    pub series: SeriesKeys,
    /// For each row its series in `series`.
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

    /// The tags of series `at` as names and values.
    pub fn tags_of(&self, at: usize) -> impl Iterator<Item = (&str, &str)> {
        self.series.tags(at).map(|(id, value)| (self.tags[id.0 as usize].as_str(), value))
    }

    /// Bytes of memory held: what was reserved counts, used or not.
    pub fn bytes_held(&self) -> usize {
        let fields = self.fields.iter().map(FieldColumn::bytes_held).sum::<usize>();
        let names = self.tags.iter().map(|name| name.capacity() + size_of::<String>());
        let row_bytes = size_of::<u32>() * (self.row_series.capacity() + self.origins.capacity())
            + size_of::<i64>() * self.times.capacity();
        fields + names.sum::<usize>() + self.series.bytes_held() + row_bytes
    }
}
