//! The pieces that JSON is made of: blanks, strings, numbers, words.

use crate::{
    Fault, excerpt,
    number::{Number, parse_json_number, short_number},
    row::Cell,
};
use memchr::memchr2;
use std::borrow::Cow;

pub(super) struct Parser<'a> {
    pub(super) text: &'a str,
    bytes: &'a [u8],
    pub(super) at: usize,
    /// The flattened name of the member being read, below the first level.
    pub(super) path: String,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Parser<'a> {
        Parser { text, bytes: text.as_bytes(), at: 0, path: String::new() }
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.peek_at(self.at)
    }

    #[inline]
    fn peek_at(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    #[inline]
    pub(super) fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    pub(super) fn expected(&self, what: &str) -> Fault {
        match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => Fault::syntax(format!(
                "JSON is broken at byte {}: expected {what}, found {found:?}",
                self.at
            )),
            None => Fault::syntax(format!("JSON ends too early: expected {what}")),
        }
    }

    /// Nothing but blanks is left.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        self.skip_blanks();
        if self.at < self.text.len() {
            return Err(Fault::syntax(format!("text after the JSON at byte {}", self.at)));
        }
        Ok(())
    }

    /// Reads from the opening bracket to `close`; `item` reads each thing between them and is told
    /// its place.
    #[inline]
    pub(super) fn items(
        &mut self,
        close: u8,
        mut item: impl FnMut(&mut Self, usize) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.at += 1;
        self.skip_blanks();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        for place in 0.. {
            self.skip_blanks();
            item(self, place)?;
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(found) if found == close => break,
                _ if close == b'}' => return Err(self.expected("`,` or `}`")),
                _ => return Err(self.expected("`,` or `]`")),
            }
        }
        self.at += 1;
        Ok(())
    }

    /// The name of a member, up to where its value begins.
    #[inline]
    pub(super) fn member_name(&mut self) -> Result<Cow<'a, str>, Fault> {
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
        Ok(name)
    }

    #[inline]
    pub(super) fn scalar(&mut self) -> Result<Option<Held<'a>>, Fault> {
        match self.peek() {
            Some(b'"') => {
                let text = self.string()?;
                Ok(Some(Held::Text(text)))
            }
            Some(b't') => self.word("true").map(|()| Some(Held::Bool(true))),
            Some(b'f') => self.word("false").map(|()| Some(Held::Bool(false))),
            Some(b'n') => self.word("null").map(|()| None),
            Some(b'-' | b'0'..=b'9') => {
                if let Some((number, length)) = short_number(&self.bytes[self.at..]) {
                    let text = &self.text[self.at..self.at + length];
                    self.at += length;
                    return Ok(Some(Held::Number(number, text)));
                }
                let text = self.number_text();
                Ok(Some(Held::Number(parse_json_number(text.as_bytes())?, text)))
            }
            _ => Err(self.expected("a value")),
        }
    }

    pub(super) fn number_text(&mut self) -> &'a str {
        let start = self.at;
        while let Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E') = self.peek() {
            self.at += 1;
        }
        &self.text[start..self.at]
    }

    pub(super) fn word(&mut self, word: &str) -> Result<(), Fault> {
        if !self.bytes[self.at..].starts_with(word.as_bytes()) {
            return Err(self.expected(word));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        let start = self.at + 1;
        let end = start + plain_bytes(&self.bytes[start..]);
        if self.peek_at(end) != Some(b'"') {
            return self.escaped_string(start).map(Cow::Owned);
        }
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
pub(super) enum Held<'a> {
    Text(Cow<'a, str>),
    Bool(bool),
    Number(Number, &'a str),
}

impl Held<'_> {
    #[inline]
    pub(super) fn cell(&self) -> Cell<'_> {
        match self {
            Held::Text(text) => Cell::Text(text),
            Held::Bool(value) => Cell::Bool(*value),
            Held::Number(Number::Int(value), text) => Cell::Int(*value, text),
            Held::Number(Number::Float(value), text) => Cell::Float(*value, text),
        }
    }
}

/// Bytes before the first one that a JSON string does not hold as it is: a quote, a backslash, a
/// control character.
#[inline]
fn plain_bytes(text: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Sets the high bit of the first byte below `bound`; those after it may be wrong.
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word & HIGH;
    let (words, rest) = text.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = quote | backslash | below(word, 0x20);
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_other = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(is_other).unwrap_or(rest.len())
}

#[inline]
fn check_no_control(text: &str) -> Result<(), Fault> {
    if text.bytes().any(|b| b < 0x20) {
        let text = excerpt(text, 32);
        return Err(Fault::syntax(format!("a control character inside the string {text:?}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::plain_bytes;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_first_byte_that_is_not_plain_is_found(
            text in prop::collection::vec(prop_oneof![Just(b'x'), any::<u8>()], 0..40),
        ) {
            let is_other = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let first = text.iter().position(is_other).unwrap_or(text.len());
            prop_assert_eq!(plain_bytes(&text), first);
        }
    }
}
