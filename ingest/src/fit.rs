//! Rows as decoded against the schema of their table: what has to grow, what is refused.

use crate::reject::Rejects;
use arrow_array::{Array, Float64Array, builder::Float64Builder};
use oribi_cluster::{COLUMNS_MAX, ColumnSpec};
use oribi_model::{
    Column, ColumnId, ColumnKind, ColumnType, ColumnValues, Ints, Name, Points, RejectReason,
    Schema, Value, column::INT_EXACT_IN_FLOAT_MAX, name::TIME_COLUMN, points::FieldColumn,
};
use std::collections::HashSet;

/// Tags that a table gets by being written to. A client that puts values into names of tags cannot
/// take the columns that fields need.
const TAGS_MAX: usize = 256;

/// The columns that `points` need and `schema` does not have as needed, tags first. Those that can
/// never be are left out, of more than there is room for tags before fields; [`tags`] and
/// [`fields`] refuse their rows.
pub(crate) fn wanted(points: &Points, schema: &Schema) -> Vec<ColumnSpec> {
    let tag_names: HashSet<&str> = points.tags.iter().map(String::as_str).collect();
    let mut room = COLUMNS_MAX.saturating_sub(schema.columns.len());
    let changed = |field: &FieldColumn| {
        let column = schema.column(&field.name);
        let (column_type, ints) = match column {
            Some(column) => changed_type(column, field)?,
            None if tag_names.contains(field.name.as_str()) => return None,
            None => (written_type(field), ints_of(field).max(Ints::Exact)),
        };
        let spec = column_spec(&field.name, ColumnKind::Field, column_type, ints)?;
        if column.is_none() {
            room = room.checked_sub(1)?;
        }
        Some(spec)
    };
    let fields: Vec<ColumnSpec> = points.fields.iter().filter_map(changed).collect();
    let tags_max = TAGS_MAX.saturating_sub(schema.tags().count()).min(room);
    let new = points.tags.iter().filter(|tag| schema.column(tag).is_none());
    let tags =
        new.filter_map(|tag| column_spec(tag, ColumnKind::Tag, ColumnType::Text, Ints::Unknown));
    tags.take(tags_max).chain(fields).collect()
}

/// What a field's column has to become for its values.
fn changed_type(column: &Column, field: &FieldColumn) -> Option<(ColumnType, Ints)> {
    if column.kind != ColumnKind::Field || column.column_type != ColumnType::Int {
        return None;
    }
    if column.ints == Ints::Exact && has_float(field) {
        return Some((ColumnType::Float, Ints::Unknown));
    }
    // Noted before such an integer is stored, so that no float can change it.
    let is_first_wide = column.ints < Ints::Wide && ints_of(field) == Ints::Wide;
    is_first_wide.then_some((ColumnType::Int, Ints::Wide))
}

fn column_spec(
    name: &str,
    kind: ColumnKind,
    column_type: ColumnType,
    ints: Ints,
) -> Option<ColumnSpec> {
    let name = Name::new(name).ok().filter(|name| name.as_str() != TIME_COLUMN)?;
    Some(ColumnSpec { name, kind, column_type, ints })
}

/// Integer columns of which nobody knows whether floats may come into them, and into which some
/// would.
pub(crate) fn unknown(points: &Points, schema: &Schema) -> Vec<Column> {
    let column = |field: &FieldColumn| {
        let column = schema.column(&field.name)?;
        let asked = column.kind == ColumnKind::Field
            && column.column_type == ColumnType::Int
            && column.ints == Ints::Unknown
            && has_float(field);
        asked.then(|| column.clone())
    };
    points.fields.iter().filter_map(column).collect()
}

/// Whether all integers of a column are exact as floats.
pub(crate) fn ints_in(values: &ColumnValues) -> Ints {
    let ColumnValues::Int(ints) = values else { return Ints::Exact };
    let most = ints.values().iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
    // A null's place holds anything, so only a suspicion is looked at closely.
    let wide = most > INT_EXACT_IN_FLOAT_MAX as u64 && ints.iter().flatten().any(is_wide);
    if wide { Ints::Wide } else { Ints::Exact }
}

fn is_wide(value: i64) -> bool {
    value.unsigned_abs() > INT_EXACT_IN_FLOAT_MAX as u64
}

/// `Unknown` where a field holds nothing out of the ordinary.
fn ints_of(field: &FieldColumn) -> Ints {
    let odd = |(_, value): &(u32, Value)| matches!(value, Value::Int(value) if is_wide(*value));
    let wide = ints_in(&field.values) == Ints::Wide || field.odd.iter().any(odd);
    if wide { Ints::Wide } else { Ints::Unknown }
}

fn has_float(field: &FieldColumn) -> bool {
    field.values.column_type() == ColumnType::Float
        || field.odd.iter().any(|(_, value)| matches!(value, Value::Float(_)))
}

/// The type that a new column gets: that of its first cell, floats winning over integers.
fn written_type(field: &FieldColumn) -> ColumnType {
    let first = (0..field.values.len()).find(|row| !field.values.is_null(*row));
    let first_type = match (first, field.odd.first()) {
        (Some(row), Some((odd, value))) if (*odd as usize) < row => value.column_type(),
        (None, Some((_, value))) => value.column_type(),
        _ => field.values.column_type(),
    };
    match first_type {
        ColumnType::Int if has_float(field) => ColumnType::Float,
        other => other,
    }
}

/// The columns of the tags of `points`, in their order; refuses the rows of series with a tag that
/// cannot be, which have `None`.
pub(crate) fn tags(
    points: &Points,
    schema: &Schema,
    rejects: &mut Rejects,
) -> Vec<Option<ColumnId>> {
    let mut ids = Vec::with_capacity(points.tags.len());
    let mut refusals = Vec::with_capacity(points.tags.len());
    for tag in &points.tags {
        let (id, refusal) = match schema.column(tag) {
            Some(column) if column.kind == ColumnKind::Tag => (Some(column.id), None),
            Some(_) => {
                let detail = format!("{tag:?} is a field and cannot be a tag");
                (None, Some((RejectReason::KindConflict, detail)))
            }
            None => (None, Some(missing_column("tag", tag))),
        };
        ids.push(id);
        refusals.push(refusal);
    }
    if refusals.iter().all(Option::is_none) {
        return ids;
    }
    let refusal_of = |series: usize| {
        points.series.tags(series).find_map(|(id, _)| refusals[id.0 as usize].as_ref())
    };
    let of_series: Vec<_> = (0..points.series.len()).map(refusal_of).collect();
    for (row, series) in points.row_series.iter().enumerate() {
        if let Some((reason, detail)) = of_series[*series as usize] {
            rejects.add(row, *reason, || detail.clone());
        }
    }
    ids
}

/// Why a column that a row has is not in the schema.
fn missing_column(kind: &str, name: &str) -> (RejectReason, String) {
    if name == TIME_COLUMN {
        let detail = format!("a {kind} cannot be called `time`: that is the time of the row");
        return (RejectReason::KindConflict, detail);
    }
    match Name::new(name) {
        Err(error) => (RejectReason::Name, error.to_string()),
        Ok(_) => {
            let detail = format!(
                "the {kind} {name:?} is one too many: a table has at most {COLUMNS_MAX} columns, \
                 of which {TAGS_MAX} are tags"
            );
            (RejectReason::Limit, detail)
        }
    }
}

/// The fields of `points` by ascending id, as they are stored; refuses rows with a field that
/// cannot be.
pub(crate) fn fields(
    points: &Points,
    schema: &Schema,
    rejects: &mut Rejects,
) -> Vec<(ColumnId, ColumnValues)> {
    let mut fields = Vec::with_capacity(points.fields.len());
    for field in &points.fields {
        match schema.column(&field.name) {
            Some(column) if column.kind == ColumnKind::Field => {
                let values = fit(field, column, rejects);
                fields.push((column.id, without_negative_zero(values)));
            }
            Some(_) => {
                let detail = || format!("{:?} is a tag and cannot be a field", field.name);
                refuse_all(field, RejectReason::KindConflict, detail, rejects);
            }
            None if points.tags.contains(&field.name) => {
                let detail = || format!("{:?} is a tag and cannot be a field", field.name);
                refuse_all(field, RejectReason::KindConflict, detail, rejects);
            }
            None => {
                let (reason, detail) = missing_column("field", &field.name);
                refuse_all(field, reason, || detail.clone(), rejects);
            }
        }
    }
    fields.sort_unstable_by_key(|(id, _)| *id);
    fields
}

/// The cells with -0.0 as 0.0: the two are equal, and whoever hashes or prints one would tell.
fn without_negative_zero(values: ColumnValues) -> ColumnValues {
    let is_negative_zero = |value: &f64| value.to_bits() == (-0.0f64).to_bits();
    match &values {
        ColumnValues::Float(floats) if floats.values().iter().any(is_negative_zero) => {
            ColumnValues::Float(floats.unary(|value| value + 0.0))
        }
        _ => values,
    }
}

fn refuse_all(
    field: &FieldColumn,
    reason: RejectReason,
    detail: impl Fn() -> String,
    rejects: &mut Rejects,
) {
    for row in (0..field.values.len()).filter(|row| !field.values.is_null(*row)) {
        rejects.add(row, reason, &detail);
    }
    for (row, _) in &field.odd {
        rejects.add(*row as usize, reason, &detail);
    }
}

/// The cells as the column stores them: integers stay integers where all are, and become floats
/// beside floats.
fn fit(field: &FieldColumn, column: &Column, rejects: &mut Rejects) -> ColumnValues {
    let (written, column_type) = (field.values.column_type(), column.column_type);
    let conflict = |found: ColumnType| {
        let why = match (found, column_type) {
            (ColumnType::Float, ColumnType::Int) => {
                " with integers beyond 2^53, which would not stay exact beside floats"
            }
            _ => "",
        };
        let name = &field.name;
        format!("field type conflict: {name:?} is {found}, but the column is {column_type}{why}")
    };
    let numbers = matches!(
        (written, column_type),
        (ColumnType::Int, ColumnType::Float) | (ColumnType::Float, ColumnType::Float)
    );
    if written != column_type && !numbers {
        for row in (0..field.values.len()).filter(|row| !field.values.is_null(*row)) {
            rejects.add(row, RejectReason::TypeConflict, || conflict(written));
        }
        return odd_only(field, column_type, rejects, conflict);
    }
    if column_type != ColumnType::Float {
        for (row, value) in &field.odd {
            rejects
                .add(*row as usize, RejectReason::TypeConflict, || conflict(value.column_type()));
        }
        return field.values.clone();
    }
    if let ColumnValues::Int(ints) = &field.values {
        refuse_inexact(ints.iter().enumerate(), &field.name, rejects);
    }
    if field.odd.is_empty() {
        return field.values.clone();
    }
    let floats = match field.values.clone().read_as(ColumnType::Float) {
        ColumnValues::Float(floats) => floats,
        _ => unreachable!("numbers read as floats are floats"),
    };
    ColumnValues::Float(with_odd(&floats, field, rejects, conflict))
}

/// The odd cells alone, where all others were refused.
fn odd_only(
    field: &FieldColumn,
    column_type: ColumnType,
    rejects: &mut Rejects,
    conflict: impl Fn(ColumnType) -> String,
) -> ColumnValues {
    let rows = field.values.len();
    let mut cells: Vec<Option<&Value>> = vec![None; rows];
    for (row, value) in &field.odd {
        let found = value.column_type();
        if found == column_type || (found, column_type) == (ColumnType::Int, ColumnType::Float) {
            cells[*row as usize] = Some(value);
        } else {
            rejects.add(*row as usize, RejectReason::TypeConflict, || conflict(found));
        }
    }
    match column_type {
        ColumnType::Float => {
            let nulls = Float64Array::new_null(rows);
            ColumnValues::Float(with_odd(&nulls, field, rejects, conflict))
        }
        ColumnType::Int => ColumnValues::Int(
            cells
                .iter()
                .map(|cell| if let Some(Value::Int(v)) = cell { Some(*v) } else { None })
                .collect(),
        ),
        ColumnType::Bool => ColumnValues::Bool(
            cells
                .iter()
                .map(|cell| if let Some(Value::Bool(v)) = cell { Some(*v) } else { None })
                .collect(),
        ),
        ColumnType::Text => ColumnValues::Text(
            cells
                .iter()
                .map(|cell| if let Some(Value::Text(v)) = cell { Some(v) } else { None })
                .collect(),
        ),
    }
}

fn with_odd(
    floats: &Float64Array,
    field: &FieldColumn,
    rejects: &mut Rejects,
    conflict: impl Fn(ColumnType) -> String,
) -> Float64Array {
    let mut builder = Float64Builder::with_capacity(floats.len());
    let mut odd = field.odd.iter().peekable();
    for row in 0..floats.len() {
        let mut cell = floats.is_valid(row).then(|| floats.value(row));
        while let Some((_, value)) = odd.next_if(|(at, _)| *at as usize == row) {
            match value {
                Value::Float(value) => cell = Some(*value),
                Value::Int(value) => {
                    refuse_inexact(std::iter::once((row, Some(*value))), &field.name, rejects);
                    cell = Some(*value as f64);
                }
                other => {
                    rejects.add(row, RejectReason::TypeConflict, || conflict(other.column_type()))
                }
            }
        }
        builder.append_option(cell);
    }
    builder.finish()
}

/// Refuses integers that a float column cannot hold exactly.
fn refuse_inexact(
    ints: impl Iterator<Item = (usize, Option<i64>)>,
    name: &str,
    rejects: &mut Rejects,
) {
    for (row, value) in ints {
        if let Some(value) = value.filter(|value| is_wide(*value)) {
            rejects.add(row, RejectReason::Number, || {
                format!("{value} in {name:?} is beyond 2^53, and the column is float")
            });
        }
    }
}
