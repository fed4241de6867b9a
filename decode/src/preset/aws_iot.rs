//! Device shadows of AWS IoT.

use super::{PresetRow, at, time_of};
use crate::{Fault, document::Document};

/// AWS IoT's documentation, "Device Shadow MQTT topics" and "documents": what was reported.
pub(super) fn rows(topic: &str, document: &Document) -> Result<Vec<PresetRow>, Fault> {
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
