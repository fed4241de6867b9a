//! rtl_433, a receiver of many radio sensors.

use super::{PresetRow, text_at, time_of, value};
use crate::{Fault, document::Document};

/// What tells one sensor from another.
const TAGS: [&str; 4] = ["model", "subtype", "channel", "id"];

/// rtl_433's documentation, "Outputs" (`-F mqtt`): `BASE/RECEIVER/events` and `states` hold objects,
/// `BASE/RECEIVER/devices/…/FIELD` single values. A time without a zone is taken as UTC, to which
/// `-M time:utc` sets it; one that counts from the start of a recording is none.
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    if let Some((base, path)) = topic.split_once("/devices/") {
        let receiver = base.rsplit('/').next().unwrap_or(base);
        let Some((device, field)) = path.rsplit_once('/') else {
            return Err(Fault::syntax("expected a topic such as BASE/RECEIVER/devices/ID/FIELD"));
        };
        let row = PresetRow::default()
            .tag("receiver", Some(receiver.to_owned()))
            .tag("device", Some(device.to_owned()));
        // The time comes as a value of its own, and is the time of none.
        let name = if field == "time" { "sent" } else { field };
        return Ok(vec![row.field(name, Some(&value(text)))]);
    }
    let event = super::object(text)?;
    let receiver = topic.rsplit('/').nth(1).filter(|receiver| !receiver.is_empty());
    let mut row = PresetRow::default().tag("receiver", receiver.map(str::to_owned));
    for name in TAGS {
        row = row.tag(name, text_at(&event, &[name]));
    }
    row.time = match event.get("time") {
        Some(Document::Text(text)) if text.starts_with('@') => None,
        Some(time) => time_of(time)?,
        None => None,
    };
    let tags = TAGS.iter().copied().chain(["time"]);
    Ok(vec![row.members(&event, &tags.collect::<Vec<_>>())])
}
