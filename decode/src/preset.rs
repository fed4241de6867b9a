//! What the messages of well-known systems mean: which device, which values, which time.
//!
//! Each follows the vendor's own description of its MQTT messages; none needs configuration.

mod aws_iot;
mod cloudevents;
mod collectd;
mod home_assistant;
mod lorawan;
mod rtl_433;
mod shelly;
mod tasmota;
mod telegraf;
mod zigbee2mqtt;

use crate::{
    Fault, TAGS_MAX, bare,
    document::Document,
    json,
    nulls::Nulls,
    points::too_many_tags,
    time::{detect_number, parse_any},
};
use oribi_model::name::TIME_COLUMN;
use serde::{Deserialize, Serialize};

/// Whose messages they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The Things Stack v3, application server events.
    TtnV3,
    /// ChirpStack v4, integration events.
    ChirpstackV4,
    /// Zigbee2MQTT.
    Zigbee2mqtt,
    /// Tasmota.
    Tasmota,
    /// Shelly, second generation and later.
    Shelly,
    /// Home Assistant's MQTT Statestream.
    HomeAssistant,
    /// CloudEvents 1.0 in structured JSON.
    Cloudevents,
    /// Telegraf's JSON serializer.
    Telegraf,
    /// Device shadows of AWS IoT.
    AwsIot,
    /// collectd's MQTT plugin.
    Collectd,
    /// rtl_433, a receiver of many radio sensors.
    #[serde(rename = "rtl_433")]
    Rtl433,
}

/// A row of a message.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct PresetRow {
    /// The table, where the message names one.
    pub(crate) table: Option<String>,
    pub(crate) tags: Vec<(String, String)>,
    /// Ns since the Unix epoch.
    pub(crate) time: Option<i64>,
    pub(crate) fields: Vec<(String, Document)>,
}

/// The rows of a message.
///
/// # Errors
/// A message that is none of this system.
pub(crate) fn rows(
    preset: Preset,
    topic: &str,
    payload: &[u8],
    nulls: &Nulls,
) -> Result<Vec<PresetRow>, Fault> {
    let text = std::str::from_utf8(bare(payload))
        .map_err(|_| Fault::syntax("the payload is not UTF-8"))?;
    let text = text.trim();
    if nulls.has(text) || (text.starts_with('"') && is_null(&value(text), nulls)) {
        // A value that is not known, or the deletion of a retained message.
        return Ok(Vec::new());
    }
    let mut rows = match preset {
        Preset::TtnV3 => lorawan::ttn(&object(text)?)?,
        Preset::ChirpstackV4 => lorawan::chirpstack(topic, &object(text)?)?,
        Preset::Zigbee2mqtt if zigbee2mqtt::is_command(topic) => return Ok(Vec::new()),
        Preset::Zigbee2mqtt => zigbee2mqtt::rows(topic, text)?,
        Preset::Tasmota => tasmota::rows(topic, text)?,
        Preset::Shelly => shelly::rows(topic, text)?,
        Preset::HomeAssistant => home_assistant::rows(topic, text)?,
        Preset::Cloudevents => cloudevents::rows(json::read_document(text)?)?,
        Preset::Telegraf => telegraf::rows(object(text)?)?,
        Preset::AwsIot => aws_iot::rows(topic, &object(text)?)?,
        // Nor are values that are not known yet.
        Preset::Collectd => return collectd::rows(topic, text),
        Preset::Rtl433 => rtl_433::rows(topic, text)?,
    };
    if let Some(row) = rows.iter().find(|row| row.tags.len() > TAGS_MAX) {
        return Err(too_many_tags(row.tags.len()));
    }
    rows.iter_mut().for_each(PresetRow::rename_clashes);
    match rows.iter().any(|row| !row.fields.is_empty()) {
        true => Ok(rows.into_iter().filter(|row| !row.fields.is_empty()).collect()),
        false => Err(Fault::syntax("the message holds no value")),
    }
}

fn object(text: &str) -> Result<Document, Fault> {
    match json::read_document(text)? {
        object @ Document::Map(_) => Ok(object),
        _ => Err(Fault::syntax("expected a JSON object")),
    }
}

/// A JSON text, or a bare word as text.
fn value(text: &str) -> Document {
    json::read_document(text).unwrap_or_else(|_| Document::Text(text.to_owned()))
}

fn is_null(value: &Document, nulls: &Nulls) -> bool {
    matches!(value, Document::Text(text) if nulls.has(text))
}

/// The member at the end of a path of names.
fn at<'d>(document: &'d Document, path: &[&str]) -> Option<&'d Document> {
    path.iter().try_fold(document, |at, name| at.get(name))
}

fn text_at(document: &Document, path: &[&str]) -> Option<String> {
    at(document, path).and_then(Document::text).filter(|text| !text.is_empty())
}

/// How programs written in Go say that they know no time, as in simulated uplinks.
const NEVER: &str = "0001-01-01T00:00:00";

/// A time as text or number, by the looks of it.
fn time_of(value: &Document) -> Result<Option<i64>, Fault> {
    match value {
        Document::Text(text) if text.starts_with(NEVER) => Ok(None),
        Document::Text(text) => parse_any(text, None),
        Document::Int(_) | Document::Float(_) => detect_number(&match value {
            Document::Float(value) => value.to_string(),
            other => other.text().unwrap_or_default(),
        }),
        _ => Ok(None),
    }
}

/// What stands before the name of a field that a row has otherwise.
const CLASHING: &str = "payload_";

/// Whether a member, or one within it once it is flattened, has this name.
fn names_within(name: &str, value: &Document, wanted: &str) -> bool {
    let rest = wanted.strip_prefix(name).and_then(|rest| rest.strip_prefix('_'));
    match value {
        Document::Map(members) => rest.is_some_and(|rest| {
            members.iter().any(|(inner, value)| names_within(inner, value, rest))
        }),
        _ => name == wanted,
    }
}

impl PresetRow {
    fn tag(mut self, name: &str, value: Option<String>) -> PresetRow {
        self.tags.extend(value.map(|value| (name.to_owned(), value)));
        self
    }

    fn field(mut self, name: &str, value: Option<&Document>) -> PresetRow {
        let value = value.filter(|value| **value != Document::Null);
        self.fields.extend(value.map(|value| (name.to_owned(), value.clone())));
        self
    }

    /// Members of what a device has sent as fields. One whose name, or that of a member within it,
    /// is the row's own or one of `known` gets `payload_` before it.
    fn payload(mut self, document: &Document, known: &[&str]) -> PresetRow {
        let Document::Map(members) = document else { return self.field("payload", Some(document)) };
        for (name, value) in members {
            let clashes = known.iter().any(|known| names_within(name, value, known));
            let name = if clashes { format!("{CLASHING}{name}") } else { name.clone() };
            self = self.field(&name, Some(value));
        }
        self
    }

    /// Fields whose names are those of the time or of a tag get `payload_` before them.
    fn rename_clashes(&mut self) {
        for (name, _) in &mut self.fields {
            if name == TIME_COLUMN || self.tags.iter().any(|(tag, _)| tag == name) {
                name.insert_str(0, CLASHING);
            }
        }
    }

    /// All members of an object as fields, but some.
    fn members(mut self, document: &Document, but: &[&str]) -> PresetRow {
        if let Document::Map(members) = document {
            let kept = members
                .iter()
                .filter(|(name, value)| !but.contains(&&**name) && *value != Document::Null);
            self.fields.extend(kept.cloned());
        }
        self
    }
}

#[cfg(test)]
mod tests;
