//! A long file cut into batches between rows.

use std::io::{self, BufRead, ErrorKind};

/// Bytes of a batch from which on it ends with the next row.
const BATCH_BYTES: usize = 4 << 20;
/// A row may be so long, quotes and all, before it is cut at any end of line.
const ROW_BYTES_MAX: usize = 2 << 20;

/// Lines that go to the node together.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The lines, with the header first where there is one.
    pub(super) bytes: Vec<u8>,
    /// What must be added to a line's number in the batch to have that in the file.
    pub(super) lines_before: u64,
}

/// How quotes may hide an end of line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quoting {
    /// They cannot: a line is a row.
    None,
    /// A quote within is doubled, as in CSV.
    Doubled,
    /// A quote within has a backslash before it, as in line protocol.
    Escaped,
}

/// What the first row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// A row like others.
    None,
    /// The names of the columns.
    Leads,
}

/// Cuts what `input` gives.
pub(super) struct Split<R> {
    input: R,
    quoting: Quoting,
    header: Vec<u8>,
    lines: u64,
}

impl<R: BufRead> Split<R> {
    /// Batches of the rows behind so many lines. A header leads every batch.
    ///
    /// # Errors
    /// What the input answers.
    pub(super) fn new(
        mut input: R,
        quoting: Quoting,
        first: Header,
        skipped_lines: u64,
    ) -> io::Result<Split<R>> {
        let mut header = Vec::new();
        let mut lines = skipped_lines;
        for _ in 0..skipped_lines {
            input.skip_until(b'\n')?;
        }
        if first == Header::Leads {
            lines += read_row(&mut input, &mut header, quoting)?;
        }
        Ok(Split { input, quoting, header, lines })
    }

    /// The first row, if it leads every batch.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    fn next_batch(&mut self) -> io::Result<Option<Batch>> {
        let mut bytes = self.header.clone();
        let header_lines = self.header.iter().filter(|byte| **byte == b'\n').count() as u64;
        let lines_before = self.lines - header_lines;
        while bytes.len() < BATCH_BYTES {
            let lines = read_row(&mut self.input, &mut bytes, self.quoting)?;
            if lines == 0 {
                break;
            }
            self.lines += lines;
        }
        Ok((bytes.len() > self.header.len()).then_some(Batch { bytes, lines_before }))
    }
}

impl<R: BufRead> Iterator for Split<R> {
    type Item = io::Result<Batch>;

    fn next(&mut self) -> Option<io::Result<Batch>> {
        self.next_batch().transpose()
    }
}

/// Appends one row and says how many lines it has; 0 at the end.
fn read_row(input: &mut impl BufRead, out: &mut Vec<u8>, quoting: Quoting) -> io::Result<u64> {
    let start = out.len();
    let mut lines = 0;
    let mut is_open = false;
    loop {
        let line = out.len();
        let room = (ROW_BYTES_MAX * 2).saturating_sub(line - start) as u64;
        if io::Read::take(&mut *input, room).read_until(b'\n', out)? == 0 {
            return Ok(lines);
        }
        if out.last() != Some(&b'\n') && out.len() - start >= ROW_BYTES_MAX * 2 {
            let wrong = format!("a row is longer than {ROW_BYTES_MAX} bytes");
            return Err(io::Error::new(ErrorKind::InvalidData, wrong));
        }
        lines += 1;
        is_open ^= quotes(&out[line..], quoting) % 2 == 1;
        if !is_open || out.len() - start > ROW_BYTES_MAX {
            return Ok(lines);
        }
    }
}

fn quotes(line: &[u8], quoting: Quoting) -> usize {
    match quoting {
        Quoting::None => 0,
        Quoting::Doubled => line.iter().filter(|byte| **byte == b'"').count(),
        Quoting::Escaped => {
            let mut is_escaped = false;
            let mut count = 0;
            for byte in line {
                count += usize::from(*byte == b'"' && !is_escaped);
                is_escaped = *byte == b'\\' && !is_escaped;
            }
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, quoting: Quoting) -> Vec<String> {
        let mut input = text.as_bytes();
        let mut rows = Vec::new();
        loop {
            let mut row = Vec::new();
            if read_row(&mut input, &mut row, quoting).unwrap() == 0 {
                return rows;
            }
            rows.push(String::from_utf8(row).unwrap());
        }
    }

    #[test]
    fn a_quoted_end_of_line_ends_no_row() {
        assert_eq!(rows("a,\"b\nc\"\"\"\nd\n", Quoting::Doubled), ["a,\"b\nc\"\"\"\n", "d\n"]);
        assert_eq!(
            rows("m v=\"a\\\"\nb\"\nm v=1", Quoting::Escaped),
            ["m v=\"a\\\"\nb\"\n", "m v=1"]
        );
        assert_eq!(rows("{\"a\":\"\n", Quoting::None), ["{\"a\":\"\n"]);
    }

    #[test]
    fn every_batch_has_the_header_and_knows_its_place() {
        let row = format!("{}\n", "x".repeat(1 << 20));
        let text = format!("head\n{}", row.repeat(6));
        let split = Split::new(text.as_bytes(), Quoting::Doubled, Header::Leads, 0).unwrap();
        let batches: Vec<Batch> = split.map(Result::unwrap).collect();
        assert!(batches.iter().all(|batch| batch.bytes.starts_with(b"head\n")));
        let lines = |batch: &Batch| batch.bytes.iter().filter(|byte| **byte == b'\n').count();
        let places: Vec<_> =
            batches.iter().map(|batch| (batch.lines_before, lines(batch))).collect();
        assert_eq!(places, [(0, 5), (4, 3)]);
    }

    #[test]
    fn an_endless_row_is_refused() {
        let text = "x".repeat(ROW_BYTES_MAX * 3);
        let mut split = Split::new(text.as_bytes(), Quoting::None, Header::None, 0).unwrap();
        assert!(split.next().unwrap().is_err());
    }
}
