//! JSON: an object, an array of objects, or one object a line. Members become cells as they are
//! read; nothing is built in between. Nested objects flatten with `_`, arrays inside as `a_0`.

use super::{
    Fault, JSON_DEPTH_MAX, ROW_BYTES_MAX, excerpt,
    number::{Number, parse_json_number},
    row::{Cell, RowSink},
};
use memchr::memchr2;
use oribi_model::RejectReason;
use std::borrow::Cow;

/// Reads an object or an array of objects; every object takes one origin.
///
/// # Errors
/// Text that is no such JSON. Rows before the fault stand; the caller refuses the present one with
/// [`RowSink::refuse`] and [`RowSink::end_row`].
pub fn read_rows(text: &str, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let mut parser = Parser::new(text);
    parser.skip_blanks();
    match parser.peek() {
        Some(b'{') => {
            parser.cells(sink)?;
            parser.end()?;
            sink.end_row();
            Ok(())
        }
        Some(b'[') => {
            parser.rows(sink)?;
            parser.end()
        }
        _ => Err(Fault::syntax("expected a JSON object or an array of objects")),
    }
}

/// Reads one object a line; blank lines count as lines but hold no row. Lines that are no object
/// are refused one by one.
pub fn read_lines(body: &[u8], sink: &mut RowSink<'_, '_>) {
    let first = sink.origin;
    for (at, line) in body.split(|b| *b == b'\n').enumerate() {
        let line = line.trim_ascii();
        sink.origin = first.saturating_add(at as u32);
        if line.is_empty() {
            continue;
        }
        let read = match std::str::from_utf8(line) {
            Ok(text) if text.starts_with('{') => read_rows(text, sink),
            Ok(_) => Err(Fault::syntax("expected a JSON object")),
            Err(_) => Err(Fault::syntax("the line is not UTF-8")),
        };
        if let Err(fault) = read {
            sink.refuse(fault);
            sink.end_row();
        }
    }
}

/// A JSON text that is no object or array.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string, escapes removed.
    Text(Cow<'a, str>),
}

/// Reads a JSON text that is one scalar.
///
/// # Errors
/// Anything else.
pub fn read_scalar(text: &str) -> Result<Scalar<'_>, Fault> {
    let mut parser = Parser::new(text);
    parser.skip_blanks();
    let scalar = match parser.peek() {
        Some(b'"') => Scalar::Text(parser.string()?),
        Some(b't') => parser.word("true").map(|()| Scalar::Bool(true))?,
        Some(b'f') => parser.word("false").map(|()| Scalar::Bool(false))?,
        Some(b'n') => parser.word("null").map(|()| Scalar::Null)?,
        _ => Scalar::Number(parse_json_number(parser.number_text().as_bytes())?),
    };
    parser.end()?;
    Ok(scalar)
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The flattened name of the member being read, below the first level.
    path: String,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Parser<'a> {
        Parser { text, bytes: text.as_bytes(), at: 0, path: String::new() }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn expected(&self, what: &str) -> Fault {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => Fault::syntax(format!(
                "JSON is broken at byte {}: expected {what}, found {found:?}",
                self.at
            )),
            None => Fault::syntax(format!("JSON ends too early: expected {what}")),
        }
    }

    fn rows(&mut self, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'{') {
                return Err(self.expected("an object"));
            }
            self.cells(sink)?;
            sink.end_row();
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Nothing but blanks is left.
    fn end(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(Fault::syntax(format!("text after the JSON at byte {}", self.at)));
        }
        Ok(())
    }

    /// The cells of one row.
    fn cells(&mut self, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
        let start = self.at;
        self.object(sink, 1)?;
        let length = self.at - start;
        if length > ROW_BYTES_MAX {
            let detail = format!("a row of {length} bytes; at most {ROW_BYTES_MAX} fit");
            sink.refuse(Fault::new(RejectReason::Limit, detail));
        }
        Ok(())
    }

    fn object(&mut self, sink: &mut RowSink<'_, '_>, depth: usize) -> Result<(), Fault> {
        check_depth(depth)?;
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.skip_blanks();
            if self.peek() != Some(b'"') {
                return Err(self.expected("a member name"));
            }
            let name = self.string()?;
            self.skip_blanks();
            if self.peek() != Some(b':') {
                return Err(self.expected("`:`"));
            }
            self.at += 1;
            self.skip_blanks();
            self.member(&name, sink, depth)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => break,
                _ => return Err(self.expected("`,` or `}`")),
            }
        }
        self.at += 1;
        Ok(())
    }

    fn array(&mut self, sink: &mut RowSink<'_, '_>, depth: usize) -> Result<(), Fault> {
        check_depth(depth)?;
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        let mut number = itoa::Buffer::new();
        for element in 0usize.. {
            self.skip_blanks();
            self.member(number.format(element), sink, depth)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => break,
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// Reads the value of a member and sets it under its flattened name.
    #[inline]
    fn member(
        &mut self,
        name: &str,
        sink: &mut RowSink<'_, '_>,
        depth: usize,
    ) -> Result<(), Fault> {
        let outer = self.path.len();
        let nested = outer > 0 || matches!(self.peek(), Some(b'{' | b'['));
        if nested {
            if depth > 1 {
                self.path.push('_');
            }
            self.path.push_str(name);
        }
        match self.peek() {
            Some(b'{') => self.object(sink, depth + 1)?,
            Some(b'[') => self.array(sink, depth + 1)?,
            _ => {
                let cell = match self.scalar() {
                    // The text goes on behind a number that cannot be kept: only its row is lost.
                    Err(fault) if fault.reason == RejectReason::Number => {
                        sink.refuse(fault);
                        None
                    }
                    scalar => scalar?,
                };
                if let Some(cell) = cell.as_ref() {
                    let name = if nested { &self.path } else { name };
                    sink.set(name, cell.cell());
                }
            }
        }
        self.path.truncate(outer);
        Ok(())
    }

    #[inline]
    fn scalar(&mut self) -> Result<Option<Held<'a>>, Fault> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                Ok(Some(Held::Text(text)))
            }
            Some(b't') => self.word("true").map(|()| Some(Held::Bool(true))),
            Some(b'f') => self.word("false").map(|()| Some(Held::Bool(false))),
            Some(b'n') => self.word("null").map(|()| None),
            Some(b'-' | b'0'..=b'9') => {
                let text = self.number_text();
                Ok(Some(match quick_int(text.as_bytes()) {
                    Some(value) => Held::Number(Number::Int(value), text),
                    None => Held::Number(parse_json_number(text.as_bytes())?, text),
                }))
            }
            _ => Err(self.expected("a value")),
        }
    }

    fn number_text(&mut self) -> &'a str {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at + 1;
        let Some(length) = memchr2(b'"', b'\\', &self.bytes[start..]) else {
            return Err(Fault::syntax("JSON ends inside a string"));
        };
        let end = start + length;
        if self.bytes[end] == b'\\' {
            return self.escaped_string(start).map(Cow::Owned);
        }
        check_no_control(&self.text[start..end])?;
        self.at = end + 1;
        Ok(Cow::Borrowed(&self.text[start..end]))
    }

    fn escaped_string(&mut self, start: usize) -> Result<String, Fault> {
        let mut text = String::new();
        let mut from = start;
        loop {
            let Some(length) = memchr2(b'"', b'\\', &self.bytes[from..]) else {
                return Err(Fault::syntax("JSON ends inside a string"));
            };
            let at = from + length;
            check_no_control(&self.text[from..at])?;
            text.push_str(&self.text[from..at]);
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(text);
            }
            let (c, next) = self.escape(at)?;
            text.push(c);
            from = next;
        }
    }

    /// The character of the escape at `at`, and where the text goes on.
    fn escape(&self, at: usize) -> Result<(char, usize), Fault> {
        let plain = match self.bytes.get(at + 1) {
            Some(b'n') => '\n',
            Some(b't') => '\t',
            Some(b'r') => '\r',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(*c),
            Some(b'u') => return self.unicode_escape(at),
            _ => return Err(Fault::syntax(format!("an unknown escape at byte {at}"))),
        };
        Ok((plain, at + 2))
    }

    fn unicode_escape(&self, at: usize) -> Result<(char, usize), Fault> {
        let unit = |at: usize| -> Option<u32> {
            let digits = self.text.get(at..at + 4)?;
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then_some(())?;
            u32::from_str_radix(digits, 16).ok()
        };
        let broken = || Fault::syntax(format!("a broken \\u escape at byte {at}"));
        let first = unit(at + 2).ok_or_else(broken)?;
        if let Some(c) = char::from_u32(first) {
            return Ok((c, at + 6));
        }
        let lone = || Fault::syntax(format!("a lone surrogate at byte {at}"));
        let has_second = first < 0xdc00 && self.bytes.get(at + 6..at + 8) == Some(b"\\u");
        let second = has_second.then(|| unit(at + 8)).flatten().ok_or_else(lone)?;
        if !(0xdc00..0xe000).contains(&second) {
            return Err(lone());
        }
        let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
        char::from_u32(code).map(|c| (c, at + 12)).ok_or_else(lone)
    }
}

/// A scalar that may own its text.
enum Held<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Number(Number, &'a str),
}

impl Held<'_> {
    #[inline]
    fn cell(&self) -> Cell<'_> {
        match self {
            Held::Text(text) => Cell::Text(text),
            Held::Bool(value) => Cell::Bool(*value),
            Held::Number(Number::Int(value), text) => Cell::Int(*value, text),
            Held::Number(Number::Float(value), text) => Cell::Float(*value, text),
        }
    }
}

/// A short integer without leading zeros; everything else takes the long way.
#[inline]
fn quick_int(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    if digits.is_empty() || digits.len() > 18 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    let mut value = 0i64;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(if digits.len() < text.len() { -value } else { value })
}

#[inline]
fn check_no_control(text: &str) -> Result<(), Fault> {
    if text.bytes().any(|b| b < 0x20) {
        let text = excerpt(text, 32);
        return Err(Fault::syntax(format!("a control character inside the string {text:?}")));
    }
    Ok(())
}

fn check_depth(depth: usize) -> Result<(), Fault> {
    if depth > JSON_DEPTH_MAX {
        let detail = format!("JSON nests deeper than {JSON_DEPTH_MAX} levels");
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
