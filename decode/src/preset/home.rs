//! Devices at home.

use super::{PresetRow, at, object, text_at, time_of, value};
use crate::{Fault, document::Document};

/// Whether a message asks a device for something: `…/get`, `…/set`, and `…/set/ATTRIBUTE`.
pub(super) fn is_zigbee2mqtt_command(topic: &str) -> bool {
    let mut levels = topic.split('/').skip(2).collect::<Vec<_>>().into_iter().rev().take(2);
    levels.any(|level| matches!(level, "get" | "set"))
}

/// Zigbee2MQTT's documentation, "MQTT Topics and Messages": `zigbee2mqtt/FRIENDLY/NAME`, whose name
/// may have levels, and its availability. A bare value is an attribute, whose name comes last
/// (`output: attribute`).
pub(super) fn zigbee2mqtt(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
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

/// Tasmota's documentation, "MQTT" and "JSON Status Responses": `tele/DEVICE/SENSOR` and the like,
/// or `DEVICE/tele/SENSOR`, whatever stands before; levels of the full topic that name neither the
/// kind of message nor the device are the tag `place`. `Time` is taken as UTC, to which devices
/// should be set.
pub(super) fn tasmota(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
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

/// Shelly's documentation of its second generation, "RPC Notifications" and "Component status": each
/// component is a row.
pub(super) fn shelly(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    let mut levels = topic.split('/');
    let first = levels.next().unwrap_or_default().to_owned();
    let last = levels.next_back().unwrap_or_default();
    if last == "online" {
        let online = Document::Bool(text == "true");
        let row = PresetRow::default().tag("device", Some(first));
        return Ok(vec![row.field("online", Some(&online))]);
    }
    let document = object(text)?;
    let device = text_at(&document, &["src"]).unwrap_or(first);
    let row = || PresetRow::default().tag("device", Some(device.clone()));
    let component = |mut row: PresetRow, name: &str, status: &Document, time: Option<i64>| {
        row.time = time;
        row.tag("component", Some(name.to_owned())).members(status, &["id"])
    };
    let Some(params) = document.get("params") else {
        // `ID/status/COMPONENT` holds one component's status.
        return Ok(vec![component(row(), last, &document, None)]);
    };
    let time = match params.get("ts") {
        Some(ts) => time_of(ts)?,
        None => None,
    };
    let Document::Map(members) = params else {
        return Err(Fault::syntax("params is no object"));
    };
    let statuses = members.iter().filter(|(_, status)| matches!(status, Document::Map(_)));
    Ok(statuses.map(|(name, status)| component(row(), name, status, time)).collect())
}

/// Home Assistant's documentation, "MQTT Statestream": `BASE/DOMAIN/ENTITY/state`, and attributes
/// beside it.
pub(super) fn statestream(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    let mut levels = topic.rsplit('/');
    let (Some(last), Some(entity), Some(domain)) = (levels.next(), levels.next(), levels.next())
    else {
        return Err(Fault::syntax("expected a topic such as BASE/DOMAIN/ENTITY/state"));
    };
    let row = PresetRow::default()
        .tag("domain", Some(domain.to_owned()))
        .tag("entity", Some(entity.to_owned()));
    let document = value(text);
    let name = match (last, &document) {
        // A state is a number or a word; one column holds one of them.
        ("state", Document::Text(_)) => "state",
        ("state", _) => "value",
        (last, _) => last,
    };
    Ok(vec![row.field(name, at(&document, &[]))])
}
