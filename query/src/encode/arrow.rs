//! Arrow IPC.

use super::pieces::{PIECE_BYTES, Pieces};
use crate::{Error, Result, answer::Stats, target::Target};
use arrow_array::{
    Array, ArrayRef, BinaryArray, LargeStringArray, RecordBatch, RecordBatchOptions, StringArray,
    StringViewArray, cast::AsArray,
};
use arrow_buffer::{Buffer, OffsetBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use std::{ops::Range, sync::Arc};

/// Rows of one message at most.
const ROWS_MAX: usize = 8_192;

/// A stream of batches. Texts are plain ones, which every reader knows.
pub(super) enum Stream {
    /// No columns yet.
    Waiting(Option<Pieces>),
    /// With columns.
    Begun(Box<StreamWriter<Pieces>>, SchemaRef),
}

impl Stream {
    pub(super) fn new(pieces: Pieces) -> Stream {
        Stream::Waiting(Some(pieces))
    }

    fn begun(&mut self) -> Result<(&mut StreamWriter<Pieces>, &SchemaRef)> {
        match self {
            Stream::Begun(writer, schema) => Ok((writer, schema)),
            Stream::Waiting(_) => {
                Err(Error::Internal { detail: "an answer has no columns".into() })
            }
        }
    }
}

impl Target for Stream {
    fn begin(&mut self, schema: &SchemaRef) -> Result<()> {
        let Stream::Waiting(pieces) = self else {
            return Err(Error::Internal { detail: "an answer begins twice".into() });
        };
        let Some(pieces) = pieces.take() else { return Err(Error::Cancelled) };
        let schema = plain(schema);
        let writer = StreamWriter::try_new(pieces, &schema).map_err(own)?;
        *self = Stream::Begun(Box::new(writer), schema);
        Ok(())
    }

    fn rows(&mut self, batch: RecordBatch) -> Result<()> {
        let (writer, schema) = self.begun()?;
        for rows in messages(&batch) {
            let some = batch.slice(rows.start, rows.len());
            with_schema(&some, schema).and_then(|some| writer.write(&some)).map_err(own)?;
        }
        Ok(())
    }

    fn end(&mut self, stats: Stats) -> Result<()> {
        let (writer, _) = self.begun()?;
        writer.finish().map_err(own)?;
        writer.get_mut().end(stats)
    }
}

/// The rows of each message: so few that their texts make no more than about one piece.
fn messages(batch: &RecordBatch) -> Vec<Range<usize>> {
    let texts: Vec<_> = batch.columns().iter().filter_map(Texts::of).collect();
    let bytes = |row: usize| -> usize { texts.iter().map(|array| array.bytes(row)).sum() };
    let (mut messages, mut start, mut held) = (Vec::new(), 0, 0);
    for row in 0..batch.num_rows() {
        held += bytes(row);
        if row + 1 - start == ROWS_MAX || held >= PIECE_BYTES || row + 1 == batch.num_rows() {
            messages.push(start..row + 1);
            (start, held) = (row + 1, 0);
        }
    }
    messages
}

/// An array whose values have lengths of their own.
enum Texts<'a> {
    Plain(&'a StringArray),
    Large(&'a LargeStringArray),
    View(&'a StringViewArray),
    Binary(&'a BinaryArray),
}

impl Texts<'_> {
    fn of(array: &ArrayRef) -> Option<Texts<'_>> {
        let plain = array.as_string_opt::<i32>().map(Texts::Plain);
        let large = || array.as_string_opt::<i64>().map(Texts::Large);
        let view = || array.as_string_view_opt().map(Texts::View);
        let binary = || array.as_binary_opt::<i32>().map(Texts::Binary);
        plain.or_else(large).or_else(view).or_else(binary)
    }

    fn bytes(&self, row: usize) -> usize {
        match self {
            Texts::Plain(array) => array.value_length(row) as usize,
            Texts::Large(array) => array.value_length(row) as usize,
            // The lower half of a view is its length.
            Texts::View(array) => array.views()[row] as u32 as usize,
            Texts::Binary(array) => array.value_length(row) as usize,
        }
    }
}

/// The error that the pieces gave to the writer.
fn own(error: ArrowError) -> Error {
    let ArrowError::IoError(_, io) = &error else {
        return Error::Internal { detail: error.to_string() };
    };
    match io.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(own) => own.clone(),
        None => Error::Internal { detail: error.to_string() },
    }
}

fn plain(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
            other => other.clone(),
        };
        Field::new(field.name(), data_type, field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let cast = |(array, field): (&ArrayRef, &Arc<Field>)| match array.as_string_view_opt() {
        Some(views) => Ok(Arc::new(texts_of(views)?) as ArrayRef),
        None => arrow_cast::cast(array, field.data_type()),
    };
    let arrays = batch.columns().iter().zip(schema.fields()).map(cast);
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
}

/// The texts themselves. Rows side by side mostly have one view, which is looked up once.
fn texts_of(views: &StringViewArray) -> Result<StringArray, ArrowError> {
    let bytes = views.views().iter().map(|view| *view as u32 as usize).sum();
    let (mut texts, mut lengths) = (Vec::with_capacity(bytes), Vec::with_capacity(views.len()));
    for (at, view) in views.views().iter().enumerate() {
        let length = *view as u32 as usize;
        match at > 0 && views.views()[at - 1] == *view {
            true => texts.extend_from_within(texts.len() - length..),
            false => texts.extend_from_slice(views.value(at).as_bytes()),
        }
        lengths.push(length);
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    StringArray::try_new(offsets, Buffer::from_vec(texts), views.nulls().cloned())
}
