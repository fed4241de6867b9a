//! Blocks compressed with Snappy ("Snappy compressed format description"), each of which Avro ends with
//! the CRC-32 of its plain bytes, the greatest byte first.

use crate::Fault;

/// The plain bytes of a block, which are at most `bytes_max`. `None`: they would be more.
///
/// # Errors
/// A block of another form.
pub(super) fn decompress(block: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, Fault> {
    let Some((packed, sum)) = block.split_last_chunk::<4>() else { return Err(broken()) };
    let mut source = Source { bytes: packed, at: 0 };
    let length = source.varint()?;
    if length > bytes_max {
        return Ok(None);
    }
    // What is claimed takes memory only as far as it comes true: 64 bytes for 3 at most.
    let mut plain = Vec::with_capacity(length.min(packed.len().saturating_mul(22)));
    while source.at < packed.len() {
        let tag = source.take(1)?[0];
        match tag & 3 {
            0 => {
                let short = usize::from(tag >> 2);
                let length = match short.checked_sub(59) {
                    None | Some(0) => short,
                    Some(bytes) => source.number(bytes)?,
                };
                plain.extend_from_slice(source.take(length + 1)?);
            }
            1 => {
                let low = source.number(1)?;
                copy(&mut plain, usize::from(tag >> 5) << 8 | low, 4 + usize::from(tag >> 2 & 7))?;
            }
            kind => {
                let offset = source.number(if kind == 2 { 2 } else { 4 })?;
                copy(&mut plain, offset, 1 + usize::from(tag >> 2))?;
            }
        }
        if plain.len() > length {
            return Err(broken());
        }
    }
    let mut crc = flate2::Crc::new();
    crc.update(&plain);
    if plain.len() != length || crc.sum() != u32::from_be_bytes(*sum) {
        return Err(broken());
    }
    Ok(Some(plain))
}

/// Appends what stands `offset` bytes before the end; it may reach into what is appended.
fn copy(plain: &mut Vec<u8>, offset: usize, length: usize) -> Result<(), Fault> {
    let Some(start) = plain.len().checked_sub(offset).filter(|_| offset > 0) else {
        return Err(broken());
    };
    for at in start..start + length {
        plain.push(plain[at]);
    }
    Ok(())
}

struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Source<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(count).ok_or_else(broken)?;
        let taken = self.bytes.get(self.at..end).ok_or_else(broken)?;
        self.at = end;
        Ok(taken)
    }

    /// A number of so many bytes, at most four, the least one first.
    fn number(&mut self, count: usize) -> Result<usize, Fault> {
        let bytes = self.take(count)?;
        Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte)))
    }

    fn varint(&mut self) -> Result<usize, Fault> {
        let mut number = 0;
        for at in 0..5 {
            let byte = self.take(1)?[0];
            number |= usize::from(byte & 127) << (7 * at);
            if byte & 128 == 0 {
                return Ok(number);
            }
        }
        Err(broken())
    }
}

fn broken() -> Fault {
    Fault::syntax("a block cannot be decompressed: it is no Snappy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(packed: &[u8], plain: &[u8]) -> Vec<u8> {
        let mut crc = flate2::Crc::new();
        crc.update(plain);
        [packed, &crc.sum().to_be_bytes()].concat()
    }

    #[test]
    fn literals_and_copies_of_each_kind() {
        let long = vec![b'z'; 300];
        let long_literal = [&[0xac, 0x02, 61 << 2, 0x2b, 0x01][..], &long].concat();
        for (packed, plain) in [
            (&b"\x00"[..], &b""[..]),
            (b"\x03\x08abc", b"abc"),
            // Four bytes from two before, by an offset of one byte, of two and of four.
            (b"\x06\x04ab\x01\x02", b"ababab"),
            (b"\x06\x04ab\x0e\x02\x00", b"ababab"),
            (b"\x06\x04ab\x0f\x02\x00\x00\x00", b"ababab"),
            (&long_literal, &long),
        ] {
            assert_eq!(decompress(&block(packed, plain), 1_000), Ok(Some(plain.to_vec())));
        }
        assert_eq!(decompress(&block(b"\x03\x08abc", b"abc"), 2), Ok(None));
        for broken in [
            &b""[..],
            b"\x03\x08abc\0\0\0\0",
            &block(b"\x04\x08abc", b"abc"),
            &block(b"\x02\x08abc", b"abc"),
            &block(b"\x06\x04ab\x01\x03", b"ababab"),
            &block(b"\x06\x04ab\x01\x00", b"ababab"),
            &block(b"\xff\xff\xff\xff\xff\xff", b""),
        ] {
            assert!(decompress(broken, 1_000).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(decompress(&bytes, 1 << 20));
        }
    }
}
