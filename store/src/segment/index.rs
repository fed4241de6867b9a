//! What a segment keeps in memory: series, columns and where each page lies.

use super::PAGE_ROWS;
use crate::bits::{Reader, put_varint, unzigzag, zigzag};
use oribi_model::{ColumnId, ColumnType, SeriesKey};

/// Optional sections have numbers of 16 and above; a reader skips those it does not know.
pub(super) const SECTION_PAGES: u32 = 1;
pub(super) const SECTION_SERIES: u32 = 2;

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
    pub(super) rows: u64,
    pub(super) columns: Vec<(ColumnId, ColumnType)>,
    /// By column, times first, then by chunk.
    pub(super) chunks: Vec<Vec<Chunk>>,
    /// Smallest and largest time of each page.
    pub(super) page_times: Vec<(i64, i64)>,
    /// Keys, ascending, each with its first row.
    pub(super) series: Vec<(SeriesKey, u64)>,
}

pub(super) fn extent(bytes: &[u8]) -> Extent {
    Extent { bytes: bytes.len() as u32, crc: crc32c::crc32c(bytes) }
}

fn put_extent(out: &mut Vec<u8>, extent: Extent) {
    put_varint(out, u64::from(extent.bytes));
    if extent.bytes > 0 {
        out.extend_from_slice(&extent.crc.to_le_bytes());
    }
}

fn read_extent(reader: &mut Reader<'_>) -> Option<Extent> {
    let bytes = u32::try_from(reader.varint()?).ok()?;
    Some(Extent { bytes, crc: if bytes > 0 { reader.u32()? } else { 0 } })
}

impl Index {
    pub(super) fn pages(&self) -> usize {
        (self.rows as usize).div_ceil(PAGE_ROWS)
    }

    pub(super) fn encode_pages(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.rows);
        put_varint(&mut out, self.columns.len() as u64);
        for (id, column_type) in &self.columns {
            put_varint(&mut out, u64::from(id.0));
            out.push(*column_type as u8);
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

    pub(super) fn encode_series(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, self.series.len() as u64);
        let (mut before, mut row_before): (&[u8], u64) = (&[], 0);
        for (key, row) in &self.series {
            let key = key.as_bytes();
            let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
            put_varint(&mut out, shared as u64);
            put_varint(&mut out, (key.len() - shared) as u64);
            out.extend_from_slice(&key[shared..]);
            put_varint(&mut out, row - row_before);
            (before, row_before) = (key, *row);
        }
        out
    }

    pub(super) fn decode(pages: &[u8], series: &[u8]) -> Option<Index> {
        let reader = &mut Reader(pages);
        let mut index = Index { rows: reader.varint()?, ..Index::default() };
        for _ in 0..reader.varint()? {
            let id = ColumnId(u32::try_from(reader.varint()?).ok()?);
            index.columns.push((id, column_type(reader.u8()?)?));
        }
        for _ in 0..index.pages() {
            let start = unzigzag(reader.varint()?);
            index.page_times.push((start, start.wrapping_add(reader.varint()? as i64)));
        }
        let count = reader.size()?;
        for _ in 0..=index.columns.len() {
            let chunks = (0..count).map(|_| read_chunk(reader)).collect::<Option<Vec<_>>>()?;
            let listed: usize = chunks.iter().map(|chunk| chunk.pages.len()).sum();
            (listed == index.pages()).then_some(())?;
            index.chunks.push(chunks);
        }
        index.decode_series(series)?;
        Some(index)
    }

    fn decode_series(&mut self, bytes: &[u8]) -> Option<()> {
        let reader = &mut Reader(bytes);
        let (mut key, mut row) = (Vec::new(), 0u64);
        for _ in 0..reader.varint()? {
            let (shared, length) = (reader.size()?, reader.size()?);
            (shared <= key.len()).then_some(())?;
            key.truncate(shared);
            key.extend_from_slice(reader.bytes(length)?);
            row = row.checked_add(reader.varint()?).filter(|row| *row < self.rows)?;
            self.series.push((SeriesKey::from_bytes(&key)?, row));
        }
        Some(())
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
