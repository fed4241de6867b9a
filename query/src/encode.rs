//! Answers as bytes: JSON, NDJSON, CSV and Arrow IPC.

mod arrow;
mod cell;
mod json;
mod pieces;

use crate::{Answer, Error, Result, watch::Watch};
use axum::body::Bytes;
use cell::Writer;
use pieces::Pieces;

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
        Ok(Format::accepted(accept.unwrap_or_default()))
    }

    /// The format that a client likes best, the first of equals; JSON where it names none.
    fn accepted(accept: &str) -> Format {
        let mut best = (0.0, Format::Json);
        for kind in accept.split(',') {
            let mut parts = kind.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default() {
                "application/json" | "application/*" | "*/*" => Format::Json,
                "application/x-ndjson" | "application/ndjson" | "application/jsonl" => {
                    Format::NdJson
                }
                "text/csv" | "text/*" => Format::Csv,
                "application/vnd.apache.arrow.stream" => Format::Arrow,
                _ => continue,
            };
            let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok());
            let quality = quality.unwrap_or(1.0);
            if quality > best.0 {
                best = (quality, format);
            }
        }
        best.1
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

/// An answer as bytes.
#[derive(Debug)]
pub(crate) struct Encoded {
    /// One after the other.
    pub(crate) pieces: Vec<Bytes>,
    /// How they are written.
    pub(crate) format: Format,
}

/// Writes an answer, giving up its rows as it goes.
///
/// # Errors
/// [`Error::AnswerLimit`] where it has more than `bytes_max` bytes, [`Error::Parameter`] where the
/// format cannot hold it, [`Error::Internal`] where a column has a type that cannot be written.
pub(crate) fn encode(
    answer: Answer,
    format: Format,
    bytes_max: usize,
    watch: &Watch,
) -> Result<Encoded> {
    let mut out = Pieces::new(bytes_max, watch);
    match format {
        Format::Json => json::object(answer, &mut out)?,
        Format::NdJson => json::lines(answer, &mut out)?,
        Format::Csv => csv(answer, &mut out)?,
        Format::Arrow => arrow::stream(answer, &mut out)?,
    }
    Ok(Encoded { pieces: out.finish()?, format })
}

fn csv(answer: Answer, out: &mut Pieces<'_>) -> Result<()> {
    for (place, field) in answer.schema.fields().iter().enumerate() {
        if place > 0 {
            out.open.push(b',');
        }
        cell::csv_text(&mut out.open, field.name());
    }
    out.open.extend_from_slice(b"\r\n");
    for batch in answer.batches {
        let writers = Writer::all(&batch)?;
        for row in 0..batch.num_rows() {
            let before = out.open.len();
            for (place, writer) in writers.iter().enumerate() {
                if place > 0 {
                    out.open.push(b',');
                }
                writer.csv(&mut out.open, row);
            }
            if out.open.len() == before {
                // A null alone in its line; readers skip lines of nothing.
                out.open.extend_from_slice(b"\"\"");
            }
            out.open.extend_from_slice(b"\r\n");
            out.cut()?;
        }
    }
    Ok(())
}
