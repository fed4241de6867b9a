//! Immutable columnar files, sorted by (series key, time). The byte layout stands in
//! docs/formats/segment.md.

mod damage;
mod index;
mod layout;
mod page;
mod reader;
mod series;
mod validity;
mod whole;
mod writer;

pub(crate) use reader::Segment;
pub(crate) use writer::{Kept, SegmentWriter};

pub(crate) const MAGIC: [u8; 8] = *b"ORIBISEG";
pub(crate) const END_MAGIC: [u8; 8] = *b"ORIBIEND";
/// The newest layout.
pub(crate) const FORMAT_VERSION: u32 = 3;
pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const TRAILER_BYTES: usize = 24;
/// Rows of a page, the unit of decoding, at most.
pub(crate) const PAGE_ROWS: usize = 4_096;
/// Pages of a chunk, the unit of encoding, whose pages share one header, at most.
pub(crate) const CHUNK_PAGES: usize = 16;
pub(crate) const CHUNK_ROWS: usize = CHUNK_PAGES * PAGE_ROWS;
/// Bytes of text at which a page ends.
const PAGE_TEXT_BYTES: usize = 1 << 20;
/// Bytes of text at which a chunk ends.
const CHUNK_TEXT_BYTES: usize = CHUNK_PAGES * PAGE_TEXT_BYTES;
/// Bytes of other cells at which a chunk ends; at least one page belongs to it.
const CHUNK_BYTES: usize = 64 << 20;

#[cfg(test)]
mod tests;
