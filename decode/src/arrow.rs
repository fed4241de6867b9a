//! Arrow IPC, stream and file. The bytes are not trusted: sizes are capped before anything is
//! allocated, every array is validated, and a panic of the reader is a refused body.

use super::{
    FIELDS_MAX, Fault, excerpt,
    row::{Cell, RowSink},
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    cast::AsArray,
};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, DataType, SchemaRef, TimeUnit};
use oribi_model::RejectReason;
use std::{
    io::Cursor,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// Most record batches in one body.
const BATCHES_MAX: usize = 100_000;
/// Most rows in one body.
const ROWS_MAX: usize = 16 << 20;
const FILE_MAGIC: &[u8] = b"ARROW1";

/// Reads a body; origins are row numbers from 1. A body is read as a whole before its first row
/// counts.
///
/// # Errors
/// Bytes that are no valid Arrow IPC, and columns that cannot be.
pub fn read_rows(body: &[u8], sink: &mut RowSink<'_, '_>) -> Result<(), Fault> {
    check_lengths(body)?;
    let read = catch_unwind(AssertUnwindSafe(|| read_batches(body)));
    let batches = read.unwrap_or_else(|_| Err(broken("the structure is not valid")))?;
    for batch in &batches {
        let columns = columns(batch)?;
        for row in 0..batch.num_rows() {
            for (name, column) in &columns {
                column.set(name, row, sink);
            }
            sink.end_row();
        }
    }
    Ok(())
}

fn broken(detail: impl std::fmt::Display) -> Fault {
    Fault::syntax(format!("cannot read the arrow data: {}", excerpt(&detail.to_string(), 256)))
}

/// Walks the message heads of a stream, so that no length in them is believed before it is known
/// to lie within the body; for compressed buffers also the length they claim to grow to.
fn check_lengths(body: &[u8]) -> Result<(), Fault> {
    if body.starts_with(FILE_MAGIC) {
        let footer = body.len().checked_sub(10).ok_or_else(|| broken("the file is too short"))?;
        let length = i32::from_le_bytes(*body[footer..].first_chunk().expect("ten bytes are left"));
        let fits = usize::try_from(length).is_ok_and(|length| length <= footer);
        let end = &body[footer + 4..] == FILE_MAGIC;
        return if fits && end { Ok(()) } else { Err(broken("the footer is not valid")) };
    }
    let mut at = 0;
    while at + 4 <= body.len() {
        let word = |at: usize| body.get(at..at + 4).and_then(|b| b.first_chunk().copied());
        let mut length = i32::from_le_bytes(word(at).unwrap_or_default());
        at += 4;
        if length == -1 {
            length = i32::from_le_bytes(word(at).ok_or_else(|| broken("it ends too early"))?);
            at += 4;
        }
        if length == 0 {
            return Ok(());
        }
        let head = usize::try_from(length).ok().and_then(|length| body.get(at..at + length));
        let head = head.ok_or_else(|| broken("a message is longer than the body"))?;
        let message = arrow_ipc::root_as_message(head).map_err(broken)?;
        let content = usize::try_from(message.bodyLength())
            .map_err(|_| broken("a message has a negative length"))?;
        at += head.len();
        let bytes = body.get(at..at.saturating_add(content));
        let bytes = bytes.ok_or_else(|| broken("a message is longer than the body"))?;
        check_buffers(&message, bytes)?;
        at += content;
    }
    Ok(())
}

fn check_buffers(message: &arrow_ipc::Message<'_>, content: &[u8]) -> Result<(), Fault> {
    let batch = message.header_as_record_batch();
    let batch = batch.or_else(|| message.header_as_dictionary_batch().and_then(|one| one.data()));
    let Some(batch) = batch else { return Ok(()) };
    if !usize::try_from(batch.length()).is_ok_and(|rows| rows <= ROWS_MAX) {
        return Err(Fault::new(RejectReason::Limit, format!("more than {ROWS_MAX} rows")));
    }
    let compressed = batch.compression().is_some();
    let mut total = 0u64;
    for buffer in batch.buffers().iter().flatten() {
        let start = usize::try_from(buffer.offset()).map_err(|_| broken("a negative offset"))?;
        let length = usize::try_from(buffer.length()).map_err(|_| broken("a negative length"))?;
        let bytes = content
            .get(start..start.saturating_add(length))
            .ok_or_else(|| broken("a buffer lies outside its message"))?;
        if compressed && let Some(claim) = bytes.first_chunk() {
            let claim = i64::from_le_bytes(*claim).max(0) as u64;
            total = total.saturating_add(claim);
            if total > (64 << 20) || claim > (bytes.len() as u64).saturating_mul(1000) + (1 << 20) {
                let detail = "a compressed buffer grows beyond the limit";
                return Err(Fault::new(RejectReason::Limit, detail));
            }
        }
    }
    Ok(())
}

fn read_batches(body: &[u8]) -> Result<Vec<RecordBatch>, Fault> {
    if body.starts_with(FILE_MAGIC) {
        let reader = FileReader::try_new(Cursor::new(body), None).map_err(broken)?;
        let schema = reader.schema();
        return collect(reader, &schema);
    }
    let reader = StreamReader::try_new(Cursor::new(body), None).map_err(broken)?;
    let schema = reader.schema();
    collect(reader, &schema)
}

fn collect(
    reader: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
    schema: &SchemaRef,
) -> Result<Vec<RecordBatch>, Fault> {
    if schema.fields().len() > FIELDS_MAX {
        let detail = format!("{} columns; at most {FIELDS_MAX} fit", schema.fields().len());
        return Err(Fault::new(RejectReason::Limit, detail));
    }
    for field in schema.fields() {
        if field.data_type().is_nested() {
            let detail = format!("the column {:?} is nested", excerpt(field.name(), 64));
            return Err(broken(detail));
        }
    }
    let mut batches = Vec::new();
    let mut rows = 0;
    for (at, batch) in reader.enumerate() {
        let batch = batch.map_err(broken)?;
        if at >= BATCHES_MAX {
            let detail = format!("more than {BATCHES_MAX} record batches");
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        rows += batch.num_rows();
        if rows > ROWS_MAX {
            return Err(Fault::new(RejectReason::Limit, format!("more than {ROWS_MAX} rows")));
        }
        for column in batch.columns() {
            column.to_data().validate_full().map_err(broken)?;
        }
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    Ok(batches)
}

enum Column {
    Int(Int64Array),
    Float(Float64Array),
    Bool(BooleanArray),
    Text(StringArray),
    /// Nanoseconds since the Unix epoch, told apart from numbers whose unit must be guessed.
    Time(Int64Array),
    Null,
}

fn columns(batch: &RecordBatch) -> Result<Vec<(String, Column)>, Fault> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.map(|(field, array)| Ok((field.name().clone(), column(field.name(), array)?))).collect()
}

fn column(name: &str, array: &ArrayRef) -> Result<Column, Fault> {
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |to: &DataType| -> Result<ArrayRef, Fault> {
        let made = catch_unwind(AssertUnwindSafe(|| cast_with_options(array, to, &strict)));
        made.map_err(|_| broken("a cast failed"))?
            .map_err(|wrong| broken(format!("column {:?}: {wrong}", excerpt(name, 64))))
    };
    Ok(match array.data_type() {
        DataType::Null => Column::Null,
        DataType::Boolean => Column::Bool(array.as_boolean().clone()),
        kind if kind.is_integer() => Column::Int(cast(&DataType::Int64)?.as_primitive().clone()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            Column::Float(cast(&DataType::Float64)?.as_primitive().clone())
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            Column::Text(cast(&DataType::Utf8)?.as_string().clone())
        }
        DataType::Dictionary(_, values)
            if matches!(**values, DataType::Utf8 | DataType::LargeUtf8) =>
        {
            Column::Text(cast(&DataType::Utf8)?.as_string().clone())
        }
        DataType::Timestamp(_, zone) => {
            let to = DataType::Timestamp(TimeUnit::Nanosecond, zone.clone());
            let times = cast(&to)?;
            let times = cast_with_options(&times, &DataType::Int64, &strict).map_err(broken)?;
            Column::Time(times.as_primitive().clone())
        }
        other => {
            let name = excerpt(name, 64);
            return Err(broken(format!(
                "column {name:?} has the type {other}, which is not known"
            )));
        }
    })
}

impl Column {
    fn set(&self, name: &str, row: usize, sink: &mut RowSink<'_, '_>) {
        let array: &dyn Array = match self {
            Column::Int(array) | Column::Time(array) => array,
            Column::Float(array) => array,
            Column::Bool(array) => array,
            Column::Text(array) => array,
            Column::Null => return,
        };
        if array.is_null(row) {
            return;
        }
        match self {
            Column::Int(array) => {
                let mut text = itoa::Buffer::new();
                let value = array.value(row);
                sink.set(name, Cell::Int(value, text.format(value)));
            }
            Column::Time(array) => sink.set_time(name, array.value(row)),
            Column::Float(array) => {
                let value = array.value(row);
                if value.is_finite() {
                    let mut text = ryu::Buffer::new();
                    sink.set(name, Cell::Float(value, text.format_finite(value)));
                } else {
                    let detail =
                        format!("{value} in column {:?} cannot be kept", excerpt(name, 64));
                    sink.refuse(Fault::new(RejectReason::Number, detail));
                }
            }
            Column::Bool(array) => sink.set(name, Cell::Bool(array.value(row))),
            Column::Text(array) => sink.set(name, Cell::Text(array.value(row))),
            Column::Null => {}
        }
    }
}

#[cfg(test)]
mod tests;
