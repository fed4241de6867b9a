//! Tables and how they are cut into tablets.

use crate::{Name, Schema, TableId, TabletId, TimeRange};
use serde::{Deserialize, Serialize};

/// What an operator may set for a table. `None` lets Oribi choose.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TableOptions {
    /// How long rows are kept after their event time, ns; absent: for ever.
    pub retention_ns: Option<i64>,
    /// Length of the time ranges of new tablets, ns; absent: adapts to the rate.
    pub range_ns: Option<i64>,
    /// Hash buckets of new tablets; absent: automatic.
    pub buckets: Option<u32>,
    /// Replicas that each tablet is to have: 1, 3 or 5; absent: 3.
    pub replication: Option<u8>,
}

impl TableOptions {
    /// Replicas that each tablet is to have where there are nodes enough.
    pub fn replicas(&self) -> u8 {
        const DEFAULT: u8 = 3;
        self.replication.unwrap_or(DEFAULT)
    }
}

/// A named set of rows with one schema.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Never reused.
    pub id: TableId,
    /// The database.
    pub db: Name,
    /// The name within the database.
    pub name: Name,
    /// The columns.
    pub schema: Schema,
    /// What was set.
    pub options: TableOptions,
}

/// One hash bucket out of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Bucket {
    /// Which one, below `count`.
    pub index: u32,
    /// How many there are in this time range.
    pub count: u32,
}

impl Bucket {
    /// The bucket out of `count` that a series with this hash falls into.
    pub fn of(hash64: u64, count: u32) -> u32 {
        (hash64 % u64::from(count.max(1))) as u32
    }
}

/// Which rows a tablet holds. Bounds and buckets never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TabletSpec {
    /// Never reused.
    pub id: TabletId,
    /// The table.
    pub table: TableId,
    /// Event times inside.
    pub range: TimeRange,
    /// Series inside.
    pub bucket: Bucket,
}
