//! A window question bound to a table.

use crate::{
    Error, QueryOptions, Result,
    filter::{Filter, FilterCache},
    lane::{LaneKind, LaneSpec},
    question::{Fill, Group, Order, WindowPlan},
    select::{Input, Item},
    windows::Windows,
};
use oribi_access::{May, Needs};
use oribi_model::{Column, ColumnKind, ColumnRead, ReadPath, Table, TimeRange};
use std::sync::Arc;

/// A question bound to a table.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The table.
    pub(crate) table: Arc<Table>,
    /// Columns of the answer after time and group.
    pub(crate) items: Vec<Item>,
    /// Fields to scan: those of the items, then those that only the filter reads.
    pub(crate) scan_columns: Vec<ColumnRead>,
    /// What the items look at, each once.
    pub(crate) inputs: Vec<Input>,
    /// Figures to keep of these.
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

    /// The place of an input.
    pub(crate) fn input(&self, input: Input) -> usize {
        self.inputs.iter().position(|other| *other == input).expect("every item's input is there")
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

/// The error about a table that who asks may not read, or that does not exist, with similar names.
pub(crate) fn unknown_table(read: &dyn ReadPath, db: &str, name: &str) -> Error {
    const NEAR_MAX: usize = 5;
    if read.is_refused(db, name) {
        return Error::Forbidden(Box::new(Needs::table(May::Read, db, name)));
    }
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

/// Binds a question to its table.
///
/// # Errors
/// Names the parameter that is wrong and what was expected.
pub(crate) fn bind(
    asked: &WindowPlan,
    read: &dyn ReadPath,
    filters: &FilterCache,
    options: &QueryOptions,
) -> Result<Plan> {
    let table = find_table(read, asked.db.as_deref(), asked.table.as_deref())?;
    if let (Some(start), Some(end)) = (asked.start, asked.end)
        && asked.windows.count(start, end) > options.windows_max
    {
        return Err(Error::TooManyWindows { windows_max: options.windows_max });
    }
    let mut fields = Vec::new();
    let items = asked.items.iter().map(|item| item.bind(&table.schema, &mut fields));
    let items: Vec<Item> = items.collect::<Result<_>>()?;
    let group = group(&asked.group, &table)?;
    for item in &items {
        if item.name == "time" || group.iter().any(|tag| tag.name.as_str() == item.name) {
            let detail = format!("{:?} names two columns of the answer", item.name);
            return Err(Error::parameter("select", detail));
        }
    }
    let filter = match &asked.filter {
        Some(text) => filters.get(text, &table, options)?,
        None => Arc::new(Filter::default()),
    };
    for column in &filter.fields {
        if fields.iter().all(|field| field.id != column.id) {
            fields.push(column.clone());
        }
    }
    let range = TimeRange::new(asked.start.unwrap_or(i64::MIN), asked.end.unwrap_or(i64::MAX));
    let read = |field: &Column| ColumnRead { id: field.id, column_type: field.column_type };
    Ok(Plan {
        inputs: distinct(items.iter().map(|item| item.input)),
        lanes: distinct(items.iter().filter_map(|item| {
            Some(LaneSpec { input: item.input, kind: LaneKind::of(item.function)? })
        })),
        items,
        scan_columns: fields.iter().map(read).collect(),
        windows: asked.windows.clone(),
        start: asked.start,
        end: asked.end,
        range: range.intersect(filter.time),
        group,
        filter,
        fill: asked.fill,
        order: asked.order,
        limit: asked.limit,
        table,
    })
}

fn distinct<T: PartialEq>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut distinct = Vec::new();
    for one in all {
        if !distinct.contains(&one) {
            distinct.push(one);
        }
    }
    distinct
}

fn group(asked: &Group, table: &Table) -> Result<Vec<Column>> {
    let names = match asked {
        Group::Series => return Ok(table.schema.tags().cloned().collect()),
        Group::Tags(names) => names,
    };
    let mut group: Vec<Column> = Vec::new();
    for name in names {
        let column = table.schema.column(name).ok_or_else(|| Error::UnknownColumn {
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
