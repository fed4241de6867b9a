//! CloudEvents, which say themselves what they hold.

use super::{PresetRow, text_at, time_of};
use crate::{Fault, document::Document};

/// CloudEvents 1.0, "JSON Event Format" and "JSON Batch Format": `data` as fields, `source`, `type`
/// and `subject` as tags.
pub(super) fn rows(events: Document) -> Result<Vec<PresetRow>, Fault> {
    match events {
        Document::List(events) => events.iter().map(event).collect(),
        one => event(&one).map(|row| vec![row]),
    }
}

fn event(event: &Document) -> Result<PresetRow, Fault> {
    if event.get("specversion").is_none() {
        return Err(Fault::syntax("the message has no specversion"));
    }
    let mut row = PresetRow::default();
    for name in ["source", "type", "subject"] {
        row = row.tag(name, text_at(event, &[name]));
    }
    if let Some(time) = event.get("time") {
        row.time = time_of(time)?;
    }
    row = match event.get("data") {
        Some(data @ Document::Map(_)) => row.members(data, &[]),
        data => row.field("data", data),
    };
    Ok(row.field("data_base64", event.get("data_base64")).field("id", event.get("id")))
}
