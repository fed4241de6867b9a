//! The form of a [`RowBatch`] in a log entry.
//!
//! `version: u8 | packing: u8 | body`, where packing 1 means that the body is
//! `length: u32 little-endian | LZ4 block`. All numbers inside are LEB128 varints unless noted:
//! table, schema version, series count, then each key (length, bytes), row count, the packed
//! series numbers, the packed times with their unit, column count, and each column as id, type,
//! validity and cells. Integers are packed as offset from their minimum. A batch from a source that can
//! be read again ends with its cursor: the source's name and the packed offsets of the rows.

mod body;

use oribi_model::RowBatch;

/// The newest version of the form.
pub const FORMAT_VERSION: u8 = 1;
/// Largest body of an entry, in bytes before LZ4; bounds what a decoder allocates.
pub const BODY_BYTES_MAX: usize = 1 << 28;

const PLAIN: u8 = 0;
const LZ4: u8 = 1;
/// No LZ4 block is longer than 255 times its compressed form.
const LZ4_RATIO_MAX: usize = 255;

/// Appends the batch's log form to `out`.
pub fn encode_batch(batch: &RowBatch, out: &mut Vec<u8>) {
    let mut raw = Vec::with_capacity(batch.bytes() + 256);
    body::encode(batch, &mut raw);
    let start = out.len();
    out.extend_from_slice(&[FORMAT_VERSION, LZ4]);
    out.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    let head = out.len();
    out.resize(head + lz4_flex::block::get_maximum_output_size(raw.len()), 0);
    match lz4_flex::block::compress_into(&raw, &mut out[head..]) {
        Ok(packed) if packed < raw.len() => out.truncate(head + packed),
        _ => {
            out.truncate(start);
            out.extend_from_slice(&[FORMAT_VERSION, PLAIN]);
            out.extend_from_slice(&raw);
        }
    }
}

/// Reads what [`encode_batch`] wrote; never panics, and allocates no more than a fixed multiple
/// of the input's length.
///
/// # Errors
/// Says what is wrong with bytes that are no batch.
pub fn decode_batch(bytes: &[u8]) -> Result<RowBatch, &'static str> {
    let [version, packing, rest @ ..] = bytes else {
        return Err("a row batch is shorter than its head");
    };
    if *version != FORMAT_VERSION {
        return Err("a row batch has an unknown format version");
    }
    let batch = match *packing {
        PLAIN => body::decode(rest),
        LZ4 => {
            let (length, packed) = rest.split_at_checked(4).ok_or("a row batch is cut short")?;
            let length = u32::from_le_bytes(length.try_into().map_err(|_| "no length")?) as usize;
            if length > BODY_BYTES_MAX || length > packed.len().saturating_mul(LZ4_RATIO_MAX) {
                return Err("a row batch claims an impossible length");
            }
            let raw = lz4_flex::block::decompress(packed, length)
                .map_err(|_| "a row batch does not unpack")?;
            body::decode(&raw)
        }
        _ => return Err("a row batch has an unknown packing"),
    }
    .ok_or("a row batch is malformed")?;
    batch.check()?;
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Random, random_batch};

    #[test]
    fn batches_come_back_as_they_were() {
        let mut random = Random(7);
        for case in 0..300 {
            let batch = random_batch(&mut random, case % 70);
            let mut bytes = vec![9];
            encode_batch(&batch, &mut bytes);
            assert_eq!(decode_batch(&bytes[1..]).unwrap(), batch);
        }
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let mut random = Random(8);
        for case in 0..2_000 {
            let batch = random_batch(&mut random, case % 40);
            let mut bytes = Vec::new();
            if case % 2 == 0 {
                encode_batch(&batch, &mut bytes);
            } else {
                bytes.extend_from_slice(&[FORMAT_VERSION, PLAIN]);
                body::encode(&batch, &mut bytes);
            }
            for _ in 0..1 + random.below(3) {
                let at = random.below(bytes.len() as u64) as usize;
                bytes[at] = random.below(256) as u8;
            }
            bytes.truncate(random.below(bytes.len() as u64 * 2) as usize);
            let _ = decode_batch(&bytes);
        }
    }
}
