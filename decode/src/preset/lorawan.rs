//! LoRaWAN network servers.

use super::{PresetRow, at, text_at, time_of};
use crate::{Fault, document::Document};

/// Fields of an uplink beside those of its payload.
const TTN_OWN: [&str; 5] = ["f_port", "f_cnt", "rssi", "snr", "gateway"];
const CHIRPSTACK_OWN: [&str; 12] = [
    "fPort",
    "fCnt",
    "dr",
    "margin",
    "batteryLevel",
    "externalPowerSource",
    "level",
    "code",
    "description",
    "acknowledged",
    "fCntDown",
    "event",
];

/// The Things Stack's documentation, "Data Formats": decoded payload, ports, counters and the best
/// gateway's signal. Other events are rows that name the event.
pub(super) fn ttn(event: &Document) -> Result<Vec<PresetRow>, Fault> {
    let device = text_at(event, &["end_device_ids", "device_id"]);
    if device.is_none() {
        return Err(Fault::syntax("the message has no end_device_ids.device_id"));
    }
    let application = text_at(event, &["end_device_ids", "application_ids", "application_id"]);
    let mut row = PresetRow::default().tag("application", application).tag("device", device);
    let uplink = event.get("uplink_message");
    for holder in uplink.into_iter().chain([event]) {
        if let (None, Some(received)) = (row.time, holder.get("received_at")) {
            row.time = time_of(received)?;
        }
    }
    let Some(uplink) = uplink else {
        const OTHER: [&str; 3] = ["end_device_ids", "correlation_ids", "received_at"];
        let Document::Map(members) = event else { return Ok(Vec::new()) };
        let kind = members.iter().map(|(name, _)| name).find(|name| !OTHER.contains(&&***name));
        let kind = kind.map(|name| Document::Text(name.clone()));
        return Ok(vec![row.field("event", kind.as_ref())]);
    };
    row = match uplink.get("decoded_payload") {
        Some(decoded) => row.payload(decoded, &TTN_OWN),
        None => row.field("frm_payload", uplink.get("frm_payload")),
    };
    row = row.field("f_port", uplink.get("f_port")).field("f_cnt", uplink.get("f_cnt"));
    Ok(vec![signal(row, uplink.get("rx_metadata"), &["gateway_ids", "gateway_id"])])
}

/// ChirpStack's documentation, "Integrations, Event types": the decoded object, ports, counters and
/// the best gateway's signal; status, acks and places with their own members. What is no uplink names
/// its event.
pub(super) fn chirpstack(topic: &str, event: &Document) -> Result<Vec<PresetRow>, Fault> {
    let Some(info) = event.get("deviceInfo") else {
        return Err(Fault::syntax("the message has no deviceInfo"));
    };
    let mut row = PresetRow::default()
        .tag("application", text_at(info, &["applicationName"]))
        .tag("device", text_at(info, &["devEui"]))
        .tag("name", text_at(info, &["deviceName"]));
    if let Some(time) = event.get("time") {
        row.time = time_of(time)?;
    }
    if let Some((_, kind)) = topic.rsplit_once("/event/")
        && kind != "up"
    {
        row = row.field("event", Some(&Document::Text(kind.to_owned())));
    }
    row = match event.get("object") {
        Some(object) => row.payload(object, &[&CHIRPSTACK_OWN[..], &TTN_OWN[2..]].concat()),
        None => row.field("data", event.get("data")),
    };
    for name in CHIRPSTACK_OWN.iter().filter(|name| **name != "event") {
        row = row.field(name, event.get(name));
    }
    if let Some(place) = event.get("location") {
        row = row.members(place, &[]);
    }
    Ok(vec![signal(row, event.get("rxInfo"), &["gatewayId"])])
}

/// The signal at the gateway that heard it best.
fn signal(row: PresetRow, gateways: Option<&Document>, id: &[&str]) -> PresetRow {
    let Some(Document::List(gateways)) = gateways else { return row };
    let rssi = |gateway: &&Document| match gateway.get("rssi") {
        Some(Document::Int(value)) => *value as f64,
        Some(Document::Float(value)) => *value,
        _ => f64::NEG_INFINITY,
    };
    let Some(best) = gateways.iter().max_by(|a, b| rssi(a).total_cmp(&rssi(b))) else { return row };
    let snr = best.get("snr").or_else(|| best.get("loRaSNR"));
    row.field("rssi", best.get("rssi")).field("snr", snr).field("gateway", at(best, id))
}
