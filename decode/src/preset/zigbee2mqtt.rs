//! Zigbee2MQTT.

use super::{PresetRow, text_at, time_of, value};
use crate::{Fault, document::Document};

/// Whether a message asks a device for something: `…/get`, `…/set`, and `…/set/ATTRIBUTE`.
pub(super) fn is_command(topic: &str) -> bool {
    let mut levels = topic.split('/').skip(2).collect::<Vec<_>>().into_iter().rev().take(2);
    levels.any(|level| matches!(level, "get" | "set"))
}

/// Zigbee2MQTT's documentation, "MQTT Topics and Messages": `zigbee2mqtt/FRIENDLY/NAME`, whose name
/// may have levels, and its availability. A bare value is an attribute, whose name comes last
/// (`output: attribute`).
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    let name = topic.split_once('/').map_or(topic, |(_, name)| name);
    if let Some(name) = name.strip_suffix("/availability") {
        let state = match value(text) {
            Document::Text(state) => Some(state),
            document => text_at(&document, &["state"]),
        };
        let online = Document::Bool(state.as_deref() == Some("online"));
        let row = PresetRow::default().tag("device", Some(name.to_owned()));
        return Ok(vec![row.field("online", Some(&online))]);
    }
    let mut row = PresetRow::default().tag("device", Some(name.to_owned()));
    let document = value(text);
    if let Document::Map(_) = &document {
        if let Some(seen) = document.get("last_seen") {
            row.time = time_of(seen)?;
        }
        return Ok(vec![row.members(&document, &["last_seen", "device"])]);
    }
    match name.rsplit_once('/') {
        Some((device, attribute)) => {
            let row = PresetRow::default().tag("device", Some(device.to_owned()));
            Ok(vec![row.field(attribute, Some(&document))])
        }
        None => Ok(vec![row.field("state", Some(&document))]),
    }
}
