//! The bytes of an answer, cut into pieces that can be sent one after the other.

use crate::{Error, Result, watch::Watch};
use axum::body::Bytes;
use std::io;

/// Bytes after which a piece ends.
const PIECE_BYTES: usize = 256 << 10;

/// An answer being written. It never holds more than the limit and one piece.
pub(super) struct Pieces<'a> {
    /// Where the next bytes go.
    pub(super) open: Vec<u8>,
    done: Vec<Bytes>,
    bytes: usize,
    bytes_max: usize,
    watch: &'a Watch,
}

impl<'a> Pieces<'a> {
    /// Nothing yet, at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize, watch: &'a Watch) -> Pieces<'a> {
        Pieces { open: Vec::new(), done: Vec::new(), bytes: 0, bytes_max, watch }
    }

    /// To be called after each row.
    ///
    /// # Errors
    /// The limit of bytes, and those of the query.
    pub(super) fn cut(&mut self) -> Result<()> {
        if self.open.len() < PIECE_BYTES {
            return Ok(());
        }
        self.watch.check()?;
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.bytes += self.open.len();
        if self.bytes > self.bytes_max {
            let limit = self.bytes_max as u64;
            return Err(Error::AnswerLimit { name: "answer_bytes_max", limit });
        }
        // The next piece is about as long.
        let room = Vec::with_capacity(self.open.len().min(PIECE_BYTES + PIECE_BYTES / 8));
        let piece = std::mem::replace(&mut self.open, room);
        self.done.push(piece.into());
        Ok(())
    }

    /// All pieces.
    ///
    /// # Errors
    /// The limit of bytes.
    pub(super) fn finish(mut self) -> Result<Vec<Bytes>> {
        self.open.shrink_to_fit();
        if !self.open.is_empty() {
            self.end()?;
        }
        Ok(self.done)
    }
}

impl io::Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.extend_from_slice(bytes);
        self.cut().map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
