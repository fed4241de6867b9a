//! The columns of a table.

use crate::{ColumnId, ColumnType, Name};
use serde::{Deserialize, Serialize};

/// Whether a column is part of the key or a measured value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Part of the key; text.
    Tag,
    /// A measured value.
    Field,
}

/// What is known of the integers of a column: those beyond 2⁵³ cannot become floats unchanged.
/// In the order in which it may change.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Ints {
    /// Nobody has looked: the column is older than this note.
    #[default]
    Unknown,
    /// All lie within ±2⁵³.
    Exact,
    /// Some lie beyond, or may.
    Wide,
}

/// One tag or field. The event time is no column of the schema: every table has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Never reused within the table.
    pub id: ColumnId,
    /// Unique within the table, tags and fields together; case counts.
    pub name: Name,
    /// Tag or field.
    pub kind: ColumnKind,
    /// Always [`ColumnType::Text`] for a tag.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// Of an integer column; changed in the catalog before such an integer is written.
    #[serde(default)]
    pub ints: Ints,
}

/// The columns of a table in the order in which they appeared.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    /// Grows by one with every change.
    pub version: u32,
    /// Columns by ascending id.
    pub columns: Vec<Column>,
}

impl Schema {
    /// The column called `name`.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.as_str() == name)
    }

    /// The column with this id.
    pub fn column_by_id(&self, id: ColumnId) -> Option<&Column> {
        self.columns.binary_search_by_key(&id, |column| column.id).ok().map(|at| &self.columns[at])
    }

    /// The tags, by ascending id.
    pub fn tags(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::Tag)
    }

    /// The fields, by ascending id.
    pub fn fields(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(|column| column.kind == ColumnKind::Field)
    }
}
