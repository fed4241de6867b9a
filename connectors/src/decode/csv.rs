//! CSV with a header line. Cells without quotes are typed by their looks: integer, float,
//! boolean, else text; an empty cell and `NA`, `NaN`, `null` are null.

use super::{
    CELL_BYTES_MAX, FIELDS_MAX, Fault,
    number::{Number, parse_json_number},
    row::{Cell, RowSink},
};
use oribi_model::RejectReason;

/// Reads a body; origins are line numbers that count from the sink's, the header being the first.
///
/// # Errors
/// A header that cannot be. Rows that cannot be are refused one by one.
pub fn read_rows(body: &[u8], sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    let body = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body);
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_reader(body);
    let mut record = csv::ByteRecord::new();
    let broken = |wrong: csv::Error| Fault::syntax(format!("cannot read the csv: {wrong}"));
    if !reader.read_byte_record(&mut record).map_err(broken)? {
        return Ok(());
    }
    let header = read_header(&record)?;
    let first = sink.origin;
    loop {
        let more = reader.read_byte_record(&mut record).map_err(broken)?;
        if !more {
            return Ok(());
        }
        let line = record.position().map_or(0, csv::Position::line);
        let after = u32::try_from(line.saturating_sub(1)).unwrap_or(u32::MAX);
        sink.origin = first.saturating_add(after);
        if record.len() != header.len() {
            let (found, wanted) = (record.len(), header.len());
            sink.refuse(Fault::syntax(format!("{found} cells where the header has {wanted}")));
        } else {
            for (name, cell) in header.iter().zip(&record) {
                set_cell(name, cell, sink);
            }
        }
        sink.end_row();
    }
}

fn read_header(record: &csv::ByteRecord) -> Result<Vec<String>, Fault> {
    if record.len() > FIELDS_MAX {
        let detail = format!("{} columns; at most {FIELDS_MAX} fit", record.len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    let names = record.iter().map(|name| {
        let name = std::str::from_utf8(name).map_err(|_| Fault::syntax("line 1 is not UTF-8"))?;
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

fn set_cell(name: &str, cell: &[u8], sink: &mut RowSink<'_, '_>) {
    let Ok(text) = std::str::from_utf8(cell) else {
        sink.refuse(Fault::syntax("the line is not UTF-8"));
        return;
    };
    if text.len() > CELL_BYTES_MAX {
        let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", text.len());
        sink.refuse(Fault::new(RejectReason::Limit, detail));
        return;
    }
    let cell = match text.trim() {
        "" | "NA" | "NaN" | "nan" | "null" | "NULL" => return,
        "true" | "True" | "TRUE" => Cell::Bool(true),
        "false" | "False" | "FALSE" => Cell::Bool(false),
        trimmed if trimmed.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => {
            match parse_json_number(trimmed.as_bytes()) {
                Ok(Number::Int(value)) => Cell::Int(value, trimmed),
                Ok(Number::Float(value)) => Cell::Float(value, trimmed),
                Err(fault) if fault.reason == RejectReason::Number && is_numeric(trimmed) => {
                    sink.refuse(fault);
                    return;
                }
                Err(_) => Cell::Text(text),
            }
        }
        _ => Cell::Text(text),
    };
    sink.set(name, cell);
}

/// Whether a text was meant as a number, so that one too large is refused and not kept as text.
fn is_numeric(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    digits.bytes().all(|b| b.is_ascii_digit())
        || fast_float2::parse::<f64, _>(text).is_ok_and(|value: f64| !value.is_finite())
}

#[cfg(test)]
mod tests;
