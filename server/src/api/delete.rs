//! `POST /api/v1/tables/{table}/delete`: rows by time and tags.

use super::{
    Admin,
    admin::name_of_path,
    params::Given,
    problem::{ApiError, Result},
};
use axum::{
    Extension,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
};
use oribi_access::Access;
use oribi_model::{Table, TagPredicate, TimeRange};
use oribi_query::http::Problem;
use std::sync::Arc;

/// Removes the rows of a time range and of the series that a predicate over tags picks. Without
/// parameters it removes all rows; the table stays.
#[utoipa::path(
    post,
    path = "/api/v1/tables/{table}/delete",
    tag = "tables",
    params(
        ("table" = String, Path, description = "the table; percent-encoded"),
        ("db" = Option<String>, Query, description = "database; default: default"),
        ("start" = Option<String>, Query, description = "first time removed: RFC 3339, number with unit, -1h, now"),
        ("end" = Option<String>, Query, description = "first time kept again"),
        ("where" = Option<String>, Query, description = "predicate over tags: = != <> IN IS NULL AND OR NOT"),
    ),
    request_body(
        content = Option<serde_json::Value>,
        description = "the same parameters as members of a JSON object"
    ),
    responses(
        (status = 204, description = "the rows are gone"),
        (status = 400, description = "a parameter is wrong, or the predicate asks for more than tags", body = Problem),
        (status = 404, description = "no such table", body = Problem),
    )
)]
pub(super) async fn rows(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    path: Result<Path<String>, PathRejection>,
    given: Given,
) -> Result<StatusCode> {
    let name = name_of_path(path)?;
    let params = given.params(&["db", "start", "end", "where"])?;
    let table = admin.table(&access, &params.db()?, &name)?;
    let now_ns = admin.clock.now_ns();
    let moment = |name: &str| -> Result<Option<i64>> {
        match params.text(name)? {
            None => Ok(None),
            Some(text) => Ok(Some(oribi_query::parse_moment(name, text, now_ns)?)),
        }
    };
    let start = moment("start")?.unwrap_or(TimeRange::ALL.start);
    let end = moment("end")?.unwrap_or(TimeRange::ALL.end);
    if start > end {
        return Err(ApiError::parameter("start", "start lies after end"));
    }
    let tags = match params.text("where")? {
        None => TagPredicate::Always,
        Some(text) => predicate(&admin, table.clone(), text.to_owned()).await?,
    };
    let time = TimeRange::new(start, end);
    if !time.is_empty() {
        admin.node.delete(table.id, time, tags).await?;
    }
    Ok(StatusCode::NO_CONTENT)
}

async fn predicate(admin: &Admin, table: Arc<Table>, text: String) -> Result<TagPredicate> {
    if text.trim().is_empty() {
        // Taken as "all", a variable that is empty by mistake would remove every row.
        let detail = "the predicate is empty; expected one over tags, or no \"where\" at all";
        return Err(ApiError::parameter("where", detail));
    }
    let options = admin.query.clone();
    // Parsing runs on a thread of its own and may take as long as the text is deep.
    let parsed =
        tokio::task::spawn_blocking(move || oribi_query::tag_predicate(&text, &table, &options));
    let parsed = parsed.await.map_err(|_| {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the parsing ended abnormally")
    })?;
    match parsed? {
        (None, tags) => Ok(tags),
        (Some(_), _) => {
            let detail = "time cannot stand in the predicate; expected start and end for it";
            Err(ApiError::parameter("where", detail))
        }
    }
}
