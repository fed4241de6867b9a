//! Writes a segment from blocks in scan order, one chunk in memory at a time.

use super::{
    CHUNK_BYTES, CHUNK_ROWS, CHUNK_TEXT_BYTES, END_MAGIC, FORMAT_VERSION, MAGIC, PAGE_ROWS,
    PAGE_TEXT_BYTES,
    index::{Index, SECTION_DIRECTORY, SECTION_PAGES},
    layout::Layout,
    page,
    series::SeriesBuilder,
};
use crate::{
    Error, Result,
    disk::DiskFile,
    gather::concat,
    page_cache::{Cells, Numbers, Page, PageCache, PageKey},
    text,
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
    series: SeriesBuilder,
    /// Rows of each page written, and pages of each chunk.
    page_rows: Vec<usize>,
    chunk_pages: Vec<usize>,
    chunk_rows_max: usize,
    held: Vec<Block>,
    held_rows: usize,
    held_text_bytes: usize,
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
        const CELL_BYTES: usize = 8;
        let page_bytes = PAGE_ROWS * CELL_BYTES * (columns.len() + 1);
        let chunk_rows_max = (CHUNK_BYTES / page_bytes * PAGE_ROWS).clamp(PAGE_ROWS, CHUNK_ROWS);
        let chunks = vec![Vec::new(); columns.len() + 1];
        let mut writer = SegmentWriter {
            file,
            path: path.to_owned(),
            offset: 0,
            index: Index { columns, chunks, ..Index::default() },
            series: SeriesBuilder::default(),
            page_rows: Vec::new(),
            chunk_pages: Vec::new(),
            chunk_rows_max,
            held: Vec::new(),
            held_rows: 0,
            held_text_bytes: 0,
            kept,
        };
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
        for run in &block.runs {
            self.series.push(&run.series, run.rows as u64);
        }
        self.held_rows += block.rows();
        self.held_text_bytes += text::text_bytes(&block.columns, 0..block.rows());
        self.held.push(Block { runs: Vec::new(), ..block });
        while self.held_rows >= self.chunk_rows_max || self.held_text_bytes >= CHUNK_TEXT_BYTES {
            self.write_chunk()?;
        }
        Ok(())
    }

    /// Writes the rest, the indexes and the footer, and gives the file, which is not durable yet,
    /// and its length.
    pub(crate) fn finish(mut self) -> Result<(Box<dyn DiskFile>, u64)> {
        while self.held_rows > 0 {
            self.write_chunk()?;
        }
        let layout = Layout::of(&self.page_rows, &self.chunk_pages);
        self.index.layout = layout.expect("pages are cut within their bounds");
        let (blocks, directory) = std::mem::take(&mut self.series).finish();
        let blocks_at = self.offset;
        self.append(&blocks)?;
        let mut footer = Vec::new();
        let sections = [
            (SECTION_PAGES, self.index.encode()),
            (SECTION_DIRECTORY, directory.encode(blocks_at)),
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

    /// Takes the first rows held out, as many as a chunk may have.
    fn take_chunk(&mut self) -> Vec<Block> {
        let (mut rows_left, mut text_left) = (self.chunk_rows_max, CHUNK_TEXT_BYTES);
        let (mut chunk, mut rest) = (Vec::new(), Vec::new());
        for block in std::mem::take(&mut self.held) {
            if rows_left == 0 || text_left == 0 {
                rest.push(block);
                continue;
            }
            let rows = block.rows().min(rows_left);
            let rows = text::rows_until(&block.columns, 0..rows, text_left);
            let text = text::text_bytes(&block.columns, 0..rows);
            (rows_left, text_left) = (rows_left - rows, text_left.saturating_sub(text));
            self.held_rows -= rows;
            self.held_text_bytes -= text;
            chunk.push(slice(&block, 0, rows));
            if rows < block.rows() {
                rest.push(slice(&block, rows, block.rows() - rows));
                rows_left = 0;
            }
        }
        self.held = rest;
        chunk
    }

    fn write_chunk(&mut self) -> Result<()> {
        let parts = self.take_chunk();
        let times: Vec<i64> = parts.iter().flat_map(|part| part.times.iter().copied()).collect();
        let column = |(at, (_, column_type)): (usize, &(ColumnId, ColumnType))| {
            let columns: Vec<_> = parts.iter().map(|part| part.columns[at].clone()).collect();
            concat(*column_type, &columns)
        };
        let columns: Vec<ColumnValues> =
            self.index.columns.iter().enumerate().map(column).collect();
        drop(parts);
        let pages = cut_pages(&columns, times.len());
        for page in &pages {
            let page = &times[page.clone()];
            let least = page.iter().copied().min().unwrap_or_default();
            self.index.page_times.push((least, page.iter().copied().max().unwrap_or_default()));
        }
        self.keep(None, &pages, |page| Page::Times(Numbers::of(&times[page])));
        let mut out = Vec::new();
        let mut chunk = page::encode_times(&times, &pages, &mut out);
        chunk.offset += self.offset;
        self.index.chunks[0].push(chunk);
        for (at, cells) in columns.iter().enumerate() {
            self.keep(Some(at), &pages, |page| {
                Page::Cells(Cells::of(&cells.slice(page.start, page.len())))
            });
            let mut chunk = page::encode(cells, &pages, &mut out);
            chunk.offset += self.offset;
            self.index.chunks[at + 1].push(chunk);
        }
        self.page_rows.extend(pages.iter().map(Range::len));
        self.chunk_pages.push(pages.len());
        self.append(&out)
    }

    /// Keeps the pages of a column of the next chunk; `part` gives a page by its rows in it.
    fn keep(
        &self,
        column: Option<usize>,
        pages: &[Range<usize>],
        part: impl Fn(Range<usize>) -> Page,
    ) {
        let Some(Kept { cache, number }) = &self.kept else { return };
        let first = self.page_rows.len();
        cache.put(
            pages
                .iter()
                .enumerate()
                .map(|(at, rows)| (PageKey::new(*number, column, first + at), part(rows.clone()))),
        );
    }
}

/// Cuts the rows of a chunk into pages.
fn cut_pages(columns: &[ColumnValues], rows: usize) -> Vec<Range<usize>> {
    let (mut pages, mut at) = (Vec::new(), 0);
    while at < rows {
        let most = at..rows.min(at + PAGE_ROWS);
        let end = at + text::rows_until(columns, most, PAGE_TEXT_BYTES);
        pages.push(at..end);
        at = end;
    }
    pages
}

fn slice(block: &Block, start: usize, rows: usize) -> Block {
    Block {
        runs: Vec::new(),
        times: block.times.slice(start, rows),
        columns: block.columns.iter().map(|column| column.slice(start, rows)).collect(),
    }
}
