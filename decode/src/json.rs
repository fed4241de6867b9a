//! JSON: an object, an array of objects, or one object a line. Members become cells as they are
//! read; nothing is built in between. Nested objects flatten with `_`, arrays inside as `a_0`.

mod parser;

use super::{
    Fault, JSON_DEPTH_MAX, ROW_BYTES_MAX,
    document::Document,
    number::{Number, parse_json_number},
    row::RowSink,
};
use oribi_model::RejectReason;
use parser::{Held, Parser};
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

/// As [`read_rows`], also where further objects stand behind the first one.
///
/// # Errors
/// As [`read_rows`].
pub fn read_objects(text: &str, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let mut parser = Parser::new(text);
    parser.skip_blanks();
    if parser.peek() != Some(b'{') {
        return read_rows(text, sink);
    }
    loop {
        parser.cells(sink)?;
        parser.skip_blanks();
        if parser.peek() != Some(b'{') {
            parser.end()?;
            sink.end_row();
            return Ok(());
        }
        sink.end_row();
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

/// Reads any JSON text whole.
///
/// # Errors
/// Text that is no JSON, numbers that cannot be kept, members that stand twice.
pub fn read_document(text: &str) -> Result<Document, Fault> {
    let mut parser = Parser::new(text);
    parser.skip_blanks();
    let document = parser.document(0)?;
    parser.end()?;
    Ok(document)
}

/// As [`read_document`]; where further objects stand behind the first one, the list of them.
///
/// # Errors
/// As [`read_document`].
pub fn read_documents(text: &str) -> Result<Document, Fault> {
    let mut parser = Parser::new(text);
    parser.skip_blanks();
    let first = parser.document(0)?;
    let mut all = vec![first];
    parser.skip_blanks();
    while matches!(all[0], Document::Map(_)) && parser.peek() == Some(b'{') {
        all.push(parser.document(0)?);
        parser.skip_blanks();
    }
    parser.end()?;
    Ok(if all.len() == 1 { all.swap_remove(0) } else { Document::List(all) })
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

impl Parser<'_> {
    fn rows(&mut self, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
        self.items(b']', |parser, _| {
            if parser.peek() != Some(b'{') {
                return Err(parser.expected("an object"));
            }
            parser.cells(sink)?;
            sink.end_row();
            Ok(())
        })
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
        self.items(b'}', |parser, _| {
            let name = parser.member_name()?;
            parser.member(&name, sink, depth)
        })
    }

    fn array(&mut self, sink: &mut RowSink<'_, '_>, depth: usize) -> Result<(), Fault> {
        check_depth(depth)?;
        let mut number = itoa::Buffer::new();
        self.items(b']', |parser, place| parser.member(number.format(place), sink, depth))
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
}

impl Parser<'_> {
    fn document(&mut self, depth: usize) -> Result<Document, Fault> {
        check_depth(depth)?;
        match self.peek() {
            Some(b'{') => {
                let mut members: Vec<(String, Document)> = Vec::new();
                self.items(b'}', |parser, _| {
                    let name = parser.member_name()?.into_owned();
                    members.push((name, parser.document(depth + 1)?));
                    Ok(())
                })?;
                Document::map(members)
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                self.items(b']', |parser, _| {
                    elements.push(parser.document(depth + 1)?);
                    Ok(())
                })?;
                Ok(Document::List(elements))
            }
            _ => Ok(match self.scalar()? {
                None => Document::Null,
                Some(Held::Bool(value)) => Document::Bool(value),
                Some(Held::Number(Number::Int(value), _)) => Document::Int(value),
                Some(Held::Number(Number::Float(value), _)) => Document::Float(value),
                Some(Held::Text(text)) => Document::Text(text.into_owned()),
            }),
        }
    }
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
