//! The bytes of an answer, cut into pieces that are sent one after the other.

use crate::{Error, Result, answer::Stats, delivery::Outlet};
use axum::body::Bytes;
use std::io;

/// Bytes of a piece at least; only the last may have less.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// An answer being written, of which no more is held than one piece.
pub(super) struct Pieces {
    /// Where the next bytes go.
    pub(super) open: Vec<u8>,
    outlet: Outlet<Bytes>,
    bytes: usize,
    bytes_max: usize,
}

impl Pieces {
    /// Nothing yet, at most `bytes_max` bytes.
    pub(super) fn new(outlet: Outlet<Bytes>, bytes_max: usize) -> Pieces {
        Pieces { open: Vec::new(), outlet, bytes: 0, bytes_max }
    }

    /// To be called after each row.
    ///
    /// # Errors
    /// The limit of bytes, and those of the query.
    pub(super) fn cut(&mut self) -> Result<()> {
        if self.open.len() < PIECE_BYTES {
            return Ok(());
        }
        self.send()
    }

    fn send(&mut self) -> Result<()> {
        self.bytes += self.open.len();
        if self.bytes > self.bytes_max {
            let limit = self.bytes_max as u64;
            return Err(Error::AnswerLimit { name: "answer_bytes_max", limit });
        }
        // The next piece is about as long.
        let room = Vec::with_capacity(self.open.len().min(PIECE_BYTES + PIECE_BYTES / 8));
        let piece = std::mem::replace(&mut self.open, room);
        self.outlet.put(piece.into())
    }

    /// Sends the rest.
    ///
    /// # Errors
    /// As [`Pieces::cut`].
    pub(super) fn end(&mut self, stats: Stats) -> Result<()> {
        self.open.shrink_to_fit();
        if !self.open.is_empty() {
            self.send()?;
        }
        self.outlet.end(stats)
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.open.extend_from_slice(bytes);
        self.cut().map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
