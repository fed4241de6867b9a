//! `POST /api/v1/dead-letters/replay`: dead letters through again.

use super::{
    Admin,
    params::Given,
    problem::{ApiError, Result},
};
use arrow_array::{Array, RecordBatch, cast::AsArray, types::TimestampNanosecondType};
use axum::{Json, extract::State, http::StatusCode};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, TryStreamExt, stream};
use oribi_connectors::{
    TopicStyle,
    dead_letter::{Around, DEAD_LETTER_TABLE},
    replay::{Letter, Replayed, SourceRoutes, replay},
};
use oribi_model::{ReadPath, TagPredicate, TimeRange, name::DEFAULT_DB};
use oribi_query::http::Problem;
use serde::Serialize;
use std::{collections::HashMap, sync::Arc};
use utoipa::ToSchema;

/// Letters that are deleted at once.
const DELETIONS_MAX: usize = 64;

/// Letters of one request at most.
const LETTERS_MAX: u64 = 10_000;
const LETTERS: u64 = 1_000;

/// What became of the letters.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ReplayView {
    /// Letters whose rows are stored now; they are no longer in the table.
    stored: usize,
    /// Letters that stay.
    refused: usize,
    /// Why, each reason once, with the first letter's topic.
    reasons: Vec<String>,
}

/// Reads dead letters as their sources read now, the oldest first, and stores their rows. Letters
/// that are stored are removed; others stay.
#[utoipa::path(
    post,
    path = "/api/v1/dead-letters/replay",
    tag = "connectors",
    params(
        ("source" = Option<String>, Query, description = "only letters of this source"),
        ("reason" = Option<String>, Query, description = "only letters with this reason"),
        ("limit" = Option<u64>, Query, description = "letters at most; 1000, up to 10000"),
    ),
    responses(
        (status = 200, description = "what became of them", body = ReplayView),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
pub(super) async fn put_through(
    State(admin): State<Arc<Admin>>,
    given: Given,
) -> Result<Json<ReplayView>> {
    let params = given.params(&["source", "reason", "limit"])?;
    let limit = match params.text("limit")? {
        None => LETTERS,
        Some(text) => {
            text.parse().ok().filter(|limit| (1..=LETTERS_MAX).contains(limit)).ok_or_else(
                || ApiError::parameter("limit", format!("expected 1 to {LETTERS_MAX}")),
            )?
        }
    };
    let mut view = ReplayView { stored: 0, refused: 0, reasons: Vec::new() };
    let Some(table) = admin.node.table(DEFAULT_DB, DEAD_LETTER_TABLE) else {
        return Ok(Json(view));
    };
    let mut conditions = Vec::new();
    for name in ["source", "reason"] {
        if let Some(text) = params.text(name)? {
            conditions.push(format!("{name} = '{}'", text.replace('\'', "''")));
        }
    }
    let filter = if conditions.is_empty() { "true".into() } else { conditions.join(" AND ") };
    let sql =
        format!("SELECT * FROM {DEAD_LETTER_TABLE} WHERE {filter} ORDER BY time LIMIT {limit}");
    let mut found = admin.engine.sql(None, sql).await?;
    let mut rows: Vec<Row> = Vec::new();
    while let Some(batch) = found.next().await? {
        rows.extend(rows_of(&batch));
    }
    let letters: Vec<Letter> = rows.iter().map(|row| row.letter.clone()).collect();
    let read: Arc<dyn ReadPath> = admin.node.clone();
    let (sources, write, arrival) = (sources(&admin), &*admin.write, &admin.arrival);
    let outcomes = replay(&letters, &sources, write, &read, arrival, admin.ahead_ns_max).await;
    let outcomes = outcomes.map_err(|wrong| {
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", wrong.to_string())
    })?;
    let mut put_through = Vec::new();
    for (row, outcome) in rows.into_iter().zip(outcomes) {
        match outcome {
            Replayed::Stored => {
                let time_ns = row.letter.time_ns;
                let time = TimeRange::new(time_ns, time_ns.saturating_add(1));
                let tag = |(name, value): (&str, String)| {
                    let column = table.schema.column(name)?;
                    Some(TagPredicate::Equal(column.id, value))
                };
                let tags = row.tags.into_iter().filter_map(tag).collect();
                put_through.push((time, TagPredicate::And(tags)));
                view.stored += 1;
            }
            Replayed::Refused(reason) => {
                view.refused += 1;
                let known = view.reasons.iter().any(|known| known.ends_with(&*reason));
                if !known && view.reasons.len() < 20 {
                    view.reasons.push(format!("{}: {reason}", row.letter.topic));
                }
            }
        }
    }
    // Together, so that they share syncs.
    let deletions =
        put_through.into_iter().map(|(time, tags)| admin.node.delete(table.id, time, tags));
    let mut deletions = stream::iter(deletions).buffer_unordered(DELETIONS_MAX);
    while deletions.try_next().await?.is_some() {}
    Ok(Json(view))
}

/// How each source reads.
fn sources(admin: &Admin) -> HashMap<String, SourceRoutes> {
    let (routes, style) = (admin.mqtt_routes.clone(), TopicStyle::Mqtt);
    let listener = SourceRoutes { routes, style, registry: None };
    let mut sources = HashMap::from([("mqtt".to_owned(), listener)]);
    for connector in admin.connectors.list() {
        let Some(spec) = connector.spec() else { continue };
        let outline = spec.describe();
        let (routes, style) = (outline.routes.to_vec(), outline.style);
        let registry = spec.common.registry.clone();
        sources.insert(spec.name().to_owned(), SourceRoutes { routes, style, registry });
    }
    sources
}

/// A letter, and the tags that name it together with its time.
struct Row {
    letter: Letter,
    tags: Vec<(&'static str, String)>,
}

fn rows_of(batch: &RecordBatch) -> Vec<Row> {
    let text = |name: &str, row: usize| -> Option<String> {
        let column = batch.column_by_name(name)?;
        if column.is_null(row) {
            return None;
        }
        if let Some(texts) = column.as_string_view_opt() {
            return Some(texts.value(row).to_owned());
        }
        column.as_string_opt::<i32>().map(|texts| texts.value(row).to_owned())
    };
    let row = |row: usize| {
        let times = batch.column_by_name("time")?.as_primitive_opt::<TimestampNanosecondType>()?;
        let kept = text("payload", row).unwrap_or_default();
        let payload = match text("encoding", row) {
            Some(_) => STANDARD.decode(kept).ok()?,
            None => kept.into_bytes(),
        };
        let bytes = batch.column_by_name("payload_bytes").and_then(|column| {
            let column = column.as_primitive_opt::<arrow_array::types::Int64Type>()?;
            column.is_valid(row).then(|| column.value(row))
        });
        let letter = Letter {
            source: text("source", row)?,
            topic: text("topic", row).unwrap_or_default(),
            payload_bytes: bytes.map_or(payload.len() as u64, i64::unsigned_abs),
            payload,
            time_ns: times.value(row),
            partition: text("partition", row).and_then(|partition| partition.parse().ok()),
            around: match text("record", row) {
                Some(record) => Around::from_json(&record),
                None => Some(Around::default()),
            },
        };
        let tags = ["source", "reason", "partition"];
        let tags = tags.into_iter().filter_map(|name| Some((name, text(name, row)?))).collect();
        Some(Row { letter, tags })
    };
    (0..batch.num_rows()).filter_map(row).collect()
}
