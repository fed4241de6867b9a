//! Answers as bytes: JSON, NDJSON, CSV and Arrow IPC, written straight into one buffer.

mod cell;
mod json;

use crate::{Answer, Error, Result};
use cell::Writer;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object with columns, rows and stats.
    Json,
    /// One JSON object a row.
    NdJson,
    /// Comma-separated, with a head.
    Csv,
    /// Arrow IPC stream.
    Arrow,
}

impl Format {
    /// The format that the parameter or else the Accept header asks for.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a format that does not exist.
    pub(crate) fn choose(parameter: Option<&str>, accept: Option<&str>) -> Result<Format> {
        match parameter.map(str::trim).filter(|text| !text.is_empty()) {
            Some("json") => return Ok(Format::Json),
            Some("ndjson") => return Ok(Format::NdJson),
            Some("csv") => return Ok(Format::Csv),
            Some("arrow") => return Ok(Format::Arrow),
            Some(other) => {
                let detail = format!("{other:?} is no format; expected json, csv, ndjson or arrow");
                return Err(Error::parameter("format", detail));
            }
            None => {}
        }
        for kind in accept.unwrap_or_default().split(',') {
            match kind.split(';').next().unwrap_or_default().trim() {
                "application/json" => return Ok(Format::Json),
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                    return Ok(Format::NdJson);
                }
                "text/csv" => return Ok(Format::Csv),
                "application/vnd.apache.arrow.stream" => return Ok(Format::Arrow),
                _ => {}
            }
        }
        Ok(Format::Json)
    }

    /// The Content-Type.
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::NdJson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8",
            Format::Arrow => "application/vnd.apache.arrow.stream",
        }
    }
}

/// Writes an answer.
///
/// # Errors
/// [`Error::Internal`] where a column has a type that cannot be written.
pub(crate) fn encode(answer: &Answer, format: Format) -> Result<Vec<u8>> {
    match format {
        Format::Json => json::object(answer),
        Format::NdJson => json::lines(answer),
        Format::Csv => csv(answer),
        Format::Arrow => {
            arrow(answer).map_err(|error| Error::Internal { detail: error.to_string() })
        }
    }
}

fn arrow(answer: &Answer) -> Result<Vec<u8>, arrow_schema::ArrowError> {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &answer.schema)?;
    for batch in &answer.batches {
        writer.write(batch)?;
    }
    writer.into_inner()
}

fn csv(answer: &Answer) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    for (place, field) in answer.schema.fields().iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        cell::csv_text(&mut out, field.name());
    }
    out.extend_from_slice(b"\r\n");
    for batch in &answer.batches {
        let writers = Writer::all(batch)?;
        for row in 0..batch.num_rows() {
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.push(b',');
                }
                writer.csv(&mut out, row);
            }
            out.extend_from_slice(b"\r\n");
        }
    }
    Ok(out)
}
