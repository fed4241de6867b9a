//! Envelopes that say themselves what they hold.

use super::{PresetRow, at, text_at, time_of};
use crate::{Fault, document::Document};

/// CloudEvents 1.0, "JSON Event Format" and "JSON Batch Format": `data` as fields, `source`, `type`
/// and `subject` as tags.
pub(super) fn cloudevents(events: Document) -> Result<Vec<PresetRow>, Fault> {
    match events {
        Document::List(events) => events.iter().map(cloudevent).collect(),
        event => cloudevent(&event).map(|row| vec![row]),
    }
}

fn cloudevent(event: &Document) -> Result<PresetRow, Fault> {
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

/// Telegraf's documentation, "JSON serializer": one metric, or `metrics` as a batch.
pub(super) fn telegraf(message: Document) -> Result<Vec<PresetRow>, Fault> {
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

/// AWS IoT's documentation, "Device Shadow MQTT topics" and "documents": what was reported.
pub(super) fn shadow(topic: &str, document: &Document) -> Result<Vec<PresetRow>, Fault> {
    let mut levels = topic.split('/').skip_while(|level| *level != "things");
    let thing = levels.nth(1).map(str::to_owned);
    let reported = at(document, &["state", "reported"])
        .or_else(|| at(document, &["current", "state", "reported"]));
    let Some(reported) = reported else {
        return Err(Fault::syntax("the message reports no state"));
    };
    let mut row = PresetRow::default().tag("thing", thing).members(reported, &[]);
    let time = at(document, &["timestamp"]);
    if let Some(time) = time {
        row.time = time_of(time)?;
    }
    Ok(vec![row])
}
