//! JSON answers.

use super::cell::{Writer, json_text};
use crate::{Answer, Result, relation::type_name};

/// One object: columns, rows, stats.
pub(super) fn object(answer: &Answer) -> Result<Vec<u8>> {
    const BYTES_A_CELL: usize = 16;
    let cells = answer.rows() * answer.schema.fields().len();
    let mut out = Vec::with_capacity(512 + cells * BYTES_A_CELL);
    out.extend_from_slice(b"{\"columns\":[");
    for (place, field) in answer.schema.fields().iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        json_text(&mut out, field.name());
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(type_name(field.data_type()).as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"],\"rows\":[");
    let mut first = true;
    for batch in &answer.batches {
        let writers = Writer::all(batch)?;
        for row in 0..batch.num_rows() {
            if !first {
                out.push(b',');
            }
            first = false;
            out.push(b'[');
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                writer.json(&mut out, row);
            }
            out.push(b']');
        }
    }
    out.extend_from_slice(b"],\"stats\":{\"elapsed_ms\":");
    let elapsed_ms = answer.stats.elapsed.as_micros() as f64 / 1_000.0;
    out.extend_from_slice(ryu::Buffer::new().format_finite(elapsed_ms).as_bytes());
    let mut number = |name: &str, value: u64| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    };
    number("rows", answer.rows() as u64);
    let counted = [
        ("rows_scanned", answer.stats.rows_scanned),
        ("series", answer.stats.series),
        ("tablets", answer.stats.tablets),
    ];
    for (name, value) in counted {
        if let Some(value) = value {
            number(name, value);
        }
    }
    out.extend_from_slice(b"}}");
    Ok(out)
}

/// One object a row.
pub(super) fn lines(answer: &Answer) -> Result<Vec<u8>> {
    let names: Vec<Vec<u8>> = answer
        .schema
        .fields()
        .iter()
        .map(|field| {
            let mut name = Vec::new();
            json_text(&mut name, field.name());
            name.push(b':');
            name
        })
        .collect();
    let mut out = Vec::new();
    for batch in &answer.batches {
        let writers = Writer::all(batch)?;
        for row in 0..batch.num_rows() {
            out.push(b'{');
            for (place, (name, writer)) in names.iter().zip(&writers).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                writer.json(&mut out, row);
            }
            out.extend_from_slice(b"}\n");
        }
    }
    Ok(out)
}
