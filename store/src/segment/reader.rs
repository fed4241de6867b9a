//! Opens segments and reads pages, believing nothing before its checksum was verified.

use super::{
    CHUNK_PAGES, END_MAGIC, FORMAT_VERSION, HEADER_BYTES, MAGIC, PAGE_ROWS, TRAILER_BYTES,
    index::{Chunk, Extent, Index, SECTION_PAGES, SECTION_SERIES},
    page,
};
use crate::{
    Error, Result,
    bits::Reader,
    disk::Disk,
    open_files::{FileOnDemand, OpenFiles},
    page_cache::PageKey,
};
use arrow_buffer::ScalarBuffer;
use oribi_model::{ColumnId, ColumnType, ColumnValues, SeriesKey, TabletId, TabletSpec};
use std::{
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// An open segment: its indexes in memory, its pages on disk.
pub(crate) struct Segment {
    number: u64,
    file: FileOnDemand,
    index: Index,
    /// Whether a read found bytes that are not what was written, or none.
    damaged: AtomicBool,
}

impl Segment {
    /// Opens a segment whose pages are kept under `number`.
    pub(crate) fn open(
        disk: Arc<dyn Disk>,
        files: Arc<OpenFiles>,
        path: &Path,
        spec: &TabletSpec,
        number: u64,
    ) -> Result<Segment> {
        let file = FileOnDemand::new(disk, files, path.to_owned(), number);
        let length = file.get()?.len().map_err(Error::io("measure", path))?;
        let damaged = AtomicBool::new(false);
        let mut segment = Segment { number, file, index: Index::default(), damaged };
        if length < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(segment.corrupt(0, "the file is too short for a segment"));
        }
        segment.check_header(spec)?;
        let trailer = segment.read(length - TRAILER_BYTES as u64, TRAILER_BYTES)?;
        let footer_bytes = u32::from_le_bytes([trailer[8], trailer[9], trailer[10], trailer[11]]);
        let tail = TRAILER_BYTES as u64 + u64::from(footer_bytes);
        if trailer[16..] != END_MAGIC || trailer[..8] != length.to_le_bytes() || tail > length {
            return Err(segment.corrupt(length, "the file was cut short or has no end mark"));
        }
        let footer = segment.read(length - tail, tail as usize)?;
        let crc_at = footer.len() - 12;
        if crc32c::crc32c(&footer[..crc_at]).to_le_bytes() != footer[crc_at..crc_at + 4] {
            return Err(segment.corrupt(length - tail, "the footer's checksum differs"));
        }
        segment.read_index(&footer[..footer_bytes as usize], length - tail)?;
        Ok(segment)
    }

    /// The key under which a page of a column (`None`: the times) is kept.
    pub(crate) fn key(&self, column: Option<usize>, page: usize) -> PageKey {
        PageKey::new(self.number, column, page)
    }

    /// The keys of all pages.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PageKey> {
        let (number, pages) = (self.number, self.index.pages());
        let columns = std::iter::once(None).chain((0..self.index.columns.len()).map(Some));
        columns
            .flat_map(move |column| (0..pages).map(move |page| PageKey::new(number, column, page)))
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether a read has met damage: no merge need try again.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Lets those who read the segment go on after its file has lost its name.
    pub(crate) fn pin(&self) -> Result<()> {
        self.file.pin()
    }

    /// Keys in ascending order, each with its first row.
    pub(crate) fn series(&self) -> &[(SeriesKey, u64)] {
        &self.index.series
    }

    /// The rows of series `at`.
    pub(crate) fn series_rows(&self, at: usize) -> Range<u64> {
        let end = self.index.series.get(at + 1).map_or(self.index.rows, |(_, row)| *row);
        self.index.series[at].1..end
    }

    pub(crate) fn rows(&self) -> u64 {
        self.index.rows
    }

    pub(crate) fn columns(&self) -> &[(ColumnId, ColumnType)] {
        &self.index.columns
    }

    /// Smallest and largest time of each page.
    pub(crate) fn page_times(&self) -> &[(i64, i64)] {
        &self.index.page_times
    }

    /// The times of pages of one chunk.
    pub(crate) fn read_times(&self, pages: Range<usize>) -> Result<ScalarBuffer<i64>> {
        let chunk = &self.index.chunks[0][pages.start / CHUNK_PAGES];
        let (bytes, offset) = self.read_pages(chunk, &pages)?;
        let (mut at, mut times) = (0, Vec::with_capacity(pages.len() * PAGE_ROWS));
        for page in pages {
            let end = at + chunk.pages[page % CHUNK_PAGES].bytes as usize;
            page::decode_times(&bytes[at..end], self.page_rows(page), &mut times)
                .ok_or_else(|| self.corrupt(offset, "a page of times does not decode"))?;
            at = end;
        }
        Ok(times.into())
    }

    /// The cells of pages of one chunk; `column` counts in [`Segment::columns`].
    pub(crate) fn read_column(&self, column: usize, pages: Range<usize>) -> Result<ColumnValues> {
        let chunk = &self.index.chunks[column + 1][pages.start / CHUNK_PAGES];
        let head = self.read(chunk.offset, chunk.head.bytes as usize)?;
        self.check(&head, chunk.head, chunk.offset)?;
        let (bytes, offset) = self.read_pages(chunk, &pages)?;
        let (mut rest, mut parts) = (&bytes[..], Vec::with_capacity(pages.len()));
        for page in pages {
            let (bytes, after) = rest.split_at(chunk.pages[page % CHUNK_PAGES].bytes as usize);
            parts.push((bytes, self.page_rows(page)));
            rest = after;
        }
        page::decode(chunk.encoding, self.index.columns[column].1, &head, &parts)
            .ok_or_else(|| self.corrupt(offset, "a page does not decode"))
    }

    /// Reads and decodes everything.
    pub(crate) fn verify(&self) -> Result<()> {
        for page in 0..self.index.pages() {
            self.read_times(page..page + 1)?;
            for column in 0..self.index.columns.len() {
                self.read_column(column, page..page + 1)?;
            }
        }
        Ok(())
    }

    fn page_rows(&self, page: usize) -> usize {
        PAGE_ROWS.min(self.index.rows as usize - page * PAGE_ROWS)
    }

    fn read_pages(&self, chunk: &Chunk, pages: &Range<usize>) -> Result<(Vec<u8>, u64)> {
        let first = pages.start % CHUNK_PAGES;
        let wanted = &chunk.pages[first..first + pages.len()];
        let before: u64 = chunk.pages[..first].iter().map(|page| u64::from(page.bytes)).sum();
        let offset = chunk.offset + u64::from(chunk.head.bytes) + before;
        let bytes = self.read(offset, wanted.iter().map(|page| page.bytes as usize).sum())?;
        let mut at = 0;
        for page in wanted {
            let end = at + page.bytes as usize;
            self.check(&bytes[at..end], *page, offset + at as u64)?;
            at = end;
        }
        Ok((bytes, offset))
    }

    fn check(&self, bytes: &[u8], extent: Extent, offset: u64) -> Result<()> {
        if !bytes.is_empty() && crc32c::crc32c(bytes) != extent.crc {
            return Err(self.corrupt(offset, "a block's checksum differs"));
        }
        Ok(())
    }

    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        if length > 0 {
            self.file.get()?.read_at(&mut bytes, offset).map_err(|error| {
                self.damaged.store(true, Ordering::Relaxed);
                Error::io("read", self.path())(error)
            })?;
        }
        Ok(bytes)
    }

    fn check_header(&self, spec: &TabletSpec) -> Result<()> {
        let header = self.read(0, HEADER_BYTES)?;
        let reader = &mut Reader(&header);
        let magic = reader.bytes(8).is_some_and(|magic| magic == MAGIC);
        let (version, tablet) = (reader.u32().unwrap_or(0), reader.u64().unwrap_or(0));
        let crc = crc32c::crc32c(&header[..HEADER_BYTES - 4]).to_le_bytes();
        if !magic || crc != header[HEADER_BYTES - 4..] {
            return Err(self.corrupt(0, "the header is not that of a segment"));
        }
        if version > FORMAT_VERSION {
            let (path, found, known) = (self.path().to_owned(), version, FORMAT_VERSION);
            return Err(Error::FutureFormat { path, found, known });
        }
        if tablet != spec.id.0 {
            let (path, found) = (self.path().to_owned(), TabletId(tablet));
            return Err(Error::WrongTablet { path, found, expected: spec.id });
        }
        Ok(())
    }

    fn read_index(&mut self, footer: &[u8], end: u64) -> Result<()> {
        let (mut pages, mut series) = (Vec::new(), Vec::new());
        let reader = &mut Reader(footer);
        while let (Some(kind), Some(offset), Some(length), Some(crc)) =
            (reader.u32(), reader.u64(), reader.u64(), reader.u32())
        {
            let target = match kind {
                SECTION_PAGES => &mut pages,
                SECTION_SERIES => &mut series,
                _ => continue,
            };
            if offset.checked_add(length).is_none_or(|last| last > end) {
                return Err(self.corrupt(offset, "a section lies outside the file"));
            }
            let bytes = self.read(offset, length as usize)?;
            self.check(&bytes, Extent { bytes: length as u32, crc }, offset)?;
            *target = bytes;
        }
        self.index = Index::decode(&pages, &series)
            .ok_or_else(|| self.corrupt(end, "the indexes do not decode"))?;
        Ok(())
    }

    fn corrupt(&self, offset: u64, reason: &str) -> Error {
        self.damaged.store(true, Ordering::Relaxed);
        Error::Corrupt { path: self.path().to_owned(), offset, reason: reason.to_owned() }
    }
}
