//! CSV with a header line. Cells without quotes are typed by their looks: integer, float, boolean,
//! else text; an empty one and `NA`, `NaN`, `null` are null. What stands between quotes is text.

mod reader;

use super::{
    CELL_BYTES_MAX, FIELDS_MAX, Fault, ROW_BYTES_MAX,
    number::{Number, parse_float, parse_int},
    row::{Cell, RowSink},
};
use oribi_model::RejectReason;
use reader::{RawCell, Reader};

/// What divides cells unless it is said otherwise.
pub const DELIMITER: u8 = b',';

/// Reads a body whose cells are divided by `delimiter`; origins are line numbers that count from the
/// sink's, the header being the first.
///
/// # Errors
/// A header that cannot be. Rows that cannot be are refused one by one.
pub fn read_rows(body: &[u8], delimiter: u8, sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let mut reader = Reader::new(body, delimiter);
    let unclosed = || Fault::syntax("a quote is never closed");
    let mut cells = Vec::new();
    if reader.next(&mut cells).map_err(|_| unclosed())?.is_none() {
        return Ok(());
    }
    let header = read_header(&cells)?;
    let first = sink.origin;
    let mut last = 0;
    loop {
        match reader.next(&mut cells) {
            Ok(None) => return Ok(()),
            Ok(Some(line)) => {
                last = line;
                sink.origin = first.saturating_add(line);
                read_row(&header, &cells, sink);
            }
            Err(_) => {
                sink.origin = first.saturating_add(last + 1);
                sink.refuse(unclosed());
                sink.end_row();
                return Ok(());
            }
        }
    }
}

fn read_row(header: &[String], cells: &[RawCell<'_>], sink: &mut RowSink<'_, '_>) {
    let length: usize = cells.iter().map(|cell| cell.text.len() + 1).sum();
    if length > ROW_BYTES_MAX {
        let detail = format!("a row of {length} bytes; at most {ROW_BYTES_MAX} fit");
        sink.refuse(Fault::new(RejectReason::Limit, detail));
    } else if cells.len() != header.len() {
        let (found, wanted) = (cells.len(), header.len());
        sink.refuse(Fault::syntax(format!("{found} cells where the header has {wanted}")));
    } else {
        for (name, cell) in header.iter().zip(cells) {
            set_cell(name, cell, sink);
        }
    }
    sink.end_row();
}

fn read_header(record: &[RawCell<'_>]) -> Result<Vec<String>, Fault> {
    if record.len() > FIELDS_MAX {
        let detail = format!("{} columns; at most {FIELDS_MAX} fit", record.len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    let names = record.iter().map(|name| {
        let name =
            std::str::from_utf8(&name.text).map_err(|_| Fault::syntax("line 1 is not UTF-8"))?;
        Ok(name.trim().to_owned())
    });
    let names: Vec<String> = names.collect::<Result<_, Fault>>()?;
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Fault::syntax(format!("the column {:?} stands twice in the header", pair[0])));
    }
    Ok(names)
}

fn set_cell(name: &str, cell: &RawCell<'_>, sink: &mut RowSink<'_, '_>) {
    let Ok(text) = std::str::from_utf8(&cell.text) else {
        sink.refuse(Fault::syntax("the line is not UTF-8"));
        return;
    };
    if text.len() > CELL_BYTES_MAX {
        let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", text.len());
        sink.refuse(Fault::new(RejectReason::Limit, detail));
        return;
    }
    if cell.is_quoted {
        sink.set(name, Cell::Text(text));
        return;
    }
    let cell = match text.trim() {
        "" | "NA" | "NaN" | "nan" | "null" | "NULL" => return,
        "true" | "True" | "TRUE" => Cell::Bool(true),
        "false" | "False" | "FALSE" => Cell::Bool(false),
        trimmed => match number(trimmed) {
            None => Cell::Text(text),
            Some(Ok(Number::Int(value))) => Cell::Int(value, trimmed),
            Some(Ok(Number::Float(value))) => Cell::Float(value, trimmed),
            Some(Err(fault)) => {
                sink.refuse(fault);
                return;
            }
        },
    };
    sink.set(name, cell);
}

/// A text that is a number as line protocol has them, `.5`, `5.` and `+5` too, or why it cannot be
/// kept. `None` for other text, such as an id with zeros before it.
fn number(text: &str) -> Option<Result<Number, Fault>> {
    let size = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_like = size.starts_with(|c: char| c == '.' || c.is_ascii_digit())
        && size.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let is_padded = size.len() > 1 && size.starts_with('0') && size.as_bytes()[1].is_ascii_digit();
    if !is_like || is_padded {
        return None;
    }
    if size.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(parse_int(text.as_bytes()).map(Number::Int));
    }
    let is_number = fast_float2::parse::<f64, _>(text).is_ok();
    is_number.then(|| parse_float(text.as_bytes()).map(Number::Float))
}

#[cfg(test)]
mod tests;
