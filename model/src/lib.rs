//! The shared words of Oribi: ids, names, time, schemas, series keys, row batches and scans.
//!
//! Nothing here does I/O, runs asynchronously or reads a clock on its own: every other crate may
//! depend on this one, and this one on none of them.

pub mod batch;
pub mod block;
pub mod column;
pub mod consistency;
pub mod cursor;
pub mod error;
pub mod feed;
pub mod id;
pub mod name;
pub mod params;
mod places;
pub mod points;
pub mod predicate;
pub mod pressure;
pub mod read;
pub mod schema;
pub mod series;
pub mod table;
pub mod time;

pub use batch::RowBatch;
pub use block::{Block, Run};
pub use column::{ColumnType, ColumnValues, Value};
pub use consistency::{Consistency, Reading};
pub use cursor::{Cursor, Fresh, Marks};
pub use error::{Error, Result};
pub use feed::{BatchIter, Committed, Feed, WindowFeed, WindowQuestion, WindowRow, WrongMember};
pub use id::{ColumnId, LogIndex, NodeId, TableId, TabletId};
pub use name::Name;
pub use places::{Answerer, Place};
pub use points::{Points, RejectReason, Rejection};
pub use predicate::{TagPredicate, TagValues};
pub use pressure::{Pressure, WaitingWrite};
pub use read::{
    BlockIter, ColumnRead, NamedSeries, ReadPath, RowsWanted, ScanSpec, SeriesFilter, SeriesTest,
    TableStats, TabletScan,
};
pub use schema::{Column, ColumnKind, Ints, Schema};
pub use series::{SeriesDigests, SeriesKey, SeriesKeys};
pub use table::{Bucket, Table, TableOptions, TabletSpec};
pub use time::{ArrivalClock, Clock, SystemClock, TimeRange};
