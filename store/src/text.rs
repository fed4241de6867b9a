//! How much text rows hold: the one type of cell whose size has no bound worth the name.

use arrow_array::Array;
use oribi_model::ColumnValues;
use std::ops::Range;

/// Bytes of the texts in `rows` of some columns.
pub(crate) fn text_bytes(columns: &[ColumnValues], rows: Range<usize>) -> usize {
    let bytes = |values: &ColumnValues| match values {
        ColumnValues::Text(texts) if texts.len() >= rows.end => {
            let offsets = texts.offsets();
            (offsets[rows.end] - offsets[rows.start]) as usize
        }
        _ => 0,
    };
    columns.iter().map(bytes).sum()
}

/// How many of `rows`, from the first on, hold no more than `bytes_max` of text, and one that
/// may hold more.
pub(crate) fn rows_until(columns: &[ColumnValues], rows: Range<usize>, bytes_max: usize) -> usize {
    if text_bytes(columns, rows.clone()) <= bytes_max {
        return rows.len();
    }
    let (mut low, mut high) = (0, rows.len() - 1);
    while low < high {
        let middle = (low + high).div_ceil(2);
        let bytes = text_bytes(columns, rows.start..rows.start + middle);
        if bytes <= bytes_max { low = middle } else { high = middle - 1 }
    }
    low + 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::{Int64Array, StringArray};

    #[test]
    fn rows_end_with_the_one_that_passes_the_bound() {
        let sizes = [3usize, 0, 5, 2, 9, 1];
        let text: StringArray = sizes.iter().map(|size| Some("x".repeat(*size))).collect();
        let numbers = ColumnValues::Int(Int64Array::from(vec![1; 6]));
        let columns = [ColumnValues::Text(text).slice(1, 5), numbers];
        assert_eq!(text_bytes(&columns, 1..4), 16);
        let until = |bytes_max| rows_until(&columns, 0..5, bytes_max);
        assert_eq!([0, 4, 5, 6, 7, 16, 17].map(until), [2, 2, 3, 3, 4, 5, 5]);
    }
}
