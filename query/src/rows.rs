//! The rows of an answer as they come.

use crate::{Answer, Error, Result, delivery::Inlet, target::Part};
use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

/// An answer whose rows come one batch after the other. The query keeps its place, and its work its
/// memory, until the last row was taken or this is dropped.
pub struct Rows {
    schema: SchemaRef,
    parts: Inlet<Part>,
}

impl Rows {
    /// The answer of these parts, once it has begun.
    pub(crate) async fn begun(mut parts: Inlet<Part>) -> Result<Rows> {
        match parts.next().await? {
            Some(Part::Schema(schema)) => Ok(Rows { schema, parts }),
            _ => Err(Error::Internal { detail: "an answer has no columns".into() }),
        }
    }

    /// Names and types.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next rows in order; `None` at the end.
    ///
    /// # Errors
    /// See [`Error`]. Rows that came before are then not the whole answer.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>> {
        match self.parts.next().await? {
            Some(Part::Rows(batch)) => Ok(Some(batch)),
            Some(Part::Schema(_)) => {
                Err(Error::Internal { detail: "an answer begins twice".into() })
            }
            None => Ok(None),
        }
    }

    /// All rows, held at once.
    ///
    /// # Errors
    /// As [`Rows::next`].
    pub async fn collect(mut self) -> Result<Answer> {
        let mut batches = Vec::new();
        while let Some(batch) = self.next().await? {
            batches.push(batch);
        }
        let stats = self.parts.stats().unwrap_or_default();
        Ok(Answer { schema: self.schema, batches, stats })
    }
}
