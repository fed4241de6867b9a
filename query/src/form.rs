//! What figures are made of, as bytes: little-endian, lengths before what they measure.

use crate::{Error, Result};

/// Bytes that are taken one after the other. Nothing is made room for before it is known to be there.
pub(crate) struct Take<'a>(&'a [u8]);

impl<'a> Take<'a> {
    /// All of these bytes are to be taken.
    pub(crate) fn new(bytes: &'a [u8]) -> Take<'a> {
        Take(bytes)
    }

    /// The next so many bytes.
    ///
    /// # Errors
    /// [`Error::Figures`] where there are not as many.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(cut)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// A byte.
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A number of 32 bits.
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A number of 64 bits.
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A number of 64 bits with a sign.
    pub(crate) fn i64(&mut self) -> Result<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A number of 128 bits with a sign.
    pub(crate) fn i128(&mut self) -> Result<i128> {
        self.array().map(i128::from_le_bytes)
    }

    /// A float.
    pub(crate) fn f64(&mut self) -> Result<f64> {
        self.array().map(f64::from_le_bytes)
    }

    /// A count of things that take `bytes_min` bytes each at least.
    ///
    /// # Errors
    /// [`Error::Figures`] where there cannot be as many.
    pub(crate) fn count(&mut self, bytes_min: usize) -> Result<usize> {
        let count = self.u32()? as usize;
        match count.checked_mul(bytes_min) {
            Some(bytes) if bytes <= self.0.len() => Ok(count),
            _ => Err(cut()),
        }
    }

    /// Bytes after their length.
    pub(crate) fn sized(&mut self) -> Result<&'a [u8]> {
        let count = self.count(1)?;
        self.bytes(count)
    }

    /// A text after its length.
    pub(crate) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.sized()?).map_err(|_| wrong("a text is not UTF-8"))
    }

    /// Checks that nothing is left.
    pub(crate) fn end(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(wrong("bytes are left over")) }
    }
}

/// Appends bytes after their length.
pub(crate) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_count(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a count. More than fit are more than a query may hold.
pub(crate) fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// The error about figures that are not what they should be.
pub(crate) fn wrong(reason: &'static str) -> Error {
    Error::Figures { reason }
}

fn cut() -> Error {
    wrong("they are cut short")
}
