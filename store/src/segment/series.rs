//! The series of a segment: blocks of keys, and a directory of the blocks that stays in memory.
//! A key is found by a search in the directory and a walk through one block.

use super::index::{Extent, extent, put_extent, read_extent};
use crate::bits::{Reader, put_varint};
use oribi_model::{ColumnId, SeriesFilter, SeriesKey};
use std::ops::Range;

/// Series of a block; only the last has fewer.
pub(super) const BLOCK_SERIES: usize = 256;
/// Beginnings of keys that are looked up one by one rather than found by a walk over all blocks.
const LOOKUPS_MAX: usize = 256;

/// Where each block lies and what it begins with.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Directory {
    pub(super) series: usize,
    /// Every tag that some series has, ascending.
    tags: Vec<ColumnId>,
    blocks: Vec<BlockEntry>,
    /// Rows of all series.
    rows: u64,
    bytes: u64,
}

#[derive(Debug, Clone, PartialEq)]
struct BlockEntry {
    first: Box<[u8]>,
    first_row: u64,
    /// Counted from the first block's start.
    offset: u64,
    extent: Extent,
}

/// Takes series in ascending order of key and makes blocks and their directory.
#[derive(Default)]
pub(super) struct SeriesBuilder {
    directory: Directory,
    finished: Vec<u8>,
    block: Vec<u8>,
    last: Vec<u8>,
    last_rows: u64,
}

impl SeriesBuilder {
    /// Adds rows, which are those of the last series or of a new one behind it.
    pub(super) fn push(&mut self, key: &SeriesKey, rows: u64) {
        if self.directory.series > 0 && self.last == key.as_bytes() {
            self.last_rows += rows;
            return;
        }
        self.end_series();
        if self.directory.series.is_multiple_of(BLOCK_SERIES) {
            self.end_block();
            let (first, first_row) = (key.as_bytes().into(), self.directory.rows);
            let (offset, extent) = (self.finished.len() as u64, extent(&[]));
            self.directory.blocks.push(BlockEntry { first, first_row, offset, extent });
            self.last.clear();
        }
        put_key(&mut self.block, &self.last, key.as_bytes());
        for (tag, _) in key.tags() {
            if let Err(at) = self.directory.tags.binary_search(&tag) {
                self.directory.tags.insert(at, tag);
            }
        }
        self.directory.series += 1;
        self.last.clear();
        self.last.extend_from_slice(key.as_bytes());
        self.last_rows = rows;
    }

    /// The blocks and their directory.
    pub(super) fn finish(mut self) -> (Vec<u8>, Directory) {
        self.end_series();
        self.end_block();
        self.directory.bytes = self.finished.len() as u64;
        (self.finished, self.directory)
    }

    fn end_series(&mut self) {
        if self.directory.series > 0 {
            put_varint(&mut self.block, self.last_rows);
            self.directory.rows += self.last_rows;
        }
    }

    fn end_block(&mut self) {
        if let Some(entry) = self.directory.blocks.last_mut() {
            entry.extent = extent(&self.block);
        }
        self.finished.append(&mut self.block);
    }
}

impl Directory {
    pub(super) fn encode(&self, blocks_at: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, blocks_at);
        put_varint(&mut out, self.series as u64);
        put_varint(&mut out, self.tags.len() as u64);
        self.tags.iter().for_each(|tag| put_varint(&mut out, u64::from(tag.0)));
        let (mut before, mut row_before): (&[u8], u64) = (&[], 0);
        for block in &self.blocks {
            put_key(&mut out, before, &block.first);
            put_varint(&mut out, block.first_row - row_before);
            put_extent(&mut out, block.extent);
            (before, row_before) = (&block.first, block.first_row);
        }
        out
    }

    /// Reads what `encode` wrote for a segment of so many rows: where the blocks begin, and the
    /// directory.
    pub(super) fn decode(bytes: &[u8], rows: u64) -> Option<(u64, Directory)> {
        let reader = &mut Reader(bytes);
        let (blocks_at, series) = (reader.varint()?, reader.size()?);
        let mut directory = Directory { series, rows, ..Directory::default() };
        for _ in 0..reader.varint()? {
            directory.tags.push(ColumnId(u32::try_from(reader.varint()?).ok()?));
        }
        let (mut key, mut first_row) = (Vec::new(), 0u64);
        for _ in 0..series.div_ceil(BLOCK_SERIES) {
            read_key(reader, &mut key)?;
            first_row = first_row.checked_add(reader.varint()?).filter(|row| *row < rows)?;
            let (first, extent) = (key.as_slice().into(), read_extent(reader)?);
            let offset = directory.bytes;
            directory.blocks.push(BlockEntry { first, first_row, offset, extent });
            directory.bytes += u64::from(extent.bytes);
        }
        Some((blocks_at, directory))
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    /// Bytes of all blocks.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where a block begins, counted from the first one's start, and its bytes.
    pub(super) fn extent(&self, block: usize) -> (u64, Extent) {
        (self.blocks[block].offset, self.blocks[block].extent)
    }

    /// The blocks that may hold wanted series, ascending, each range with what the keys begin
    /// with; a block may occur more than once.
    pub(super) fn places(&self, wanted: &SeriesFilter) -> Vec<(Range<usize>, Vec<u8>)> {
        let Some(prefixes) = wanted.prefixes(&self.tags, LOOKUPS_MAX) else {
            return vec![(0..self.blocks.len(), Vec::new())];
        };
        let range = |prefix: Vec<u8>| {
            let before = |block: &BlockEntry| block.first[..] < prefix[..];
            let from = self.blocks.partition_point(before);
            let inside = |block: &BlockEntry| block.first.starts_with(&prefix);
            let to = from + self.blocks[from..].partition_point(inside);
            // A key that is not the first of its block lies in the block before.
            (from.saturating_sub(1)..to, prefix)
        };
        prefixes.into_iter().map(range).collect()
    }

    /// Calls `each` with the key, the number and the rows of every series of a block; `None` where
    /// its bytes do not decode.
    pub(super) fn walk(
        &self,
        block: usize,
        bytes: &[u8],
        mut each: impl FnMut(&[u8], usize, Range<u64>),
    ) -> Option<()> {
        let count = BLOCK_SERIES.min(self.series - block * BLOCK_SERIES);
        let end = self.blocks.get(block + 1).map_or(self.rows, |next| next.first_row);
        let (reader, mut key) = (&mut Reader(bytes), Vec::new());
        let mut row = self.blocks[block].first_row;
        for at in 0..count {
            read_key(reader, &mut key)?;
            let next = row.checked_add(reader.varint()?).filter(|next| *next <= end)?;
            each(&key, block * BLOCK_SERIES + at, row..next);
            row = next;
        }
        (row == end && reader.0.is_empty()).then_some(())
    }
}

/// The series of version 1, one list of keys with their first rows, in today's form.
pub(super) fn decode_v1(bytes: &[u8], rows: u64) -> Option<(Vec<u8>, Directory)> {
    let reader = &mut Reader(bytes);
    let mut builder = SeriesBuilder::default();
    let (mut key, mut row) = (Vec::new(), 0u64);
    let mut last: Option<(SeriesKey, u64)> = None;
    for _ in 0..reader.varint()? {
        read_key(reader, &mut key)?;
        row = row.checked_add(reader.varint()?).filter(|row| *row < rows)?;
        if let Some((key, first)) = last.replace((SeriesKey::from_bytes(&key)?, row)) {
            builder.push(&key, row - first);
        }
    }
    if let Some((key, first)) = last {
        builder.push(&key, rows - first);
    }
    Some(builder.finish())
}

fn put_key(out: &mut Vec<u8>, before: &[u8], key: &[u8]) {
    let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
    put_varint(out, shared as u64);
    put_varint(out, (key.len() - shared) as u64);
    out.extend_from_slice(&key[shared..]);
}

/// Makes the key before the next one.
fn read_key(reader: &mut Reader<'_>, key: &mut Vec<u8>) -> Option<()> {
    let (shared, length) = (reader.size()?, reader.size()?);
    (shared <= key.len()).then_some(())?;
    key.truncate(shared);
    key.extend_from_slice(reader.bytes(length)?);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use oribi_model::TagPredicate;

    fn key(site: &str, device: u64) -> SeriesKey {
        SeriesKey::from_tags([(ColumnId(1), site), (ColumnId(2), format!("d{device:05}").as_str())])
    }

    type Series = Vec<(SeriesKey, Range<u64>)>;

    fn built() -> (Vec<u8>, Directory, Series) {
        let (mut builder, mut all, mut row) = (SeriesBuilder::default(), Vec::new(), 0);
        for site in ["north", "south"] {
            for device in 0..700 {
                let (key, rows) = (key(site, device), device % 5 + 1);
                builder.push(&key, rows - rows / 2);
                if rows / 2 > 0 {
                    builder.push(&key, rows / 2);
                }
                all.push((key, row..row + rows));
                row += rows;
            }
        }
        let (blocks, directory) = builder.finish();
        let bytes = directory.encode(99);
        assert_eq!(Directory::decode(&bytes, row), Some((99, directory.clone())));
        (blocks, directory, all)
    }

    fn found(wanted: &SeriesFilter) -> (Series, usize) {
        let (blocks, directory, _) = built();
        let (mut found, mut walked) = (Vec::new(), 0);
        for (range, prefix) in directory.places(wanted) {
            for block in range {
                let (offset, extent) = directory.extent(block);
                let bytes = &blocks[offset as usize..][..extent.bytes as usize];
                walked += 1;
                let walk = directory.walk(block, bytes, |key, _, rows| {
                    if key.starts_with(&prefix) {
                        found.push((SeriesKey::from_bytes(key).unwrap(), rows));
                    }
                });
                walk.unwrap();
            }
        }
        (found, walked)
    }

    #[test]
    fn all_series_come_back_and_one_is_found_in_one_block() {
        let (_, directory, all) = built();
        assert_eq!(directory.series, all.len());
        assert_eq!(found(&SeriesFilter::All).0, all);
        for (key, rows) in [&all[0], &all[255], &all[256], &all[700], &all[1_399]] {
            let tags = key.tags().map(|(tag, value)| TagPredicate::Equal(tag, value.into()));
            let wanted = SeriesFilter::of(TagPredicate::And(tags.collect()), None);
            let (found, walked) = found(&wanted);
            assert_eq!(found, [(key.clone(), rows.clone())]);
            assert!(walked <= 2, "{walked} blocks");
        }
    }

    #[test]
    fn a_leading_tag_narrows_and_an_unknown_one_finds_nothing() {
        let (_, _, all) = built();
        let equal = |tag, value: &str| {
            SeriesFilter::of(TagPredicate::Equal(ColumnId(tag), value.into()), None)
        };
        let (south, walked) = found(&equal(1, "south"));
        assert_eq!(south, all[700..]);
        assert_eq!(walked, 4);
        assert!(found(&equal(1, "east")).0.is_empty());
        assert_eq!(found(&equal(3, "south")), (Vec::new(), 0));
        assert_eq!(found(&equal(2, "d00007")).1, 6, "what no leading tag names is looked for");
    }

    #[test]
    fn a_block_whose_rows_do_not_add_up_is_refused() {
        let (blocks, directory, _) = built();
        let (_, extent) = directory.extent(0);
        let block = &blocks[..extent.bytes as usize];
        assert!(directory.walk(0, &block[..block.len() - 1], |_, _, _| {}).is_none());
        let mut more = block.to_vec();
        *more.last_mut().unwrap() += 1;
        assert!(directory.walk(0, &more, |_, _, _| {}).is_none());
    }
}
