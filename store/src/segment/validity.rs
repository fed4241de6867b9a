//! Which cells of a page are not null.

use crate::bits::{Reader, pack, put_varint};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer};

/// No cell is null.
const ALL: u8 = 0;
/// A bit a row, low bits first.
const BITMAP: u8 = 1;
/// Lengths of runs as varints: cells, nulls, cells and so on. Since version 3.
const RUNS: u8 = 2;

/// Appends the form byte and, where some cell is null, the shorter of the two forms.
pub(super) fn encode(nulls: Option<&NullBuffer>, out: &mut Vec<u8>) {
    let Some(nulls) = nulls.filter(|nulls| nulls.null_count() > 0) else {
        return out.push(ALL);
    };
    let start = out.len();
    let bitmap_bytes = nulls.len().div_ceil(8);
    out.push(RUNS);
    if nulls.is_null(0) {
        put_varint(out, 0);
    }
    let mut end = 0;
    for (from, to) in nulls.valid_slices() {
        if from > 0 {
            put_varint(out, (from - end) as u64);
        }
        put_varint(out, (to - from) as u64);
        end = to;
        if out.len() - start > bitmap_bytes {
            break;
        }
    }
    if end < nulls.len() {
        put_varint(out, (nulls.len() - end) as u64);
    }
    if out.len() - start > bitmap_bytes {
        out.truncate(start);
        out.push(BITMAP);
        pack(nulls.iter().map(u64::from), 1, out);
    }
}

/// What [`encode`] wrote for a page of so many rows; `Some(None)`: no cell is null.
pub(super) fn decode(reader: &mut Reader<'_>, rows: usize) -> Option<Option<BooleanBuffer>> {
    match reader.u8()? {
        ALL => Some(None),
        BITMAP => bitmap(reader, rows).map(Some),
        RUNS => {
            let mut bits = BooleanBufferBuilder::new(rows);
            let mut is_valid = true;
            while bits.len() < rows {
                let length = reader.size()?;
                (length <= rows - bits.len() && (length > 0 || bits.is_empty())).then_some(())?;
                bits.append_n(length, is_valid);
                is_valid = !is_valid;
            }
            Some(Some(bits.finish()))
        }
        _ => None,
    }
}

/// A bit a row, as they stand in a page.
pub(super) fn bitmap(reader: &mut Reader<'_>, rows: usize) -> Option<BooleanBuffer> {
    Some(BooleanBuffer::new(Buffer::from(reader.bytes(rows.div_ceil(8))?), 0, rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn check(valid: Vec<bool>) -> usize {
        let rows = valid.len();
        let mut bytes = vec![7];
        encode(Some(&NullBuffer::from(valid.clone())), &mut bytes);
        let reader = &mut Reader(&bytes[1..]);
        let found = decode(reader, rows).unwrap();
        assert!(reader.0.is_empty());
        let found = found.map_or(vec![true; rows], |bits| bits.iter().collect());
        assert_eq!(found, valid);
        assert!(bytes.len() - 2 <= rows.div_ceil(8), "never longer than a bit a row");
        bytes.len() - 1
    }

    #[test]
    fn validity_comes_back_and_few_nulls_cost_little() {
        let mut random = Random(3);
        for case in 0..400 {
            let (rows, one_in) = (1 + random.below(600) as usize, 1 + random.below(200));
            let valid = (0..rows).map(|_| (random.below(one_in) == 0) == (case % 2 == 0));
            check(valid.collect());
        }
        let one_null_in_a_hundred = (0..4_096).map(|row| row % 100 != 3);
        assert!(check(one_null_in_a_hundred.collect()) < 100);
        assert_eq!(check((0..4_096).map(|row| row == 4_095).collect()), 5);
    }

    #[test]
    fn runs_that_do_not_add_up_are_refused() {
        for bytes in [&[RUNS, 3, 2][..], &[RUNS, 3, 0, 3], &[RUNS], &[9, 6]] {
            assert!(decode(&mut Reader(bytes), 6).is_none(), "{bytes:?}");
        }
    }
}
