//! A segment as a file: what somebody reads who takes it over as it is.

use super::Segment;
use crate::Result;

/// Bytes read at once.
const PIECE_BYTES: u64 = 1 << 20;

impl Segment {
    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.length
    }

    /// The CRC-32C of the whole file. It is computed once, and only of a file each block of which
    /// is what was written.
    ///
    /// # Errors
    /// A block that is damaged, or what the disk answers.
    pub(crate) fn checksum(&self) -> Result<u32> {
        if let Some(known) = self.whole.get() {
            return Ok(*known);
        }
        self.check_blocks()?;
        let (mut crc, mut at) = (0, 0);
        while at < self.length {
            let bytes = self.piece(at, PIECE_BYTES.min(self.length - at) as usize)?;
            crc = crc32c::crc32c_append(crc, &bytes);
            at += bytes.len() as u64;
        }
        Ok(*self.whole.get_or_init(|| crc))
    }

    /// Bytes of the file as they are.
    ///
    /// # Errors
    /// Bytes that lie outside, or what the disk answers.
    pub(crate) fn piece(&self, offset: u64, bytes: usize) -> Result<Vec<u8>> {
        self.read(offset, bytes)
    }

    /// Reads each block and compares its checksum, and decodes none.
    fn check_blocks(&self) -> Result<()> {
        self.scrub(&mut |_| true).map(drop)
    }

    /// As a reader that believes nothing: reads each block and index, compares its checksum and decodes
    /// none.
    /// `pace` is told how many bytes were read, may take its time, and says whether to go on. Whether
    /// it came to the end. Then the segment counts as damaged no more, since its file was put back,
    /// or a read went wrong that does so no longer.
    ///
    /// # Errors
    /// A block that is damaged, or what the disk answers.
    pub(crate) fn scrub(&self, pace: &mut dyn FnMut(usize) -> bool) -> Result<bool> {
        let met = self.damage.met();
        if self.is_damaged() {
            // Another file may have its name by now.
            self.file.reopen();
        }
        for chunk in self.index.chunks.iter().flatten() {
            let head = self.read(chunk.offset, chunk.head.bytes as usize)?;
            self.check(&head, chunk.head, chunk.offset)?;
            for page in 0..chunk.pages.len() {
                let (bytes, _) = self.read_pages(chunk, page, 1)?;
                if !pace(bytes.len()) {
                    return Ok(false);
                }
            }
        }
        for block in 0..self.series.blocks() {
            if !pace(self.read_series(block, None)?.len()) {
                return Ok(false);
            }
        }
        self.check_frame()?;
        self.damage.refute(met);
        Ok(true)
    }
}
