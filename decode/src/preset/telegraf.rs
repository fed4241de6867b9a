//! Telegraf's metrics.

use super::{PresetRow, text_at, time_of};
use crate::{Fault, document::Document};

/// Telegraf's documentation, "JSON serializer": one metric, or `metrics` as a batch.
pub(super) fn rows(message: Document) -> Result<Vec<PresetRow>, Fault> {
    let metrics = match message.get("metrics") {
        Some(Document::List(metrics)) => metrics.as_slice(),
        _ => std::slice::from_ref(&message),
    };
    metrics.iter().map(metric).collect()
}

fn metric(metric: &Document) -> Result<PresetRow, Fault> {
    let Some(fields) = metric.get("fields") else {
        return Err(Fault::syntax("a metric has no fields"));
    };
    let mut row = PresetRow { table: text_at(metric, &["name"]), ..PresetRow::default() };
    if let Some(Document::Map(tags)) = metric.get("tags") {
        for (name, value) in tags {
            row = row.tag(name, value.text().filter(|text| !text.is_empty()));
        }
    }
    if let Some(time) = metric.get("timestamp") {
        row.time = time_of(time)?;
    }
    Ok(row.members(fields, &[]))
}
