//! Rows of other nodes, picked where they are: of many rows a condition on fields may leave few, and
//! only those travel.

use crate::{
    Error, Result,
    elsewhere::{Elsewhere, Picking},
    watch::Watch,
};
use arrow_array::RecordBatch;
use arrow_ipc::{reader::StreamReader, writer::StreamWriter};
use arrow_schema::Schema;
use oribi_model::{Place, ReadPath};
use std::{sync::Arc, thread};

/// The rows that other nodes have picked, by place; `None` where they are rather read one by one. As
/// many may come of each place as the statement wants in all.
pub(super) fn of_places(
    (picking, schema): (Option<&Picking>, &Arc<Schema>),
    places: &[Place],
    read: &dyn ReadPath,
    watch: &Watch,
) -> Result<Option<Vec<RecordBatch>>> {
    let Some(picking) = picking.filter(|_| !places.is_empty()) else { return Ok(None) };
    let question = Elsewhere::Rows(picking.clone()).encode();
    let answers: Vec<_> = thread::scope(|scope| {
        let question = &question;
        let ask = |place| scope.spawn(move || read.ask(place, question));
        let asks: Vec<_> = places.iter().map(ask).collect();
        asks.into_iter().map(|ask| ask.join()).collect()
    });
    watch.check()?;
    let mut all = Vec::new();
    for answer in answers {
        let Ok(Ok(answer)) = answer else {
            tracing::debug!("rows of another node are read one by one");
            return Ok(None);
        };
        let Some(batches) = decode(&answer, schema) else { return Ok(None) };
        watch.grow(batches.iter().map(RecordBatch::get_array_memory_size).sum())?;
        all.extend(batches);
    }
    Ok(Some(all))
}

/// Rows as they travel.
pub(crate) fn encode(batches: &[RecordBatch], schema: &Arc<Schema>) -> Result<Vec<u8>> {
    let failed = |error: arrow_schema::ArrowError| Error::Internal { detail: error.to_string() };
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(failed)?;
    for batch in batches {
        writer.write(batch).map_err(failed)?;
    }
    writer.into_inner().map_err(failed)
}

/// Reads what [`encode`] gave, where its columns are these.
pub(super) fn decode(bytes: &[u8], schema: &Arc<Schema>) -> Option<Vec<RecordBatch>> {
    let reader = StreamReader::try_new(bytes, None).ok()?;
    if reader.schema().fields() != schema.fields() {
        return None;
    }
    reader.collect::<std::result::Result<_, _>>().ok()
}
