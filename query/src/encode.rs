//! Answers as bytes: JSON, NDJSON, CSV and Arrow IPC.

mod arrow;
mod cell;
mod csv;
mod json;
mod pieces;

pub(crate) use pieces::PIECE_BYTES;

use crate::{Error, Result, delivery::Outlet, target::Target};
use axum::body::Bytes;
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

/// Writes an answer into `outlet`, in pieces.
///
/// # Errors
/// The target's errors are [`Error::AnswerLimit`] past `bytes_max` bytes, [`Error::Parameter`] where
/// the format cannot hold the answer, [`Error::Internal`] where a column has a type that cannot be
/// written.
pub(crate) fn target(format: Format, outlet: Outlet<Bytes>, bytes_max: usize) -> Box<dyn Target> {
    let pieces = Pieces::new(outlet, bytes_max);
    match format {
        Format::Json => Box::new(json::Object::new(pieces)),
        Format::NdJson => Box::new(json::Lines::new(pieces)),
        Format::Csv => Box::new(csv::Csv::new(pieces)),
        Format::Arrow => Box::new(arrow::Stream::new(pieces)),
    }
}
