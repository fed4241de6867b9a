//! Immutable columnar files, sorted by (series key, time). The byte layout stands in
//! docs/formats/segment.md.

mod index;
mod page;
mod reader;
mod writer;

pub(crate) use reader::Segment;
pub(crate) use writer::{Kept, SegmentWriter};

pub(crate) const MAGIC: [u8; 8] = *b"ORIBISEG";
pub(crate) const END_MAGIC: [u8; 8] = *b"ORIBIEND";
/// The newest layout.
pub(crate) const FORMAT_VERSION: u32 = 1;
pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const TRAILER_BYTES: usize = 24;
/// Rows of a page: the unit of decoding.
pub(crate) const PAGE_ROWS: usize = 4_096;
/// Rows of a chunk: the unit of encoding, whose pages share one header.
pub(crate) const CHUNK_ROWS: usize = 16 * PAGE_ROWS;
pub(crate) const CHUNK_PAGES: usize = CHUNK_ROWS / PAGE_ROWS;

#[cfg(test)]
mod tests;
