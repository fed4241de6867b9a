//! What a segment keeps in memory of its pages: columns, and where each page lies.

use super::{PAGE_ROWS, layout::Layout};
use crate::bits::{Reader, put_varint, unzigzag, zigzag};
use oribi_model::{ColumnId, ColumnType};

/// Optional sections have numbers of 16 and above; a reader skips those it does not know.
pub(super) const SECTION_PAGES: u32 = 1;
/// The series themselves; of version 1.
pub(super) const SECTION_SERIES_V1: u32 = 2;
/// The directory of the blocks of series.
pub(super) const SECTION_DIRECTORY: u32 = 3;

/// Bytes of one block and their CRC-32C.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) bytes: u32,
    pub(super) crc: u32,
}

/// One column of one chunk: a header block, then its pages.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Chunk {
    pub(super) offset: u64,
    pub(super) encoding: u8,
    pub(super) head: Extent,
    pub(super) pages: Vec<Extent>,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Index {
    pub(super) layout: Layout,
    pub(super) columns: Vec<(ColumnId, ColumnType)>,
    /// By column, times first, then by chunk.
    pub(super) chunks: Vec<Vec<Chunk>>,
    /// Smallest and largest time of each page.
    pub(super) page_times: Vec<(i64, i64)>,
}

pub(super) fn extent(bytes: &[u8]) -> Extent {
    Extent { bytes: bytes.len() as u32, crc: crc32c::crc32c(bytes) }
}

pub(super) fn put_extent(out: &mut Vec<u8>, extent: Extent) {
    put_varint(out, u64::from(extent.bytes));
    if extent.bytes > 0 {
        out.extend_from_slice(&extent.crc.to_le_bytes());
    }
}

pub(super) fn read_extent(reader: &mut Reader<'_>) -> Option<Extent> {
    let bytes = u32::try_from(reader.varint()?).ok()?;
    Some(Extent { bytes, crc: if bytes > 0 { reader.u32()? } else { 0 } })
}

impl Index {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.layout.rows());
        put_varint(&mut out, self.columns.len() as u64);
        for (id, column_type) in &self.columns {
            put_varint(&mut out, u64::from(id.0));
            out.push(*column_type as u8);
        }
        let listed = if self.layout.is_uniform() { 0 } else { self.layout.pages() };
        put_varint(&mut out, listed as u64);
        for page in 0..listed {
            let rows = self.layout.page_rows(page);
            put_varint(&mut out, rows.end - rows.start);
        }
        for (start, last) in &self.page_times {
            put_varint(&mut out, zigzag(*start));
            put_varint(&mut out, last.wrapping_sub(*start) as u64);
        }
        put_varint(&mut out, self.chunks.first().map_or(0, Vec::len) as u64);
        for chunk in self.chunks.iter().flatten() {
            put_varint(&mut out, chunk.offset);
            out.push(chunk.encoding);
            put_extent(&mut out, chunk.head);
            put_varint(&mut out, chunk.pages.len() as u64);
            chunk.pages.iter().for_each(|page| put_extent(&mut out, *page));
        }
        out
    }

    /// Reads what `encode` of this or an earlier version wrote.
    pub(super) fn decode(bytes: &[u8], version: u32) -> Option<Index> {
        let reader = &mut Reader(bytes);
        let (rows, mut index) = (reader.varint()?, Index::default());
        for _ in 0..reader.varint()? {
            let id = ColumnId(u32::try_from(reader.varint()?).ok()?);
            index.columns.push((id, column_type(reader.u8()?)?));
        }
        let listed = if version == 1 { 0 } else { reader.varint()? };
        let mut page_rows: Vec<usize> = Vec::new();
        for _ in 0..listed {
            page_rows.push(reader.size()?);
        }
        let pages = if listed == 0 { rows.div_ceil(PAGE_ROWS as u64) } else { listed };
        for page in 0..pages {
            let start = unzigzag(reader.varint()?);
            index.page_times.push((start, start.wrapping_add(reader.varint()? as i64)));
            if listed == 0 {
                let first = page * PAGE_ROWS as u64;
                page_rows.push((rows - first).min(PAGE_ROWS as u64) as usize);
            }
        }
        let count = reader.size()?;
        for _ in 0..=index.columns.len() {
            let chunks = (0..count).map(|_| read_chunk(reader)).collect::<Option<Vec<_>>>()?;
            index.chunks.push(chunks);
        }
        let pages_of = |chunks: &[Chunk]| -> Vec<usize> {
            chunks.iter().map(|chunk| chunk.pages.len()).collect()
        };
        let chunk_pages = pages_of(&index.chunks[0]);
        index.layout = Layout::of(&page_rows, &chunk_pages).filter(|it| it.rows() == rows)?;
        let alike = |chunks: &Vec<Chunk>| pages_of(chunks) == chunk_pages;
        index.chunks.iter().all(alike).then_some(index)
    }
}

fn read_chunk(reader: &mut Reader<'_>) -> Option<Chunk> {
    let (offset, encoding, head) = (reader.varint()?, reader.u8()?, read_extent(reader)?);
    let pages = (0..reader.varint()?).map(|_| read_extent(reader)).collect::<Option<Vec<_>>>()?;
    Some(Chunk { offset, encoding, head, pages })
}

fn column_type(code: u8) -> Option<ColumnType> {
    let types = [ColumnType::Int, ColumnType::Float, ColumnType::Bool, ColumnType::Text];
    types.into_iter().find(|known| *known as u8 == code)
}
