//! What a connector would make of a message, without storing anything.

use super::ConnectorSpec;
use crate::{
    Result,
    pump::{Batch, Intake, Origin},
    sparkplug_store::EdgeNodes,
};
use oribi_decode::Message;
use oribi_model::{ArrivalClock, Points, Value};
use serde::Serialize;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// The rows of a message, or why it has none.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explained {
    /// The rows: `db`, `table`, `time` in ns since the Unix epoch, `tags`, `fields`.
    pub rows: Vec<Json>,
    /// Why the message would become a dead letter, as a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// Decodes and maps a message as the connector does.
///
/// # Errors
/// [`crate::Error::Config`]: routes that cannot be; [`crate::Error::Broker`]: a schema registry that
/// does not answer.
pub async fn explain(
    spec: &ConnectorSpec,
    message: &Message<'_>,
    arrival: &ArrivalClock,
    ahead_ns_max: i64,
) -> Result<Explained> {
    let outline = spec.describe();
    let routes = spec.common.compile(outline.routes, outline.style, "connector")?;
    let nodes = Arc::new(EdgeNodes::forgetful());
    let mut intake = Intake::new(routes, nodes, arrival.clone(), ahead_ns_max);
    if let Some(wanted) = intake.wanted(message) {
        wanted.fetch().await?;
    }
    let mut batch = Batch::new(1);
    let origin = Origin::Kafka { partition: 0, offset: 0 };
    intake.add(&mut batch, message, &origin, arrival.now_ns());
    let rows = batch.take_points().iter().flat_map(rows_of).collect();
    let fault = batch.take_faults().into_iter().next().map(|(_, fault)| fault);
    let reason = fault.as_ref().map(|fault| fault.reason.as_str());
    Ok(Explained { rows, reason, detail: fault.map(|fault| fault.detail.to_string()) })
}

fn rows_of(points: &Points) -> Vec<Json> {
    (0..points.rows()).map(|row| row_of(points, row)).collect()
}

fn row_of(points: &Points, row: usize) -> Json {
    let series = points.row_series[row] as usize;
    let mut tags = Map::new();
    for (name, value) in points.tags_of(series) {
        tags.insert(name.to_owned(), json!(value));
    }
    let mut fields = Map::new();
    for field in &points.fields {
        let odd = field.odd.iter().find(|(at, _)| *at as usize == row);
        let value = odd.map(|(_, value)| value.clone()).or_else(|| field.values.get(row));
        if let Some(value) = value {
            fields.insert(field.name.clone(), cell(&value));
        }
    }
    let (db, table) = (points.db.as_str(), points.table.as_str());
    json!({ "db": db, "table": table, "time": points.times[row], "tags": tags, "fields": fields })
}

fn cell(value: &Value) -> Json {
    match value {
        Value::Int(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Bool(value) => json!(value),
        Value::Text(value) => json!(value),
    }
}
