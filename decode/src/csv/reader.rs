//! Text cut into records and cells (RFC 4180), with what cells lose their quotes.

use memchr::memchr;
use std::borrow::Cow;

/// A cell, and whether it stood between quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RawCell<'a> {
    pub(super) text: Cow<'a, [u8]>,
    pub(super) is_quoted: bool,
}

/// Records one after another.
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
    /// The line at `at`, from 0.
    line: u32,
    delimiter: u8,
}

/// A quote that is never closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unclosed;

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8], delimiter: u8) -> Reader<'a> {
        Reader { body, at: 0, line: 0, delimiter }
    }

    /// Reads the next record that is no blank line into `cells`; gives the line, from 0, that it begins in.
    ///
    /// # Errors
    /// A quote that is never closed, which takes the rest of the text along.
    pub(super) fn next(&mut self, cells: &mut Vec<RawCell<'a>>) -> Result<Option<u32>, Unclosed> {
        cells.clear();
        while self.take_break() {}
        if self.at == self.body.len() {
            return Ok(None);
        }
        let line = self.line;
        loop {
            let cell = self.cell()?;
            cells.push(cell);
            if self.body.get(self.at) != Some(&self.delimiter) {
                self.take_break();
                return Ok(Some(line));
            }
            self.at += 1;
        }
    }

    /// Steps over an end of line, if there is one.
    fn take_break(&mut self) -> bool {
        let length = match &self.body[self.at..] {
            [b'\r', b'\n', ..] => 2,
            [b'\r' | b'\n', ..] => 1,
            _ => return false,
        };
        self.at += length;
        self.line += 1;
        true
    }

    fn cell(&mut self) -> Result<RawCell<'a>, Unclosed> {
        if self.body.get(self.at) == Some(&b'"') {
            return self.quoted();
        }
        Ok(RawCell { text: Cow::Borrowed(self.plain()), is_quoted: false })
    }

    /// Text up to the end of the cell.
    fn plain(&mut self) -> &'a [u8] {
        let start = self.at;
        let is_end = |byte: &u8| *byte == self.delimiter || matches!(byte, b'\n' | b'\r');
        let length = self.body[start..].iter().position(is_end);
        self.at = length.map_or(self.body.len(), |length| start + length);
        &self.body[start..self.at]
    }

    fn quoted(&mut self) -> Result<RawCell<'a>, Unclosed> {
        self.at += 1;
        let mut text = Cow::Borrowed(&self.body[self.at..self.at]);
        loop {
            let start = self.at;
            let Some(length) = memchr(b'"', &self.body[start..]) else {
                self.at = self.body.len();
                return Err(Unclosed);
            };
            let part = &self.body[start..start + length];
            self.line += lines(part);
            self.at = start + length + 1;
            add(&mut text, part);
            if self.body.get(self.at) != Some(&b'"') {
                break;
            }
            add(&mut text, b"\"");
            self.at += 1;
        }
        // What stands behind the quotes belongs to the cell, as programs in wide use have it.
        let rest = self.plain();
        add(&mut text, rest);
        Ok(RawCell { text, is_quoted: true })
    }
}

fn add<'a>(text: &mut Cow<'a, [u8]>, part: &'a [u8]) {
    match (text.is_empty(), part.is_empty()) {
        (_, true) => {}
        (true, _) => *text = Cow::Borrowed(part),
        _ => text.to_mut().extend_from_slice(part),
    }
}

/// Ends of lines within a text; that of Windows is one.
fn lines(text: &[u8]) -> u32 {
    let ends = text.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => text.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, delimiter: u8) -> Vec<(u32, Vec<String>)> {
        let mut reader = Reader::new(body.as_bytes(), delimiter);
        let (mut cells, mut records) = (Vec::new(), Vec::new());
        while let Some(line) = reader.next(&mut cells).unwrap() {
            let shown = cells.iter().map(|cell| {
                let text = String::from_utf8_lossy(&cell.text);
                if cell.is_quoted { format!("<{text}>") } else { text.into_owned() }
            });
            records.push((line, shown.collect()));
        }
        records
    }

    #[test]
    fn quotes_delimiters_and_ends_of_lines() {
        let row = |line: u32, cells: &[&str]| {
            (line, cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(
            read("a,b\r\n\r\n\"x \"\"y\"\"\",\r\n\"two\r\nlines\",1\r\nz,\"\"", b','),
            [
                row(0, &["a", "b"]),
                row(2, &["<x \"y\">", ""]),
                row(3, &["<two\r\nlines>", "1"]),
                row(5, &["z", "<>"]),
            ]
        );
        assert_eq!(read("a;b\rc;d\n", b';'), [row(0, &["a", "b"]), row(1, &["c", "d"])]);
        assert_eq!(read("x\"y,\"q\"r\n", b','), [row(0, &["x\"y", "<qr>"])]);
        assert_eq!(read("\n\r\n", b','), []);
        let mut reader = Reader::new(b"\"open\n1", b',');
        assert_eq!(reader.next(&mut Vec::new()), Err(Unclosed));
    }
}
