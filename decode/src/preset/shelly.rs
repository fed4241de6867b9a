//! Shelly, second generation and later.

use super::{PresetRow, object, text_at, time_of};
use crate::{Fault, document::Document};

/// Shelly's documentation of its second generation, "RPC Notifications" and "Component status": each
/// component is a row.
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
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
