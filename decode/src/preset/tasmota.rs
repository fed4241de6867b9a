//! Tasmota.

use super::{PresetRow, time_of, value};
use crate::{Fault, document::Document};

/// Tasmota's documentation, "MQTT" and "JSON Status Responses": `tele/DEVICE/SENSOR` and the like,
/// or `DEVICE/tele/SENSOR`, whatever stands before; levels of the full topic that name neither the
/// kind of message nor the device are the tag `place`. `Time` is taken as UTC, to which devices
/// should be set.
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    const PREFIXES: [&str; 3] = ["tele", "stat", "cmnd"];
    let mut levels: Vec<&str> = topic.split('/').filter(|level| !level.is_empty()).collect();
    let last = levels.pop().unwrap_or_default();
    if let Some(at) = levels.iter().rposition(|level| PREFIXES.contains(level)) {
        levels.remove(at);
    }
    let device = levels.pop().unwrap_or_default();
    let place = Some(levels.join("/")).filter(|place| !place.is_empty());
    let mut row = PresetRow::default().tag("device", Some(device.to_owned())).tag("place", place);
    if last == "LWT" {
        let online = Document::Bool(text.eq_ignore_ascii_case("online"));
        return Ok(vec![row.field("online", Some(&online))]);
    }
    let document = value(text);
    if let Document::Map(_) = &document {
        if let Some(time) = document.get("Time") {
            row.time = time_of(time)?;
        }
        return Ok(vec![row.members(&document, &["Time"])]);
    }
    Ok(vec![row.field(last, Some(&document))])
}
