//! Opens segments and reads pages, believing nothing before its checksum was verified.

use super::{
    END_MAGIC, FORMAT_VERSION, HEADER_BYTES, MAGIC, PAGE_ROWS, TRAILER_BYTES,
    damage::Damage,
    index::{Chunk, Extent, Index, SECTION_DIRECTORY, SECTION_PAGES, SECTION_SERIES_V1},
    page,
    series::{self, Directory},
};
use crate::{
    Error, Result,
    bits::Reader,
    checksum,
    disk::Disk,
    open_files::{FileOnDemand, OpenFiles},
    page_cache::{Page, PageCache, PageKey},
};
use arrow_buffer::ScalarBuffer;
use oribi_model::{
    ColumnId, ColumnType, ColumnValues, SeriesDigests, SeriesFilter, TabletId, TabletSpec,
};
use std::{
    ops::Range,
    path::Path,
    sync::{Arc, OnceLock},
};

/// An open segment: its index and the directory of its series in memory, the rest on disk.
pub(crate) struct Segment {
    number: u64,
    pub(super) file: FileOnDemand,
    /// Length of the file.
    pub(super) length: u64,
    version: u32,
    pub(super) index: Index,
    pub(super) series: Directory,
    blocks: SeriesBlocks,
    /// The checksum of the whole file, once it was computed.
    pub(super) whole: OnceLock<u32>,
    pub(super) damage: Damage,
}

/// Where the blocks of series are.
enum SeriesBlocks {
    /// In the file, from this offset on.
    File(u64),
    /// Of version 1, whose keys were one list: here.
    Memory(Vec<u8>),
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
        let mut segment = Segment {
            number,
            file,
            length,
            version: FORMAT_VERSION,
            index: Index::default(),
            series: Directory::default(),
            blocks: SeriesBlocks::File(0),
            whole: OnceLock::new(),
            damage: Damage::default(),
        };
        if length < (HEADER_BYTES + TRAILER_BYTES) as u64 {
            return Err(segment.corrupt(0, "the file is too short for a segment"));
        }
        segment.check_header(spec)?;
        let (footer, end) = segment.read_footer()?;
        segment.read_index(&footer, end)?;
        Ok(segment)
    }

    /// The footer without what follows it, and where it begins.
    fn read_footer(&self) -> Result<(Vec<u8>, u64)> {
        let length = self.length;
        let trailer = self.read(length - TRAILER_BYTES as u64, TRAILER_BYTES)?;
        let footer_bytes = u32::from_le_bytes([trailer[8], trailer[9], trailer[10], trailer[11]]);
        let tail = TRAILER_BYTES as u64 + u64::from(footer_bytes);
        if trailer[16..] != END_MAGIC || trailer[..8] != length.to_le_bytes() || tail > length {
            return Err(self.corrupt(length, "the file was cut short or has no end mark"));
        }
        let mut footer = self.read(length - tail, tail as usize)?;
        let crc_at = footer.len() - 12;
        let (covered, rest) = footer.split_at(crc_at);
        let found = Reader(rest).u32().unwrap_or_default();
        if !checksum::agree(found, crc32c::crc32c(covered)) {
            return Err(self.corrupt(length - tail, "the footer's checksum differs"));
        }
        footer.truncate(footer_bytes as usize);
        Ok((footer, length - tail))
    }

    /// Reads once more what is held of the file while it is open, and compares its checksums.
    pub(super) fn check_frame(&self) -> Result<()> {
        let header = self.read(0, HEADER_BYTES)?;
        let (covered, rest) = header.split_at(HEADER_BYTES - 4);
        let found = Reader(rest).u32().unwrap_or_default();
        if !checksum::agree(found, crc32c::crc32c(covered)) {
            return Err(self.corrupt(0, "the header's checksum differs"));
        }
        let (footer, end) = self.read_footer()?;
        let reader = &mut Reader(&footer);
        while let (Some(_), Some(offset), Some(length), Some(crc)) =
            (reader.u32(), reader.u64(), reader.u64(), reader.u32())
        {
            if offset.checked_add(length).is_none_or(|last| last > end) {
                return Err(self.corrupt(offset, "a section lies outside the file"));
            }
            let bytes = self.read(offset, length as usize)?;
            self.check(&bytes, Extent { bytes: length as u32, crc }, offset)?;
        }
        Ok(())
    }

    /// The key under which a page of a column (`None`: the times) is kept.
    pub(crate) fn key(&self, column: Option<usize>, page: usize) -> PageKey {
        PageKey::new(self.number, column, page)
    }

    /// The key under which the last cells of all series of a column (`None`: their times) are kept.
    pub(crate) fn key_of_last(&self, column: Option<usize>) -> PageKey {
        PageKey::last(self.number, column)
    }

    /// The keys of all that a cache may hold of it.
    pub(crate) fn keys(&self) -> impl Iterator<Item = PageKey> {
        let (number, pages) = (self.number, self.pages());
        let columns = std::iter::once(None).chain((0..self.index.columns.len()).map(Some));
        let series = (0..self.series.blocks()).map(move |block| PageKey::series(number, block));
        let of_column = move |column| {
            let pages = (0..pages).map(move |page| PageKey::new(number, column, page));
            pages.chain([PageKey::last(number, column)])
        };
        columns.flat_map(of_column).chain(series).chain([PageKey::digests(number)])
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Whether a read has met damage: no merge need try again.
    pub(crate) fn is_damaged(&self) -> bool {
        self.damage.is_there()
    }

    /// Lets those who read the segment go on after its file has lost its name.
    pub(crate) fn pin(&self) -> Result<()> {
        self.file.pin()
    }

    pub(crate) fn series_count(&self) -> usize {
        self.series.series
    }

    /// Calls `each` with the key, the number and the rows of every series that may be wanted, in
    /// ascending order.
    pub(crate) fn find_series(
        &self,
        wanted: &SeriesFilter,
        cache: Option<&PageCache>,
        mut each: impl FnMut(&[u8], usize, Range<u64>),
    ) -> Result<()> {
        for (blocks, prefix) in self.series.places(wanted) {
            for block in blocks {
                let bytes = self.read_series(block, cache)?;
                let walk = self.series.walk(block, &bytes, |key, number, rows| {
                    if key.starts_with(&prefix) && wanted.may_want(key) {
                        each(key, number, rows);
                    }
                });
                walk.ok_or_else(|| {
                    let from = if let SeriesBlocks::File(from) = self.blocks { from } else { 0 };
                    let offset = from + self.series.extent(block).0;
                    self.corrupt(offset, "a block of series does not decode")
                })?;
            }
        }
        Ok(())
    }

    /// Whether it is known that no series is wanted, without a look at each; never where the
    /// digests of its series are too many to be kept.
    pub(crate) fn has_none_of(
        &self,
        wanted: &SeriesFilter,
        cache: Option<&PageCache>,
    ) -> Result<bool> {
        const SERIES_MAX: usize = 1 << 16;
        let (SeriesFilter::Except(others), Some(cache)) = (wanted, cache) else { return Ok(false) };
        if self.series_count() > SERIES_MAX.min(others.len()) {
            return Ok(false);
        }
        let key = PageKey::digests(self.number);
        let digests = match cache.get(key) {
            Some(Page::Digests(digests)) => digests,
            _ => {
                let mut keys: Vec<Box<[u8]>> = Vec::with_capacity(self.series_count());
                let each = |key: &[u8], _, _| keys.push(key.into());
                self.find_series(&SeriesFilter::All, Some(cache), each)?;
                let digests = SeriesDigests::of(keys.iter().map(|key| &**key));
                cache.put([(key, Page::Digests(digests.clone()))]);
                digests
            }
        };
        Ok(digests.are_within(others))
    }

    /// The error about a key that is none.
    pub(crate) fn wrong_key(&self, row: u64) -> Error {
        self.corrupt(0, &format!("the series of row {row} has no legal key"))
    }

    pub(crate) fn rows(&self) -> u64 {
        self.index.layout.rows()
    }

    pub(crate) fn pages(&self) -> usize {
        self.index.layout.pages()
    }

    /// The page of a row.
    pub(crate) fn page_of(&self, row: u64) -> usize {
        self.index.layout.page_of(row)
    }

    pub(crate) fn page_rows(&self, page: usize) -> Range<u64> {
        self.index.layout.page_rows(page)
    }

    /// The pages that follow one another in the chunk of a page, from that one on.
    pub(crate) fn rest_of_chunk(&self, page: usize) -> Range<usize> {
        let layout = &self.index.layout;
        page..layout.chunk_pages(layout.chunk_of(page)).end
    }

    /// Whether a page ends before it holds much text, so that several fit into memory.
    pub(crate) fn bounds_text(&self) -> bool {
        self.version > 1
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
        let (chunk, first) = self.chunk(0, pages.start);
        let (bytes, offset) = self.read_pages(chunk, first, pages.len())?;
        let (mut at, mut times) = (0, Vec::with_capacity(pages.len() * PAGE_ROWS));
        for (page, extent) in pages.zip(&chunk.pages[first..]) {
            let end = at + extent.bytes as usize;
            page::decode_times(&bytes[at..end], self.rows_of(page), &mut times)
                .ok_or_else(|| self.corrupt(offset, "a page of times does not decode"))?;
            at = end;
        }
        Ok(times.into())
    }

    /// The cells of pages of one chunk; `column` counts in [`Segment::columns`].
    pub(crate) fn read_column(&self, column: usize, pages: Range<usize>) -> Result<ColumnValues> {
        let (chunk, first) = self.chunk(column + 1, pages.start);
        let head = self.read(chunk.offset, chunk.head.bytes as usize)?;
        self.check(&head, chunk.head, chunk.offset)?;
        let (bytes, offset) = self.read_pages(chunk, first, pages.len())?;
        let (mut rest, mut parts) = (&bytes[..], Vec::with_capacity(pages.len()));
        for (page, extent) in pages.zip(&chunk.pages[first..]) {
            let (bytes, after) = rest.split_at(extent.bytes as usize);
            parts.push((bytes, self.rows_of(page)));
            rest = after;
        }
        page::decode(chunk.encoding, self.index.columns[column].1, &head, &parts)
            .ok_or_else(|| self.corrupt(offset, "a page does not decode"))
    }

    /// Reads and decodes everything.
    pub(crate) fn verify(&self) -> Result<()> {
        for page in 0..self.pages() {
            self.read_times(page..page + 1)?;
            for column in 0..self.index.columns.len() {
                self.read_column(column, page..page + 1)?;
            }
        }
        let mut last: Option<Vec<u8>> = None;
        let mut sorted = true;
        self.find_series(&SeriesFilter::All, None, |key, _, _| {
            sorted &= last.as_ref().is_none_or(|last| last[..] < *key);
            last = Some(key.to_vec());
        })?;
        match sorted {
            true => Ok(()),
            false => Err(self.corrupt(0, "the series are not in order")),
        }
    }

    /// The chunk of a column (0: the times) that a page is in, and the page's place in it.
    fn chunk(&self, column: usize, page: usize) -> (&Chunk, usize) {
        let layout = &self.index.layout;
        let chunk = layout.chunk_of(page);
        (&self.index.chunks[column][chunk], page - layout.chunk_pages(chunk).start)
    }

    fn rows_of(&self, page: usize) -> usize {
        let rows = self.page_rows(page);
        (rows.end - rows.start) as usize
    }

    pub(super) fn read_series(&self, block: usize, cache: Option<&PageCache>) -> Result<Arc<[u8]>> {
        let (offset, extent) = self.series.extent(block);
        let from = match &self.blocks {
            SeriesBlocks::File(from) => from + offset,
            SeriesBlocks::Memory(bytes) => {
                return Ok(bytes[offset as usize..][..extent.bytes as usize].into());
            }
        };
        let key = PageKey::series(self.number, block);
        if let Some(Page::Series(bytes)) = cache.and_then(|cache| cache.get(key)) {
            return Ok(bytes);
        }
        let bytes = self.read(from, extent.bytes as usize)?;
        self.check(&bytes, extent, from)?;
        let bytes: Arc<[u8]> = bytes.into();
        if let Some(cache) = cache {
            cache.put([(key, Page::Series(bytes.clone()))]);
        }
        Ok(bytes)
    }

    pub(super) fn read_pages(
        &self,
        chunk: &Chunk,
        first: usize,
        pages: usize,
    ) -> Result<(Vec<u8>, u64)> {
        let wanted = &chunk.pages[first..first + pages];
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

    pub(super) fn check(&self, bytes: &[u8], extent: Extent, offset: u64) -> Result<()> {
        if !bytes.is_empty() && !checksum::agree(extent.crc, crc32c::crc32c(bytes)) {
            return Err(self.corrupt(offset, "a block's checksum differs"));
        }
        Ok(())
    }

    pub(super) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            return Err(self.corrupt(offset, "what is to be read lies outside the file"));
        }
        let mut bytes = vec![0; length];
        if length > 0 {
            self.file.get()?.read_at(&mut bytes, offset).map_err(|error| {
                self.damage.note();
                Error::io("read", self.path())(error)
            })?;
        }
        Ok(bytes)
    }

    fn check_header(&mut self, spec: &TabletSpec) -> Result<()> {
        let header = self.read(0, HEADER_BYTES)?;
        let reader = &mut Reader(&header);
        let magic = reader.bytes(8).is_some_and(|magic| magic == MAGIC);
        let (version, tablet) = (reader.u32().unwrap_or(0), reader.u64().unwrap_or(0));
        let (covered, rest) = header.split_at(HEADER_BYTES - 4);
        let found = Reader(rest).u32().unwrap_or_default();
        if !magic || !checksum::agree(found, crc32c::crc32c(covered)) {
            return Err(self.corrupt(0, "the header is not that of a segment"));
        }
        if version > FORMAT_VERSION {
            let (path, found, known) = (self.path().to_owned(), version, FORMAT_VERSION);
            return Err(Error::FutureFormat { path, found, known });
        }
        self.version = version;
        if tablet != spec.id.0 {
            let (path, found) = (self.path().to_owned(), TabletId(tablet));
            return Err(Error::WrongTablet { path, found, expected: spec.id });
        }
        Ok(())
    }

    fn read_index(&mut self, footer: &[u8], end: u64) -> Result<()> {
        let (mut pages, mut series) = (Vec::new(), Vec::new());
        let series_kind = if self.version == 1 { SECTION_SERIES_V1 } else { SECTION_DIRECTORY };
        let reader = &mut Reader(footer);
        while let (Some(kind), Some(offset), Some(length), Some(crc)) =
            (reader.u32(), reader.u64(), reader.u64(), reader.u32())
        {
            let target = match kind {
                SECTION_PAGES => &mut pages,
                kind if kind == series_kind => &mut series,
                _ => continue,
            };
            if offset.checked_add(length).is_none_or(|last| last > end) {
                return Err(self.corrupt(offset, "a section lies outside the file"));
            }
            let bytes = self.read(offset, length as usize)?;
            self.check(&bytes, Extent { bytes: length as u32, crc }, offset)?;
            *target = bytes;
        }
        let wrong = || self.corrupt(end, "the indexes do not decode");
        let index = Index::decode(&pages, self.version).ok_or_else(wrong)?;
        let rows = index.layout.rows();
        let (blocks, directory) = if self.version == 1 {
            let (bytes, directory) = series::decode_v1(&series, rows).ok_or_else(wrong)?;
            (SeriesBlocks::Memory(bytes), directory)
        } else {
            let (from, directory) = Directory::decode(&series, rows).ok_or_else(wrong)?;
            let fits = from.checked_add(directory.bytes()).is_some_and(|last| last <= end);
            (SeriesBlocks::File(from), fits.then_some(directory).ok_or_else(wrong)?)
        };
        (self.index, self.series, self.blocks) = (index, directory, blocks);
        Ok(())
    }

    fn corrupt(&self, offset: u64, reason: &str) -> Error {
        self.damage.note();
        Error::Corrupt { path: self.path().to_owned(), offset, reason: reason.to_owned() }
    }
}
