//! collectd.

use super::PresetRow;
use crate::{
    Fault,
    document::Document,
    number::parse_float,
    time::{Precision, parse_decimal},
};

/// Values of types that have several, as collectd's `types.db` names them.
const NAMES: [(&str, &[&str]); 12] = [
    ("load", &["shortterm", "midterm", "longterm"]),
    ("if_octets", &["rx", "tx"]),
    ("if_packets", &["rx", "tx"]),
    ("if_errors", &["rx", "tx"]),
    ("if_dropped", &["rx", "tx"]),
    ("io_octets", &["rx", "tx"]),
    ("disk_octets", &["read", "write"]),
    ("disk_ops", &["read", "write"]),
    ("disk_time", &["read", "write"]),
    ("disk_merged", &["read", "write"]),
    ("disk_io_time", &["io_time", "weighted_io_time"]),
    ("ps_count", &["processes", "threads"]),
];

/// collectd's wiki, "Plugin:MQTT" and "Naming schema": the topic ends in
/// `HOST/PLUGIN[-INSTANCE]/TYPE[-INSTANCE]`, the payload is `TIME:VALUE[:VALUE…]`, where `nan` is no
/// value yet. The plugin is the table, the type with its instance the field, always a float.
pub(super) fn rows(topic: &str, text: &str) -> Result<Vec<PresetRow>, Fault> {
    let mut levels = topic.rsplit('/');
    let (Some(kind), Some(plugin), Some(host)) = (levels.next(), levels.next(), levels.next())
    else {
        return Err(Fault::syntax("expected a topic such as PREFIX/HOST/PLUGIN/TYPE"));
    };
    let (plugin, plugin_instance) = instance(plugin);
    let (kind, kind_instance) = instance(kind);
    let mut parts = text.split(':');
    let time = parse_decimal(parts.next().unwrap_or_default(), Precision::S)?;
    let values: Vec<&str> = parts.collect();
    if values.is_empty() {
        return Err(Fault::syntax("expected TIME:VALUE"));
    }
    let mut row = PresetRow { table: Some(plugin.to_owned()), ..PresetRow::default() }
        .tag("host", Some(host.to_owned()))
        .tag("instance", plugin_instance.map(str::to_owned));
    row.time = Some(time);
    let field = match kind_instance {
        Some(instance) => format!("{kind}_{instance}"),
        None => kind.to_owned(),
    };
    let known = NAMES.iter().find(|(known, names)| *known == kind && names.len() == values.len());
    for (at, value) in values.iter().enumerate() {
        if value.eq_ignore_ascii_case("nan") {
            continue;
        }
        let name = match known {
            _ if values.len() == 1 => field.clone(),
            Some((_, names)) => format!("{field}_{}", names[at]),
            None => format!("{field}_{at}"),
        };
        row.fields.push((name, Document::Float(parse_float(value.as_bytes())?)));
    }
    Ok(if row.fields.is_empty() { Vec::new() } else { vec![row] })
}

/// A name and what stands behind its first dash.
fn instance(name: &str) -> (&str, Option<&str>) {
    match name.split_once('-') {
        Some((name, instance)) if !instance.is_empty() => (name, Some(instance)),
        _ => (name, None),
    }
}
