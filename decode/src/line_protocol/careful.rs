//! The parser that knows every rule and says what is wrong.

use crate::{
    Fault, TAGS_MAX, excerpt,
    number::{parse_float, parse_int},
    points::{Duplicate, PointsBuilder},
};
use memchr::memchr;
use oribi_model::RejectReason;
use std::borrow::Cow;

/// A line taken apart.
pub(super) struct Line<'a> {
    pub(super) measurement: Cow<'a, str>,
    pub(super) tags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub(super) fields: Vec<(Cow<'a, str>, FieldText<'a>)>,
    pub(super) time: Option<&'a [u8]>,
    /// Bytes of measurement and tags; 0 where they cannot be looked up again.
    pub(super) head: usize,
    /// Bytes of the line without its break.
    pub(super) length: usize,
    /// Bytes up to the next line.
    pub(super) next: usize,
}

/// A field's value as written.
pub(super) enum FieldText<'a> {
    /// Between quotes, escapes removed.
    Quoted(Cow<'a, str>),
    /// Everything else.
    Bare(&'a [u8]),
}

impl Line<'_> {
    /// Whether the parts of the line look like values and a time, so that it is no other text.
    pub(super) fn is_likely(&self) -> bool {
        let is_count = |text: &[u8]| {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
        };
        self.time.is_none_or(is_count) && self.fields.iter().all(|(_, value)| value.is_likely())
    }
}

impl FieldText<'_> {
    fn is_likely(&self) -> bool {
        let FieldText::Bare(text) = self else { return true };
        let size = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
        let words: [&[u8]; 7] = [b"t", b"true", b"f", b"false", b"nan", b"inf", b"infinity"];
        let number = size.strip_suffix(b"i").or(size.strip_suffix(b"u")).unwrap_or(size);
        let is_number = number.first().is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.'))
            && number.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
        is_number || words.iter().any(|word| size.eq_ignore_ascii_case(word))
    }
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Whether the line ends here (a carriage return before the break belongs to the break).
    fn at_end(&self) -> bool {
        match self.peek() {
            None | Some(b'\n') => true,
            Some(b'\r') => matches!(self.text.get(self.at + 1), None | Some(b'\n')),
            Some(_) => false,
        }
    }

    /// Text up to one of `stops` that is not escaped; a backslash escapes `escapable` only.
    fn word(&mut self, stops: &[u8], escapable: &[u8]) -> Result<Cow<'a, str>, Fault> {
        let start = self.at;
        let mut escaped = false;
        while !self.at_end() {
            let byte = self.text[self.at];
            if byte == b'\\'
                && self.text.get(self.at + 1).is_some_and(|next| escapable.contains(next))
            {
                escaped = true;
                self.at += 2;
                continue;
            }
            if stops.contains(&byte) {
                break;
            }
            self.at += 1;
        }
        let raw = std::str::from_utf8(&self.text[start..self.at])
            .map_err(|_| Fault::syntax("the line is not UTF-8"))?;
        if raw.ends_with('\\') && !escaped {
            return Err(Fault::syntax("a backslash at the end escapes nothing"));
        }
        Ok(if escaped { Cow::Owned(unescape(raw, escapable)) } else { Cow::Borrowed(raw) })
    }

    fn skip_blanks(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>, Fault> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err(Fault::syntax("unbalanced quotes: a string is never closed")),
                Some(b'\\') if matches!(self.text.get(self.at + 1), Some(b'"' | b'\\')) => {
                    escaped = true;
                    self.at += 2;
                }
                Some(b'"') => break,
                Some(_) => self.at += 1,
            }
        }
        let raw = std::str::from_utf8(&self.text[start..self.at])
            .map_err(|_| Fault::syntax("the line is not UTF-8"))?;
        self.at += 1;
        Ok(if escaped { Cow::Owned(unescape(raw, b"\"\\")) } else { Cow::Borrowed(raw) })
    }
}

fn unescape(raw: &str, escapable: &[u8]) -> String {
    let mut text = String::with_capacity(raw.len());
    let mut chars = raw.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(next) if c == '\\' && next.is_ascii() && escapable.contains(&(*next as u8)) => {
                text.push(*next);
                chars.next();
            }
            _ => text.push(c),
        }
    }
    text
}

/// Takes the first line of `text` apart; strings may hold line breaks.
pub(super) fn parse(text: &[u8]) -> Result<Line<'_>, Fault> {
    let mut cursor = Cursor { text, at: 0 };
    while matches!(cursor.peek(), Some(b' ' | b'\t')) {
        cursor.at += 1;
    }
    let lead = cursor.at;
    let measurement = cursor.word(b", ", b", \\")?;
    if measurement.is_empty() {
        return Err(Fault::syntax("missing measurement"));
    }
    let tags = parse_tags(&mut cursor)?;
    // Heads are looked up by the text before the first blank of a line.
    let is_found = lead == 0 && memchr(b' ', &text[..cursor.at]).is_none();
    let head = if is_found { cursor.at } else { 0 };
    parse_rest(cursor, measurement, tags, head)
}

/// As [`parse`] where the line starts with so many bytes of measurement and tags that are known;
/// the parts that are stay empty.
pub(super) fn parse_after_head(text: &[u8], head: usize) -> Result<Line<'_>, Fault> {
    parse_rest(Cursor { text, at: head }, Cow::Borrowed(""), Vec::new(), head)
}

fn parse_rest<'a>(
    mut cursor: Cursor<'a>,
    measurement: Cow<'a, str>,
    tags: Pairs<'a>,
    head: usize,
) -> Result<Line<'a>, Fault> {
    let text = cursor.text;
    cursor.skip_blanks();
    if cursor.at_end() {
        return Err(Fault::syntax("missing fields"));
    }
    let fields = parse_fields(&mut cursor)?;
    cursor.skip_blanks();
    let start = cursor.at;
    while !cursor.at_end() && cursor.peek() != Some(b' ') {
        cursor.at += 1;
    }
    let time = (cursor.at > start).then(|| &text[start..cursor.at]);
    cursor.skip_blanks();
    if !cursor.at_end() {
        return Err(Fault::syntax("text after the timestamp"));
    }
    let length = cursor.at;
    while cursor.peek() == Some(b'\r') {
        cursor.at += 1;
    }
    let next = (cursor.at + 1).min(text.len());
    Ok(Line { measurement, tags, fields, time, head, length, next })
}

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

fn parse_tags<'a>(cursor: &mut Cursor<'a>) -> Result<Pairs<'a>, Fault> {
    const ESCAPABLE: &[u8] = b",= ";
    let mut tags: Pairs<'a> = Vec::new();
    while cursor.peek() == Some(b',') {
        cursor.at += 1;
        let name = cursor.word(b",= ", ESCAPABLE)?;
        if name.is_empty() {
            return Err(Fault::syntax("missing tag key"));
        }
        if cursor.peek() != Some(b'=') {
            return Err(Fault::syntax(format!("missing tag value of {:?}", excerpt(&name, 64))));
        }
        cursor.at += 1;
        let value = cursor.word(b",= ", ESCAPABLE)?;
        if cursor.peek() == Some(b'=') {
            let detail = format!("an `=` in the value of tag {:?} needs a backslash", &*name);
            return Err(Fault::syntax(excerpt(&detail, 256)));
        }
        if value.is_empty() {
            return Err(Fault::syntax(format!("missing tag value of {:?}", excerpt(&name, 64))));
        }
        tags.push((name, value));
        if tags.len() > TAGS_MAX {
            let detail = format!("more than {TAGS_MAX} tags on a line");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
    }
    let mut names: Vec<&str> = tags.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::syntax(format!("duplicate tag {:?}", excerpt(pair[0], 64))));
    }
    Ok(tags)
}

fn parse_fields<'a>(cursor: &mut Cursor<'a>) -> Result<Vec<(Cow<'a, str>, FieldText<'a>)>, Fault> {
    let mut fields = Vec::new();
    loop {
        let name = cursor.word(b",= ", b",= ")?;
        if name.is_empty() {
            return Err(Fault::syntax("missing field key"));
        }
        if cursor.peek() != Some(b'=') {
            return Err(Fault::syntax(format!("missing value of field {:?}", excerpt(&name, 64))));
        }
        cursor.at += 1;
        let value = if cursor.peek() == Some(b'"') {
            FieldText::Quoted(cursor.quoted()?)
        } else {
            let start = cursor.at;
            while !cursor.at_end() && !matches!(cursor.peek(), Some(b',' | b' ')) {
                cursor.at += 1;
            }
            FieldText::Bare(&cursor.text[start..cursor.at])
        };
        fields.push((name, value));
        match cursor.peek() {
            Some(b',') => cursor.at += 1,
            Some(b' ') => return Ok(fields),
            _ if cursor.at_end() => return Ok(fields),
            _ => return Err(Fault::syntax("text after the end of a string")),
        }
    }
}

/// Sets the cells of a row; of two with one name the later one stands.
pub(super) fn set_fields(
    builder: &mut PointsBuilder,
    fields: &[(Cow<'_, str>, FieldText<'_>)],
) -> Result<(), Fault> {
    const RULE: Duplicate = Duplicate::Replace;
    for (name, value) in fields {
        match value {
            FieldText::Quoted(text) => builder.text(name, text, RULE)?,
            FieldText::Bare(b"t" | b"T" | b"true" | b"True" | b"TRUE") => {
                builder.bool(name, true, RULE)?;
            }
            FieldText::Bare(b"f" | b"F" | b"false" | b"False" | b"FALSE") => {
                builder.bool(name, false, RULE)?;
            }
            FieldText::Bare(b"") => {
                let detail = format!("missing field value of {:?}", excerpt(name, 64));
                return Err(Fault::syntax(detail));
            }
            FieldText::Bare([digits @ .., b'i']) => builder.int(name, parse_int(digits)?, RULE)?,
            FieldText::Bare([digits @ .., b'u']) => {
                if digits.starts_with(b"-") {
                    let detail = format!("the unsigned field {:?} is negative", excerpt(name, 64));
                    return Err(Fault::new(RejectReason::Number, detail));
                }
                builder.int(name, parse_int(digits)?, RULE)?;
            }
            FieldText::Bare(text) => builder.float(name, parse_float(text)?, RULE)?,
        }
    }
    Ok(())
}
