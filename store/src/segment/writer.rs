//! Writes a segment from blocks in scan order, one chunk in memory at a time.

use super::{
    CHUNK_ROWS, END_MAGIC, FORMAT_VERSION, MAGIC, PAGE_ROWS,
    index::{Index, SECTION_PAGES, SECTION_SERIES},
    page,
};
use crate::{
    Error, Result,
    disk::DiskFile,
    gather::concat,
    page_cache::{Cells, Numbers, Page, PageCache, PageKey},
};
use oribi_model::{Block, ColumnId, ColumnType, ColumnValues, TabletSpec};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) struct SegmentWriter {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    offset: u64,
    index: Index,
    held: Vec<Block>,
    held_rows: usize,
    kept: Option<Kept>,
}

/// Where pages stay as they are written, since the newest rows are those asked for most.
pub(crate) struct Kept {
    pub(crate) cache: Arc<PageCache>,
    /// The segment's number in it.
    pub(crate) number: u64,
}

impl SegmentWriter {
    /// Begins a segment in an empty file.
    pub(crate) fn new(
        file: Box<dyn DiskFile>,
        path: &Path,
        spec: &TabletSpec,
        columns: Vec<(ColumnId, ColumnType)>,
        kept: Option<Kept>,
    ) -> Result<SegmentWriter> {
        let chunks = vec![Vec::new(); columns.len() + 1];
        let index = Index { columns, chunks, ..Index::default() };
        let (path, held) = (path.to_owned(), Vec::new());
        let mut writer = SegmentWriter { file, path, offset: 0, index, held, held_rows: 0, kept };
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&spec.id.0.to_le_bytes());
        header.extend_from_slice(&spec.table.0.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        writer.append(&header)?;
        Ok(writer)
    }

    /// Adds rows; the columns are those given to `new`, in that order.
    pub(crate) fn push(&mut self, block: Block) -> Result<()> {
        let mut row = self.index.rows + self.held_rows as u64;
        for run in &block.runs {
            if self.index.series.last().is_none_or(|(last, _)| *last != run.series) {
                self.index.series.push((run.series.clone(), row));
            }
            row += run.rows as u64;
        }
        self.held_rows += block.rows();
        self.held.push(Block { runs: Vec::new(), ..block });
        if self.held_rows >= CHUNK_ROWS { self.write_chunks(CHUNK_ROWS) } else { Ok(()) }
    }

    /// Writes the rest, the indexes and the footer, and gives the file, which is not durable yet,
    /// and its length.
    pub(crate) fn finish(mut self) -> Result<(Box<dyn DiskFile>, u64)> {
        self.write_chunks(1)?;
        let mut footer = Vec::new();
        let sections = [
            (SECTION_PAGES, self.index.encode_pages()),
            (SECTION_SERIES, self.index.encode_series()),
        ];
        for (kind, bytes) in sections {
            footer.extend_from_slice(&kind.to_le_bytes());
            footer.extend_from_slice(&self.offset.to_le_bytes());
            footer.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
            footer.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
            self.append(&bytes)?;
        }
        let trailer_at = footer.len();
        footer.extend_from_slice(&(self.offset + trailer_at as u64 + 24).to_le_bytes());
        footer.extend_from_slice(&(trailer_at as u32).to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        footer.extend_from_slice(&END_MAGIC);
        self.append(&footer)?;
        Ok((self.file, self.offset))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_at(bytes, self.offset).map_err(Error::io("write", &self.path))?;
        self.offset += bytes.len() as u64;
        Ok(())
    }

    /// Writes chunks while at least `rows_min` rows are held.
    fn write_chunks(&mut self, rows_min: usize) -> Result<()> {
        let held = std::mem::take(&mut self.held);
        let mut start = 0;
        while self.held_rows >= rows_min {
            let rows = self.held_rows.min(CHUNK_ROWS);
            self.write_chunk(&held, start, rows)?;
            start += rows;
            self.held_rows -= rows;
        }
        let mut skipped = 0;
        for block in held {
            let skip = start.saturating_sub(skipped).min(block.rows());
            skipped += block.rows();
            if skip < block.rows() {
                self.held.push(slice(&block, skip, block.rows() - skip));
            }
        }
        Ok(())
    }

    fn write_chunk(&mut self, held: &[Block], start: usize, rows: usize) -> Result<()> {
        let (mut at, mut parts) = (0, Vec::new());
        for block in held {
            let from = start.clamp(at, at + block.rows());
            let to = (start + rows).clamp(at, at + block.rows());
            if from < to {
                parts.push(slice(block, from - at, to - from));
            }
            at += block.rows();
        }
        let times: Vec<i64> = parts.iter().flat_map(|part| part.times.iter().copied()).collect();
        for page in times.chunks(PAGE_ROWS) {
            let least = page.iter().copied().min().unwrap_or_default();
            self.index.page_times.push((least, page.iter().copied().max().unwrap_or_default()));
        }
        self.keep(None, rows, |page| Page::Times(Numbers::of(&times[page])));
        let mut out = Vec::new();
        let mut chunk = page::encode_times(&times, &mut out);
        chunk.offset += self.offset;
        self.index.chunks[0].push(chunk);
        for (at, (_, column_type)) in self.index.columns.iter().enumerate() {
            let columns: Vec<ColumnValues> =
                parts.iter().map(|part| part.columns[at].clone()).collect();
            let cells = concat(*column_type, &columns);
            self.keep(Some(at), rows, |page| {
                Page::Cells(Cells::of(&cells.slice(page.start, page.len())))
            });
            let mut chunk = page::encode(&cells, &mut out);
            chunk.offset += self.offset;
            self.index.chunks[at + 1].push(chunk);
        }
        self.index.rows += rows as u64;
        self.append(&out)
    }

    /// Keeps the pages of a column of the next chunk; `part` gives a page by its rows in it.
    fn keep(&self, column: Option<usize>, rows: usize, part: impl Fn(Range<usize>) -> Page) {
        let Some(Kept { cache, number }) = &self.kept else { return };
        let first = self.index.rows as usize / PAGE_ROWS;
        cache.put((0..rows).step_by(PAGE_ROWS).enumerate().map(|(at, start)| {
            let key = PageKey::new(*number, column, first + at);
            (key, part(start..rows.min(start + PAGE_ROWS)))
        }));
    }
}

fn slice(block: &Block, start: usize, rows: usize) -> Block {
    Block {
        runs: Vec::new(),
        times: block.times.slice(start, rows),
        columns: block.columns.iter().map(|column| column.slice(start, rows)).collect(),
    }
}
