//! A window question, checked and bound to a table.

use crate::{
    Error, QueryOptions, Result,
    filter::{Filter, FilterCache},
    lane::{LaneKind, LaneSpec},
    moment::moment_in,
    select::{Input, Item, parse_names, parse_select},
    windows::{Windows, zone},
};
use oribi_model::{Column, ColumnKind, ColumnRead, ReadPath, Table, TimeRange};
use std::sync::Arc;

/// A window question as asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// The database; `default` when absent.
    pub db: Option<String>,
    /// The table.
    pub table: Option<String>,
    /// Columns of the answer.
    pub select: Option<String>,
    /// Length of a window.
    pub window: Option<String>,
    /// Shift of the windows.
    pub offset: Option<String>,
    /// Zone of calendar windows.
    pub timezone: Option<String>,
    /// First time inside.
    pub start: Option<String>,
    /// First time after.
    pub end: Option<String>,
    /// SQL predicate.
    pub filter: Option<String>,
    /// Tags that make groups.
    pub group_by: Option<String>,
    /// What stands in empty windows.
    pub fill: Option<String>,
    /// `asc` or `desc`.
    pub order: Option<String>,
    /// Rows at most.
    pub limit: Option<String>,
}

/// What stands in empty windows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fill {
    /// Nothing: they are left out.
    None,
    /// Null.
    Null,
    /// The value before.
    Previous,
    /// The straight line between the values around.
    Linear,
    /// A number.
    Number(f64),
}

/// Order of the rows by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Oldest first.
    Ascending,
    /// Newest first.
    Descending,
}

/// A question bound to a table.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// Columns of the answer after time and group.
    pub(crate) items: Vec<Item>,
    /// Fields to scan: those of the items, then those that only the filter reads.
    pub(crate) scan_columns: Vec<ColumnRead>,
    /// Figures to keep, each input's count among them.
    pub(crate) lanes: Vec<LaneSpec>,
    /// Where time is cut.
    pub(crate) windows: Windows,
    /// `start` as asked.
    pub(crate) start: Option<i64>,
    /// `end` as asked.
    pub(crate) end: Option<i64>,
    /// Range to scan: `start` to `end`, cut by `where`.
    pub(crate) range: TimeRange,
    /// Tags that make groups, in the order asked.
    pub(crate) group: Vec<Column>,
    /// Rows wanted.
    pub(crate) filter: Arc<Filter>,
    /// Empty windows.
    pub(crate) fill: Fill,
    /// Order by time.
    pub(crate) order: Order,
    /// Rows at most.
    pub(crate) limit: Option<usize>,
}

impl Plan {
    /// Whether figures are kept by series before they are kept by group.
    pub(crate) fn grouping(&self) -> Grouping {
        match self.lanes.iter().any(|lane| lane.kind == LaneKind::Counter) {
            true => Grouping::Series,
            false => Grouping::Tags,
        }
    }

    /// The place of a lane.
    pub(crate) fn lane(&self, input: Input, kind: LaneKind) -> usize {
        let spec = LaneSpec { input, kind };
        self.lanes.iter().position(|lane| *lane == spec).expect("every item's lanes were planned")
    }
}

/// What a slot belongs to while rows are folded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// One combination of the tags asked for.
    Tags,
    /// One series.
    Series,
}

/// The table that a request names.
///
/// # Errors
/// [`Error::Parameter`] without a name, [`Error::UnknownTable`].
pub(crate) fn find_table(
    read: &dyn ReadPath,
    db: Option<&str>,
    table: Option<&str>,
) -> Result<Arc<Table>> {
    let db = db.filter(|db| !db.is_empty()).unwrap_or(oribi_model::name::DEFAULT_DB);
    let Some(name) = table.filter(|table| !table.is_empty()) else {
        return Err(Error::parameter("table", "the parameter table is missing; expected a name"));
    };
    read.table(db, name).ok_or_else(|| unknown_table(read, db, name))
}

/// The error about a table that does not exist, with similar names.
pub(crate) fn unknown_table(read: &dyn ReadPath, db: &str, name: &str) -> Error {
    const NEAR_MAX: usize = 5;
    let wanted = name.to_lowercase();
    let mut near: Vec<(usize, String)> = read
        .tables()
        .iter()
        .filter_map(|table| {
            let shown = match table.db.as_str() == db {
                true => table.name.to_string(),
                false => format!("{}.{}", table.db, table.name),
            };
            let far = distance(&wanted, &table.name.to_lowercase());
            (far <= 2 + wanted.len() / 4).then_some((far, shown))
        })
        .collect();
    near.sort();
    near.truncate(NEAR_MAX);
    let near = near.into_iter().map(|(_, name)| name).collect();
    Error::UnknownTable { db: db.into(), table: name.into(), near }
}

/// Levenshtein distance of two names of bounded length.
fn distance(a: &str, b: &str) -> usize {
    const CHARS_MAX: usize = 64;
    let b: Vec<char> = b.chars().take(CHARS_MAX).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Checks a question and binds it to its table.
///
/// # Errors
/// Names the parameter that is wrong and what was expected.
pub(crate) fn plan(
    question: &Question,
    read: &dyn ReadPath,
    filters: &FilterCache,
    options: &QueryOptions,
    now_ns: i64,
) -> Result<Plan> {
    let table = find_table(read, question.db.as_deref(), question.table.as_deref())?;
    let windows = Windows::parse(
        given(&question.window),
        given(&question.offset),
        given(&question.timezone),
    )?;
    let (start, end) = range(question, now_ns)?;
    if let (Some(start), Some(end)) = (start, end)
        && windows.count(start, end) > options.windows_max
    {
        return Err(Error::TooManyWindows { windows_max: options.windows_max });
    }
    let mut fields = Vec::new();
    let Some(select) = given(&question.select) else {
        let detail = "the parameter select is missing; expected functions such as \
             mean(temperature), max(humidity) as h, count(*)";
        return Err(Error::parameter("select", detail));
    };
    let items = parse_select(select, &table.schema, &mut fields)?;
    let group = group(given(&question.group_by), &table)?;
    for item in &items {
        if item.name == "time" || group.iter().any(|tag| tag.name.as_str() == item.name) {
            let detail = format!("{:?} names two columns of the answer", item.name);
            return Err(Error::parameter("select", detail));
        }
    }
    let filter = match given(&question.filter) {
        Some(text) => filters.get(text, &table, options)?,
        None => Arc::new(Filter::default()),
    };
    for column in &filter.fields {
        if fields.iter().all(|field| field.id != column.id) {
            fields.push(column.clone());
        }
    }
    let asked = TimeRange::new(start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
    Ok(Plan {
        lanes: lanes(&items),
        items,
        scan_columns: fields
            .iter()
            .map(|field| ColumnRead { id: field.id, column_type: field.column_type })
            .collect(),
        windows,
        start,
        end,
        range: asked.intersect(filter.time),
        group,
        filter,
        fill: fill(given(&question.fill))?,
        order: order(given(&question.order))?,
        limit: limit(given(&question.limit))?,
        table,
    })
}

fn given(parameter: &Option<String>) -> Option<&str> {
    parameter.as_deref().map(str::trim).filter(|text| !text.is_empty())
}

fn range(question: &Question, now_ns: i64) -> Result<(Option<i64>, Option<i64>)> {
    let zone = zone(given(&question.timezone))?;
    let moment = |name: &str, text: &Option<String>| {
        given(text).map(|text| moment_in(name, text, now_ns, &zone)).transpose()
    };
    let (start, end) = (moment("start", &question.start)?, moment("end", &question.end)?);
    if let (Some(start), Some(end)) = (start, end)
        && start > end
    {
        return Err(Error::parameter("start", "start lies after end; expected start <= end"));
    }
    Ok((start, end))
}

fn lanes(items: &[Item]) -> Vec<LaneSpec> {
    let mut lanes = Vec::new();
    let mut add = |spec: LaneSpec| {
        if !lanes.contains(&spec) {
            lanes.push(spec);
        }
    };
    for item in items {
        add(LaneSpec { input: item.input, kind: LaneKind::Count });
        if let Some(kind) = LaneKind::of(item.function) {
            add(LaneSpec { input: item.input, kind });
        }
    }
    lanes
}

fn group(text: Option<&str>, table: &Table) -> Result<Vec<Column>> {
    let Some(text) = text else { return Ok(Vec::new()) };
    if text == "*" {
        return Ok(table.schema.tags().cloned().collect());
    }
    let mut group: Vec<Column> = Vec::new();
    for name in parse_names("group_by", text)? {
        let column = table.schema.column(&name).ok_or_else(|| Error::UnknownColumn {
            parameter: "group_by".into(),
            column: name.clone(),
            columns: table.schema.tags().map(|tag| tag.name.to_string()).collect(),
        })?;
        if column.kind != ColumnKind::Tag {
            let detail = format!("{name:?} is a field; expected tags or *");
            return Err(Error::parameter("group_by", detail));
        }
        if group.iter().any(|tag| tag.id == column.id) {
            return Err(Error::parameter("group_by", format!("{name:?} is named twice")));
        }
        group.push(column.clone());
    }
    Ok(group)
}

fn fill(text: Option<&str>) -> Result<Fill> {
    Ok(match text.unwrap_or("none") {
        "none" => Fill::None,
        "null" => Fill::Null,
        "previous" => Fill::Previous,
        "linear" => Fill::Linear,
        number => match number.parse::<f64>() {
            Ok(value) if value.is_finite() => Fill::Number(value),
            _ => {
                let detail = format!(
                    "{number:?} is no fill; expected none, null, previous, linear or a number"
                );
                return Err(Error::parameter("fill", detail));
            }
        },
    })
}

fn order(text: Option<&str>) -> Result<Order> {
    match text.unwrap_or("asc") {
        "asc" => Ok(Order::Ascending),
        "desc" => Ok(Order::Descending),
        other => {
            let detail = format!("{other:?} is no order; expected asc or desc");
            Err(Error::parameter("order", detail))
        }
    }
}

fn limit(text: Option<&str>) -> Result<Option<usize>> {
    let Some(text) = text else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        Error::parameter("limit", format!("{text:?} is no limit; expected a whole number"))
    })
}
