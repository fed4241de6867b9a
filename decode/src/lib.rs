//! Bytes to rows: formats, the messages of well-known systems, and what topics mean.
//!
//! Nothing here waits or reads anything: schemas and their files come through traits, the time of arrival
//! through an argument. A row that cannot be decoded becomes a rejection with its number; the rows beside it stand.

pub mod arrow;
pub mod avro;
mod binary;
pub mod cbor;
pub mod confluent;
pub mod csv;
mod digest;
pub mod document;
pub mod envelope;
pub mod json;
pub mod line_protocol;
mod logical;
pub mod mapping;
mod memo;
mod message_decoder;
pub mod msgpack;
pub mod nulls;
pub mod number;
pub mod points;
pub mod preset;
pub mod protobuf;
pub mod row;
mod schema_files;
pub mod sparkplug;
pub mod tables;
#[cfg(test)]
mod testing;
pub mod time;
mod topics;
pub mod untimed;
mod wire;

pub use mapping::{Message, RouteError, RouteSpec, Routes};
pub use message_decoder::{MessageDecoder, OpenRows, TOPIC_BYTES_MAX};
pub use schema_files::{FileError, SchemaFiles};

use oribi_model::{Points, RejectReason, Rejection};
use std::sync::Arc;

/// Longest text cell or tag value, bytes.
pub const CELL_BYTES_MAX: usize = 64 * 1024;
/// Longest row, bytes as written.
pub const ROW_BYTES_MAX: usize = 1024 * 1024;
/// Most tags on one row, and of one table in one batch.
pub const TAGS_MAX: usize = 1024;
/// Most fields of one table in one batch.
pub const FIELDS_MAX: usize = 1024;
/// Most tables of one batch: each takes about a KiB before its rows.
pub const TABLES_MAX: usize = 16_384;
/// Most cells, nulls included, of one batch: a bound on memory for sparse rows.
pub const CELLS_MAX: usize = 4 << 20;
/// Most rows of one body whose faults are kept one by one; the others are counted.
pub const REJECTED_MAX: usize = 1_000;
/// Deepest nesting of JSON.
pub const JSON_DEPTH_MAX: usize = 32;
/// How far ahead of now an event may lie unless configured otherwise: 24 hours, ns.
pub const AHEAD_NS_MAX: i64 = oribi_model::time::NS_PER_DAY;

/// What a decoder made of a body.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows by table.
    pub points: Vec<Points>,
    /// Rows that could not be decoded, by ascending origin, [`REJECTED_MAX`] at most.
    pub rejected: Vec<Rejection>,
    /// How many more could not be decoded.
    pub rejected_more: usize,
}

impl Decoded {
    /// Number of rows decoded.
    pub fn rows(&self) -> usize {
        self.points.iter().map(Points::rows).sum()
    }
}

/// Why one row cannot be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The kind of reason.
    pub reason: RejectReason,
    /// What was wrong and what was expected.
    pub detail: Arc<str>,
}

impl Fault {
    /// A fault of this kind.
    pub fn new(reason: RejectReason, detail: impl Into<Arc<str>>) -> Fault {
        Fault { reason, detail: detail.into() }
    }

    /// A fault of form.
    pub fn syntax(detail: impl Into<Arc<str>>) -> Fault {
        Fault::new(RejectReason::Syntax, detail)
    }

    /// The fault as the rejection of row `origin`.
    pub fn at(self, origin: u32) -> Rejection {
        Rejection { origin, reason: self.reason, detail: self.detail }
    }
}

/// A text as it was meant: without the byte order mark that some programs begin it with, and without
/// the end of a C string.
pub fn bare(mut text: &[u8]) -> &[u8] {
    text = text.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(text);
    while let Some(rest) = text.strip_suffix(b"\0") {
        text = rest;
    }
    text
}

/// The start of a text for a message, cut at a character.
pub fn excerpt(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let cut = (0..=bytes_max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}…", &text[..cut])
}
