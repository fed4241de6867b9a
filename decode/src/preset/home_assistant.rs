//! Home Assistant's MQTT Statestream.

use super::{PresetRow, at, value};
use crate::{Fault, document::Document};

/// Home Assistant's documentation, "MQTT Statestream": `BASE/DOMAIN/ENTITY/state`, and attributes
/// beside it.
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
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
