//! `/api/v1/tables`: what there is, making, changing and dropping tables.

use super::{
    Admin,
    admin::name_of_path,
    params::{Given, Params},
    problem::{ApiError, Result},
    schema,
};
use crate::length;
use axum::{
    Extension, Json,
    extract::{Path, State, rejection::PathRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use oribi_access::{Access, May};
use oribi_cluster::Change;
use oribi_model::{
    Column, ColumnKind, Ints, Name, ReadPath, Table, TableOptions,
    name::TIME_COLUMN,
    time::{NS_PER_DAY, NS_PER_SECOND},
};
use oribi_query::http::Problem;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Hash buckets that a time range may have.
const BUCKETS_MAX: u64 = 256;
/// Replicas that a tablet may be to have.
const REPLICATIONS: [u64; 3] = [1, 3, 5];
/// Shorter ranges would make more tablets than a node can hold.
const RANGE_NS_MIN: i64 = 60 * NS_PER_SECOND;
const RANGE_NS_MAX: i64 = 3_660 * NS_PER_DAY;

/// All tables.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TableList {
    /// By database and name.
    tables: Vec<TableView>,
}

/// A table.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TableView {
    /// The database.
    db: String,
    /// The name within it.
    name: String,
    /// The time, then tags, then fields, each in the order of their appearance.
    columns: Vec<ColumnView>,
    /// Rows stored; one written twice may count twice, and one deleted may count, until compaction.
    rows: u64,
    /// Bytes of its segments on disk.
    bytes: u64,
    /// Time of the first row, before compaction of a deleted one too; null without rows.
    start: Option<String>,
    /// The first time after the last row; null without rows.
    end: Option<String>,
    /// What was set.
    options: OptionsView,
}

/// A column.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ColumnView {
    /// Its name.
    name: String,
    /// `time`, `tag` or `field`.
    kind: &'static str,
    /// `time`, `string`, `float`, `integer` or `boolean`.
    #[serde(rename = "type")]
    column_type: &'static str,
}

/// What was set for a table; null is Oribi's choice.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OptionsView {
    /// How long rows are kept; null: for ever.
    retention: Option<String>,
    /// Length of the time ranges of new tablets.
    range: Option<String>,
    /// Hash buckets of new tablets.
    buckets: Option<u32>,
    /// Copies that each tablet is to have.
    replication: Option<u8>,
}

/// The tables, or those of one database.
#[utoipa::path(
    get,
    path = "/api/v1/tables",
    tag = "tables",
    params(("db" = Option<String>, Query, description = "only this database")),
    responses(
        (status = 200, description = "all tables", body = TableList),
        (status = 400, description = "a parameter is wrong", body = Problem),
    )
)]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    given: Given,
) -> Result<Json<TableList>> {
    let params = given.params(&["db"])?;
    let db = match params.get("db") {
        Some(_) => Some(params.db()?),
        None => None,
    };
    let tables = admin.seen_by(&access).tables();
    let wanted = tables.iter().filter(|table| db.as_ref().is_none_or(|db| *db == table.db));
    Ok(Json(TableList { tables: wanted.map(|table| view(&admin, table)).collect() }))
}

/// Makes a table, gives it more columns, or changes its options. Members that are absent leave
/// what is; null takes an option back.
#[utoipa::path(
    put,
    path = "/api/v1/tables/{table}",
    tag = "tables",
    params(
        ("table" = String, Path, description = "the table; percent-encoded"),
        ("db" = Option<String>, Query, description = "database; default: default"),
        ("tags" = Option<String>, Query, description = "names of tags, comma-separated"),
        ("retention" = Option<String>, Query, description = "how long rows are kept, such as 30d"),
        ("range" = Option<String>, Query, description = "length of new tablets' ranges, such as 1d"),
        ("buckets" = Option<u32>, Query, description = "hash buckets of new tablets, 1 to 256"),
        ("replication" = Option<u32>, Query, description = "copies that each tablet is to have: 1, 3 or 5; default: 3"),
    ),
    request_body(
        content = Option<serde_json::Value>,
        description = "the same parameters as members, and `columns`: \
            `[{\"name\": \"temperature\", \"type\": \"float\"}]` or `{\"temperature\": \"float\"}`"
    ),
    responses(
        (status = 200, description = "it was there, and is now so", body = TableView),
        (status = 201, description = "it was made", body = TableView),
        (status = 400, description = "a name or parameter is wrong", body = Problem),
        (status = 409, description = "a column cannot become what was asked", body = Problem),
    )
)]
pub(super) async fn put(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    path: Result<Path<String>, PathRejection>,
    given: Given,
) -> Result<Response> {
    const KNOWN: &[&str] =
        &["db", "tags", "columns", "retention", "range", "buckets", "replication"];
    let name = name_of_path(path)?;
    let params = given.params(KNOWN)?;
    let db = params.db()?;
    access.check(May::Admin, &db, &name)?;
    let mut columns = schema::columns(&params)?;
    let before = admin.node.table(&db, &name);
    let is_new = |name: &str| before.as_ref().is_none_or(|t| t.schema.column(name).is_none());
    for column in columns.iter_mut().filter(|column| is_new(column.name.as_str())) {
        column.ints = Ints::Exact;
    }
    if before.is_none() || !columns.is_empty() {
        // Oribi's own tables may be given a retention, but not be made or widened.
        Name::user_table(&name).map_err(|wrong| ApiError::parameter("table", wrong.to_string()))?;
    }
    let mut options = before.as_ref().map(|table| table.options.clone()).unwrap_or_default();
    set_options(&mut options, &params)?;
    if let Some(table) = &before {
        schema::check_against(table, &columns)?;
    }
    if before.is_none() || !columns.is_empty() {
        let (db, table) = (db.clone(), name.clone());
        let specs = columns.clone();
        admin.node.change(Change::EnsureColumns { db, table, columns: specs }).await?;
    }
    let mut table = admin.table(&access, &db, &name)?;
    // Rows may have made one of the columns in between.
    schema::check_against(&table, &columns)?;
    if table.options != options {
        admin.node.change(Change::SetOptions { table: table.id, options }).await?;
        table = admin.table(&access, &db, &name)?;
    }
    let status = if before.is_none() { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(view(&admin, &table))).into_response())
}

/// Drops a table with its rows.
#[utoipa::path(
    delete,
    path = "/api/v1/tables/{table}",
    tag = "tables",
    params(
        ("table" = String, Path, description = "the table; percent-encoded"),
        ("db" = Option<String>, Query, description = "database; default: default"),
    ),
    responses(
        (status = 204, description = "it is gone"),
        (status = 400, description = "a name or parameter is wrong", body = Problem),
        (status = 404, description = "no such table", body = Problem),
    )
)]
pub(super) async fn drop(
    State(admin): State<Arc<Admin>>,
    Extension(access): Extension<Access>,
    path: Result<Path<String>, PathRejection>,
    given: Given,
) -> Result<StatusCode> {
    let name = name_of_path(path)?;
    let db = given.params(&["db"])?.db()?;
    let table = admin.table(&access, &db, &name)?;
    if Name::user_table(&name).is_err() {
        let detail = format!(
            "{name:?} is one of Oribi's own tables, which are not dropped; its rows are removed by \
             POST /api/v1/tables/{name}/delete",
            name = name.as_str()
        );
        return Err(ApiError::parameter("table", detail));
    }
    admin.node.change(Change::DropTable { table: table.id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn set_options(options: &mut TableOptions, params: &Params) -> Result<()> {
    if let Some(retention_ns) = params.length_ns("retention")? {
        if retention_ns == Some(0) {
            let detail = "a retention of nothing keeps no row; expected a length such as 30d, \
                or null for ever";
            return Err(ApiError::parameter("retention", detail));
        }
        options.retention_ns = retention_ns;
    }
    if let Some(range_ns) = params.length_ns("range")? {
        let bounds = RANGE_NS_MIN..=RANGE_NS_MAX;
        if range_ns.is_some_and(|ns| !bounds.contains(&ns)) {
            let detail = format!(
                "the range is out of bounds; expected {} to {}",
                length::format(RANGE_NS_MIN),
                length::format(RANGE_NS_MAX)
            );
            return Err(ApiError::parameter("range", detail));
        }
        options.range_ns = range_ns;
    }
    if let Some(buckets) = params.number("buckets")? {
        if buckets.is_some_and(|buckets| !(1..=BUCKETS_MAX).contains(&buckets)) {
            let detail = format!("buckets is out of bounds; expected 1 to {BUCKETS_MAX}");
            return Err(ApiError::parameter("buckets", detail));
        }
        options.buckets = buckets.and_then(|buckets| u32::try_from(buckets).ok());
    }
    if let Some(replication) = params.number("replication")? {
        if replication.is_some_and(|replication| !REPLICATIONS.contains(&replication)) {
            let detail = "a tablet has an odd number of replicas; expected 1, 3 or 5";
            return Err(ApiError::parameter("replication", detail));
        }
        options.replication = replication.and_then(|replication| u8::try_from(replication).ok());
    }
    Ok(())
}

fn view(admin: &Admin, table: &Table) -> TableView {
    let stats = ReadPath::stats(admin.node.as_ref(), table.id);
    let time = ColumnView { name: TIME_COLUMN.into(), kind: "time", column_type: "time" };
    let column = |kind: &'static str| {
        move |column: &Column| ColumnView {
            name: column.name.to_string(),
            kind,
            column_type: match column.kind {
                ColumnKind::Tag => "string",
                ColumnKind::Field => column.column_type.as_str(),
            },
        }
    };
    let tags = table.schema.tags().map(column("tag"));
    let fields = table.schema.fields().map(column("field"));
    let moment = |ns: i64| Timestamp::from_nanosecond(i128::from(ns)).ok().map(|at| at.to_string());
    TableView {
        db: table.db.to_string(),
        name: table.name.to_string(),
        columns: std::iter::once(time).chain(tags).chain(fields).collect(),
        rows: stats.rows,
        bytes: stats.bytes,
        start: stats.time.and_then(|time| moment(time.start)),
        end: stats.time.and_then(|time| moment(time.end)),
        options: OptionsView {
            retention: table.options.retention_ns.map(length::format),
            range: table.options.range_ns.map(length::format),
            buckets: table.options.buckets,
            replication: table.options.replication,
        },
    }
}
