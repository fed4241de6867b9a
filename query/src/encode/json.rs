//! JSON answers.

use super::{
    cell::{Writer, json_text},
    pieces::Pieces,
};
use crate::{Answer, Error, Result, relation::type_name};

/// One object: columns, rows, stats.
pub(super) fn object(answer: Answer, pieces: &mut Pieces<'_>) -> Result<()> {
    let (rows, stats) = (answer.rows(), answer.stats);
    let out = &mut pieces.open;
    out.extend_from_slice(b"{\"columns\":[");
    for (place, field) in answer.schema.fields().iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"name\":");
        json_text(out, field.name());
        out.extend_from_slice(b",\"type\":\"");
        out.extend_from_slice(type_name(field.data_type()).as_bytes());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"],\"rows\":[");
    let mut first = true;
    for batch in answer.batches {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            pieces.cut()?;
            let out = &mut pieces.open;
            if !first {
                out.push(b',');
            }
            first = false;
            out.push(b'[');
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                writer.json(out, row);
            }
            out.push(b']');
        }
    }
    let out = &mut pieces.open;
    out.extend_from_slice(b"],\"stats\":{\"elapsed_ms\":");
    let elapsed_ms = stats.elapsed.as_micros() as f64 / 1_000.0;
    out.extend_from_slice(ryu::Buffer::new().format_finite(elapsed_ms).as_bytes());
    let mut number = |name: &str, value: u64| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    };
    number("rows", rows as u64);
    let counted = [
        ("rows_scanned", stats.rows_scanned),
        ("series", stats.series),
        ("tablets", stats.tablets),
    ];
    for (name, value) in counted {
        if let Some(value) = value {
            number(name, value);
        }
    }
    out.extend_from_slice(b"}}");
    Ok(())
}

/// One object a row.
///
/// # Errors
/// [`Error::Parameter`] where two columns have one name, of which readers would keep one.
pub(super) fn lines(answer: Answer, out: &mut Pieces<'_>) -> Result<()> {
    let fields = answer.schema.fields();
    for (at, field) in fields.iter().enumerate() {
        if fields[..at].iter().any(|other| other.name() == field.name()) {
            let detail = format!(
                "two columns are named {:?}, and an object of NDJSON holds one; expected AS with \
                 another name",
                field.name()
            );
            return Err(Error::parameter("format", detail));
        }
    }
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
    for batch in answer.batches {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            out.cut()?;
            let out = &mut out.open;
            out.push(b'{');
            for (place, (name, writer)) in names.iter().zip(&writers).enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(name);
                writer.json(out, row);
            }
            out.extend_from_slice(b"}\n");
        }
    }
    Ok(())
}
