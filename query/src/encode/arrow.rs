//! Arrow IPC.

use super::pieces::Pieces;
use crate::{Answer, Error, Result};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// Rows of which the texts are written out at once.
const ROWS_AT_ONCE: usize = 8_192;

/// A stream of batches. Texts are plain ones, which every reader knows.
pub(super) fn stream(answer: Answer, out: &mut Pieces<'_>) -> Result<()> {
    let schema = plain(&answer.schema);
    let write = |out: &mut Pieces<'_>| -> Result<(), ArrowError> {
        let mut writer = StreamWriter::try_new(out, &schema)?;
        for batch in answer.batches {
            for start in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
                let rows = ROWS_AT_ONCE.min(batch.num_rows() - start);
                writer.write(&with_schema(&batch.slice(start, rows), &schema)?)?;
            }
        }
        writer.finish()
    };
    write(out).map_err(|error| match &error {
        ArrowError::IoError(_, inner) => own(inner),
        other => Error::Internal { detail: other.to_string() },
    })
}

/// The error that the pieces gave to the writer.
fn own(error: &std::io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
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
    let cast =
        |(array, field): (&ArrayRef, &Arc<Field>)| arrow_cast::cast(array, field.data_type());
    let arrays = batch.columns().iter().zip(schema.fields()).map(cast);
    let arrays = arrays.collect::<Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema.clone(), arrays, &options)
}
